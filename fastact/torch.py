"""``fastact.interop.torch`` by its shorter name."""

from .interop.torch import *  # noqa: F403
from .interop.torch import __all__, __doc__  # noqa: F401
