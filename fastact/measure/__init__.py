"""How fast and how accurate it is, here and beside other libraries: ``python -m fastact.measure --help``.

One harness: ``processes`` starts a worker process a library, goes round them and keeps samples; ``activations`` (with
what the ``peers`` compute), ``dense_layers`` and ``steps`` say what is measured; ``limits`` what the machine could do.
``by_hand`` is a training step in NumPy, ``accuracy`` the errors of the kernels. The method is in bench/README.md.
"""
