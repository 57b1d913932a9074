"""The activation functions by name, and dense layers as functions.

Elementwise: ``y = name(x, *, out=None)`` and ``dx = name_backward(grad, saved, *, out=None)``, made from the registry
(``elementwise.py``). By hand: functions of rows, learned weights, maxout and the masked ReLU, and ``dense``.
"""

from ..epilogues import activation, custom_activation, slope
from . import elementwise, fused, learned, routed, rows
from .elementwise import *  # noqa: F403
from .fused import *  # noqa: F403
from .learned import *  # noqa: F403
from .routed import *  # noqa: F403
from .rows import *  # noqa: F403

__all__ = ["activation", "custom_activation", "slope"]
__all__ += elementwise.__all__ + fused.__all__ + learned.__all__ + routed.__all__ + rows.__all__
__all__.sort()
