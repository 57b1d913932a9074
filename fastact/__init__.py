"""fastact: compiled, in-place activation kernels and fused dense layers for fast training on CPUs."""

from . import functional
from ._version import __version__
from .functional import *  # noqa: F403 - the functions are made from the registry
from .runtime import get_backend, get_num_threads, num_threads, set_num_threads, show_config, use_backend

__all__ = sorted(
    [
        *functional.__all__,
        "__version__",
        "get_backend",
        "get_num_threads",
        "num_threads",
        "set_num_threads",
        "show_config",
        "use_backend",
    ]
)
