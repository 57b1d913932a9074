"""Initial weights. The default follows the activation: variance 2/n_in for the ReLU family (He et al. 2015,
arXiv:1502.01852), 2/(n_in + n_out) for saturating functions (Glorot and Bengio 2010), 1/n_in for SELU (Klambauer et
al. 2017, arXiv:1706.02515).
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["default_for", "initial_weight"]

_GLOROT = {"identity", "sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign", "log_sigmoid", "tanh_shrink"}
_LECUN = {"selu"}


def default_for(activation: str) -> str:
    """The scheme that suits an activation: "he", "glorot" or "lecun"."""
    if activation in _LECUN:
        return "lecun"
    return "glorot" if activation in _GLOROT else "he"


def initial_weight(weight: np.ndarray, scheme: str, rng: np.random.Generator) -> None:
    """Fill weight (n_in, n_out) with normal numbers of the scheme's variance."""
    inputs, outputs = weight.shape
    variance = {"he": 2 / inputs, "glorot": 2 / (inputs + outputs), "lecun": 1 / inputs}[scheme]
    weight[...] = rng.normal(0.0, math.sqrt(variance), size=weight.shape)
