"""fastact: compiled, in-place activation kernels and fused dense layers for fast training on CPUs."""

from typing import TYPE_CHECKING, Any

from . import functional, init, optim
from ._version import __version__
from .backends import get_backend, use_backend
from .functional import *  # noqa: F403 - the functions are made from the registry
from .layers import (
    Activation,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Maxout,
    PReLU,
    Residual,
    Swish,
)
from .losses import absolute_error, bce_with_logits, huber, quantile, softmax_cross_entropy, squared_error
from .memory import ParameterSpec
from .network import Sequential
from .persistence import load
from .runtime import get_num_threads, num_threads, set_num_threads, show_config
from .training import Callback, Checkpoint, EarlyStopping, History, Run, evaluate, fit, predict

if TYPE_CHECKING:
    from . import diagnostics
    from .diagnostics import Monitor, check_gradients

__all__ = [
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Callback",
    "Checkpoint",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "History",
    "Layer",
    "LayerNorm",
    "Maxout",
    "Monitor",
    "PReLU",
    "ParameterSpec",
    "Residual",
    "Run",
    "Sequential",
    "Swish",
    "__version__",
    "absolute_error",
    "bce_with_logits",
    "check_gradients",
    "diagnostics",
    "evaluate",
    "fit",
    "get_backend",
    "get_num_threads",
    "huber",
    "init",
    "load",
    "num_threads",
    "optim",
    "predict",
    "quantile",
    "set_num_threads",
    "show_config",
    "softmax_cross_entropy",
    "squared_error",
    "use_backend",
]
__all__ += functional.__all__
__all__.sort()


def __getattr__(name: str) -> Any:
    """What is loaded when it is first used."""
    if name not in ("diagnostics", "Monitor", "check_gradients"):
        raise AttributeError(f"module 'fastact' has no attribute {name!r}")
    from importlib import import_module

    module = import_module(".diagnostics", __name__)
    return module if name == "diagnostics" else getattr(module, name)
