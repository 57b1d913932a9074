"""Where arithmetic happens: the compiled core, and its twin in NumPy."""
