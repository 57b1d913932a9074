"""Modules for what ``torch.nn`` lacks and fastact has, in PyTorch's own operations: they run anywhere PyTorch does."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["Dense", "Maxout", "ReLUSquared", "Residual", "Standardize", "Swish"]


class ReLUSquared(nn.Module):  # type: ignore[misc]
    """max(0, x)^2."""

    def forward(self, x: Any) -> Any:
        return torch.relu(x).square()


class Swish(nn.Module):  # type: ignore[misc]
    """x * s(beta * x) with a learned beta, one for all or one a channel of the last dimension."""

    def __init__(self, num_parameters: int = 1, init: float = 1.0, dtype: Any = None) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.full((num_parameters,), init, dtype=dtype))

    def forward(self, x: Any) -> Any:
        return x * torch.sigmoid(self.beta * x)

    def extra_repr(self) -> str:
        return f"num_parameters={len(self.beta)}"


class Maxout(nn.Module):  # type: ignore[misc]
    """The largest of each ``pieces`` neighbours along the last dimension."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Any) -> Any:
        return x.unflatten(-1, (-1, self.pieces)).max(-1).values

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"


class Standardize(nn.Module):  # type: ignore[misc]
    """(x - mean) / scale, two buffers."""

    def __init__(self, mean: Any, scale: Any) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Any) -> Any:
        return (x - self.mean) / self.scale


class Residual(nn.Sequential):  # type: ignore[misc]
    """x + what the modules inside make of it."""

    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


class Dense(nn.Linear):  # type: ignore[misc]
    """A linear layer with what follows it in one module, as ``fastact.Dense``.

    What prelu and swish learn is the parameter "activation"; other activations are the module ``after``.
    """

    def __init__(self, inputs: int, columns: int, bias: bool, after: Any, dtype: Any) -> None:
        super().__init__(inputs, columns, bias=bias, dtype=dtype)
        self.learns = after if isinstance(after, str) else None
        if self.learns is None:
            self.after = after
        else:
            self.activation = nn.Parameter(torch.empty(1, dtype=dtype))

    def forward(self, x: Any) -> Any:
        z = super().forward(x)
        if self.learns is None:
            return self.after(z)
        if self.learns == "prelu":
            return torch.where(z > 0, z, self.activation * z)
        return z * torch.sigmoid(self.activation * z)
