"""fastact inside PyTorch: networks whose passes are compiled, and functions with gradients (extra ``torch``).

>>> import torch, fastact.torch
>>> net = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
>>> net = fastact.torch.convert(net)  # and the script goes on as before
>>> optimizer = torch.optim.Adam(net.parameters(), fused=True)
>>> torch.nn.functional.mse_loss(net(torch.ones(8, 4)), torch.zeros(8, 2)).backward()
>>> optimizer.step()
>>> x = torch.ones(3, requires_grad=True)
>>> fastact.torch.gelu(x).sum().backward()
>>> x.grad
tensor([1.0833, 1.0833, 1.0833])
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "fastact.torch needs PyTorch, which is not installed; pip install 'fastact[torch]'", name=error.name
    ) from error

from . import functions
from .functions import *  # noqa: F403 - made from the registry
from .modules import Maxout, ReLUSquared, Residual, Standardize, Swish
from .networks import Linear, Sequential, convert
from .optimizers import Adam, AdamW
from .translation import Module, from_torch, to_torch

__all__ = [
    "Adam",
    "AdamW",
    "Linear",
    "Maxout",
    "Module",
    "ReLUSquared",
    "Residual",
    "Sequential",
    "Standardize",
    "Swish",
    "convert",
    "from_torch",
    "to_torch",
]
__all__ += functions.__all__
__all__.sort()
