"""The numpy backend: for each function of the compiled core one of the same name and arguments, in plain NumPy.

They are independent of the kernels, which are tested against them, and written to be read: arrays are made as they are
needed. The formulas of the elementwise activations and of the learned ones are those of ``fastact.registry``.
"""

from __future__ import annotations


class Passes:
    """How many training passes a network and its layers have made."""

    count = 0
