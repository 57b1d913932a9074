"""The dtypes that everything computes in, one row each.

A further one is a row here, a row of ``fa_dtypes`` in ``backends/abi.pxd``, and an inclusion of the kernels with its
``real`` (``kernels/README.md``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["FLOATS", "Float"]


@dataclass(frozen=True)
class Float:
    """What there is to know of one dtype."""

    name: str
    dtype: np.dtype
    kernel: int  # its place in the compiled core's tables
    accumulation: np.dtype  # of sums over many elements
    tolerance: float  # relative, where the results of two backends are compared
    safetensors: str  # its name in that format


FLOATS = (
    Float("float32", np.dtype(np.float32), 0, np.dtype(np.float64), 1e-5, "F32"),
    Float("float64", np.dtype(np.float64), 1, np.dtype(np.float64), 1e-12, "F64"),
)
