"""The layers of the library; ``Layer`` is their base, ``fastact.Sequential`` strings them together."""

from .activations import Activation, Maxout, PReLU, Swish
from .base import Layer
from .dropout import AlphaDropout, Dropout
from .fully_connected import Dense
from .normalization import BatchNorm, LayerNorm
from .residual import Residual

__all__ = [
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Layer",
    "LayerNorm",
    "Maxout",
    "PReLU",
    "Residual",
    "Swish",
]
