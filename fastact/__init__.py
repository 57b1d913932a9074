"""fastact: compiled, in-place activation kernels and fused dense layers for fast training on CPUs."""

from . import functional, init, optim
from ._version import __version__
from .callbacks import Callback, Checkpoint, EarlyStopping, History, Run
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
    ParameterSpec,
    PReLU,
    Residual,
    Sequential,
    Swish,
)
from .losses import absolute_error, bce_with_logits, huber, quantile, softmax_cross_entropy, squared_error
from .persistence import load
from .runtime import get_backend, get_num_threads, num_threads, set_num_threads, show_config, use_backend
from .training import evaluate, fit, predict

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
    "PReLU",
    "ParameterSpec",
    "Residual",
    "Run",
    "Sequential",
    "Swish",
    "__version__",
    "absolute_error",
    "bce_with_logits",
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
