"""``fastact.data.tables`` by its shorter name."""

from .data.tables import *  # noqa: F403
from .data.tables import __all__  # noqa: F401
