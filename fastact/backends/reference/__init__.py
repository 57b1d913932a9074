"""The numpy backend: for each function of the compiled core one of the same name and arguments, in plain NumPy.

They are independent of the kernels, which are tested against them, and written to be read: arrays are made as they are
needed. The formulas of the elementwise activations and of the learned ones are those of ``fastact.registry``.
"""

# ruff: noqa: F403
from .absent import *
from .activations import *
from .losses import *
from .norms import *
from .optim import *
from .policies import *
from .products import *
from .statistics import *
