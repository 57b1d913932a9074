"""Doors to other libraries: their modules and files become networks, and networks theirs."""
