"""Tensors as arrays and back, what is refused, and gradients of which nobody may ask for the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ... import checks

DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
#: How ``torch.autograd.Function.apply`` begins where no transform of ``torch.func`` is at work.
transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def check(function: str, name: str, value: Any) -> None:
    """Raise TypeError for what is no dense CPU tensor of float32 or float64, RuntimeError under torch.func."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{function}: expected {name} to be a tensor, got {checks.describe(value)}; pass torch.as_tensor({name}), "
            "or arrays to the function of this name in fastact"
        )
    if value.device.type != "cpu":
        raise TypeError(
            f"{function}: expected {name} on the CPU, got one on {value.device}; move it with {name}.cpu(), or take "
            "PyTorch's own function there"
        )
    if value.layout != torch.strided:
        raise TypeError(f"{function}: expected {name} to be dense, got {value.layout}; convert with {name}.to_dense()")
    if value.dtype not in DTYPES:
        raise TypeError(
            f"{function}: expected float32 or float64, got {name} of {value.dtype}; convert with {name}.float()"
        )
    if transformed():
        raise RuntimeError(
            f"{function}: torch.func and vmap cannot look into a compiled function; there use PyTorch's own"
        )


def array(tensor: Any) -> np.ndarray:
    """A checked tensor's memory as an array: no copy, whatever its strides."""
    return tensor.detach().resolve_neg().numpy()


def plain(given: Any) -> torch.Tensor:
    """A gradient as the kernels want it."""
    return given.contiguous().resolve_neg()


class _Once(torch.autograd.Function):  # type: ignore[misc]
    """Gradients as they are, which refuse to be differentiated again."""

    @staticmethod
    def forward(ctx: Any, function: str, count: int, *tensors: torch.Tensor) -> Any:
        ctx.function = function
        return tuple(tensor.view_as(tensor) for tensor in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(
            f"{ctx.function}: the gradient of a gradient is not there; where it is needed, take PyTorch's own modules "
            "and functions"
        )


def once(function: str, gradients: tuple[Any, ...], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The gradients that a backward returns; with create_graph=True they can be used, but not differentiated."""
    if not torch.is_grad_enabled():
        return gradients
    given = [gradient for gradient in gradients if gradient is not None]
    results = iter(_Once.apply(function, len(given), *given, *inputs))
    return tuple(None if gradient is None else next(results) for gradient in gradients)
