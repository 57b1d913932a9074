"""Functions of tensors, with gradients: the kernels of ``fastact.functional`` under PyTorch's autograd.

CPU tensors of float32 and float64, of any shape and strides; contiguous ones are not copied. Results are new tensors.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import torch

from ... import functional
from ...epilogues import ROW_FUNCTIONS, Epilogue, FixedActivation, activation, epilogue, maxout_pieces
from ...functional.fused import Saved
from ...registry import ACTIVATIONS, Entry
from .tensors import array, check, once

__all__ = ["dense", "log_softmax", "maxout", "prelu", "softmax", "swish"]
__all__ += list(ACTIVATIONS)


class _Elementwise(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, function: FixedActivation) -> torch.Tensor:
        y = torch.from_numpy(function(array(x)))
        ctx.function = function
        if function.reads is not None:
            ctx.save_for_backward(x if function.reads == "x" else y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        function = ctx.function
        if function.reads is None:
            return grad, None
        (saved,) = ctx.saved_tensors
        g, s = array(grad), array(saved)
        return *once(function.name, (torch.from_numpy(function.backward(g, s)),), (saved, grad)), None


def _elementwise(entry: Entry) -> Any:
    """The function of an entry of the registry."""
    original = getattr(functional, entry.name)
    parameters = [p for p in inspect.signature(original).parameters.values() if p.name != "out"]
    signature = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
    default = FixedActivation(entry, entry.defaults)

    @functools.wraps(original)
    def function(x: Any, *args: Any, **keywords: Any) -> Any:
        chosen = default
        if args or keywords:
            given = dict(signature.bind(x, *args, **keywords).arguments)
            del given["x"]
            chosen = activation(entry.name, **given)  # type: ignore[assignment]
        return _apply_elementwise(x, chosen)

    vars(function).pop("__wrapped__")  # whose signature it is not
    vars(function)["__signature__"] = signature
    function.__module__ = __name__
    function.__doc__ = (
        f"{entry.name} of a tensor, y = {entry.formula}, with its gradient.\n\n"
        f"``x`` is a CPU tensor of float32 or float64; parameters and values are those of ``fastact.{entry.name}``. "
        "Raises TypeError for another dtype or device, ValueError for a parameter out of range."
    )
    return function


def _apply_elementwise(x: Any, function: FixedActivation) -> torch.Tensor:
    check(function.name, "x", x)
    return _Elementwise.apply(x, function)


for _entry in ACTIVATIONS.values():
    globals()[_entry.name] = _elementwise(_entry)


class _Rows(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, name: str) -> torch.Tensor:
        y = torch.from_numpy(getattr(functional, name)(array(x)))
        ctx.name = name
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (y,) = ctx.saved_tensors
        dx = getattr(functional, f"{ctx.name}_backward")(array(grad), array(y))
        return *once(ctx.name, (torch.from_numpy(dx),), (y, grad)), None


def _rows(name: str, x: Any, dim: int) -> torch.Tensor:
    check(name, "x", x)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected x to have at least one dimension, got a scalar")
    if dim in (-1, x.ndim - 1):
        return _Rows.apply(x, name)
    return _Rows.apply(x.movedim(dim, -1), name).movedim(-1, dim)


def softmax(x: Any, dim: int = -1) -> torch.Tensor:
    """softmax along a dimension, with its gradient: y_j = exp(x_j) / sum_k exp(x_k)."""
    return _rows(ROW_FUNCTIONS[0], x, dim)


def log_softmax(x: Any, dim: int = -1) -> torch.Tensor:
    """Logarithm of softmax along a dimension, with its gradient."""
    return _rows(ROW_FUNCTIONS[1], x, dim)


class _Learned(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, name: str, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.name = name
        ctx.save_for_backward(x, weight)
        return torch.from_numpy(getattr(functional, name)(array(x), array(weight)))

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, weight = ctx.saved_tensors
        arrays = (array(tensor) for tensor in (grad, x, weight))
        gradients = getattr(functional, f"{ctx.name}_backward")(*arrays)
        found = tuple(torch.from_numpy(np.asarray(one)) for one in gradients)
        return None, *once(ctx.name, found, (x, weight, grad))


def _learned(name: str, label: str, x: Any, weight: Any) -> torch.Tensor:
    check(name, "x", x)
    if isinstance(weight, torch.Tensor):
        check(name, label, weight)
    else:
        weight = torch.tensor(float(weight), dtype=x.dtype)
    return _Learned.apply(name, x, weight)


def prelu(x: Any, weight: Any = 0.25) -> torch.Tensor:
    """Leaky ReLU with a learned slope, y = x if x > 0 else weight * x, with the gradients of x and weight.

    ``weight`` is a number, or a tensor of one element or of one for each channel of the last dimension.
    """
    return _learned("prelu", "weight", x, weight)


def swish(x: Any, beta: Any = 1.0) -> torch.Tensor:
    """Swish with a learned beta, y = x * s(beta * x), with the gradients of x and beta.

    ``beta`` is a number, or a tensor of one element or of one for each channel of the last dimension.
    """
    return _learned("swish", "beta", x, beta)


class _Maxout(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, pieces: int) -> torch.Tensor:
        y, index = functional.maxout(array(x), pieces)
        ctx.pieces = pieces
        ctx.save_for_backward(torch.from_numpy(index))
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        (index,) = ctx.saved_tensors
        dx = functional.maxout_backward(array(grad), index.numpy(), ctx.pieces)
        return *once("maxout", (torch.from_numpy(dx),), (grad,)), None


def maxout(x: Any, pieces: int) -> torch.Tensor:
    """Maximum over groups of ``pieces`` neighbours along the last dimension, with its gradient; the first of equals."""
    check("maxout", "x", x)
    return _Maxout.apply(x, maxout_pieces("maxout", pieces))


class _Dense(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, after: Epilogue) -> torch.Tensor:
        vector = None if bias is None else array(bias)
        y, saved = functional.dense_forward(array(x), array(weight), vector, after)
        result = torch.from_numpy(y)
        ctx.after, ctx.kind = after, saved.kind
        state = None if saved.array is None else result if saved.kind == "y" else torch.from_numpy(saved.array)
        ctx.save_for_backward(x, weight, state)
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, weight, state = ctx.saved_tensors
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        saved = Saved(ctx.kind, None if state is None else state.detach().numpy(), ctx.after)
        arrays = (array(tensor) for tensor in (grad, x, weight))
        g, a, w = arrays
        found = functional.dense_backward(g, saved, a, w, need_input_grad=need_x)
        wanted = zip((need_x, need_weight, need_bias), found[:3], strict=True)
        gradients = tuple(torch.from_numpy(one) if needed and one is not None else None for needed, one in wanted)
        return *once("dense", gradients, (x, weight, grad)), None


def dense(x: Any, weight: Any, bias: Any = None, activation: Any = None) -> torch.Tensor:
    """activation(x @ weight + bias) in one pass, with the gradients of x, weight and bias.

    Parameters
    ----------
    x : CPU tensor of float32 or float64, shape (..., inputs)
    weight : tensor of x's dtype, shape (inputs, outputs), any strides; of a ``torch.nn.Linear``, its weight.T
    bias : optional tensor of shape (outputs,)
    activation : as for ``fastact.dense``, but for "prelu" and "swish", whose functions take a tensor that learns
    """
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        if tensor is not None:
            check("dense", name, tensor)
    after = epilogue("dense", activation)
    if after.learns or getattr(after, "saves", "") == "z":
        raise TypeError(
            f"dense: {after.name}'s weight would not learn here; use {after.name}(dense(x, weight, bias), ...)"
        )
    return _Dense.apply(x, weight, bias, after)
