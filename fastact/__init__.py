"""fastact: compiled, in-place activation kernels and fused dense layers for fast training on CPUs."""

from . import functional, init, optim
from ._version import __version__
from .functional import *  # noqa: F403 - the functions are made from the registry
from .layers import Dense, Layer, Sequential
from .losses import softmax_cross_entropy
from .persistence import load
from .runtime import get_backend, get_num_threads, num_threads, set_num_threads, show_config, use_backend
from .training import History, evaluate, fit, predict

__all__ = [
    "Dense",
    "History",
    "Layer",
    "Sequential",
    "__version__",
    "evaluate",
    "fit",
    "get_backend",
    "get_num_threads",
    "init",
    "load",
    "num_threads",
    "optim",
    "predict",
    "set_num_threads",
    "show_config",
    "softmax_cross_entropy",
    "use_backend",
]
__all__ += functional.__all__
__all__.sort()
