"""The list of activations: everything the package knows about each one, apart from its compiled kernel.

The formulas here are written independently of the C. Called with float64 they are the oracle of the tests; called
with the array's own dtype they are the numpy backend. To add an elementwise activation, add one entry here and one
in ``_kernels/fa_activations.h``; functions, dense layers, tests and benches follow from these two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Parameter:
    """A number that shapes an activation, with its default and the closed or open interval it must lie in."""

    name: str
    default: float
    low: float = -math.inf
    low_included: bool = True

    def accepts(self, value: float) -> bool:
        """Whether value is finite and in range."""
        above = value >= self.low if self.low_included else value > self.low
        return above and math.isfinite(value)

    @property
    def range(self) -> str:
        """The range in words, for messages and documentation."""
        if self.low == -math.inf:
            return "a finite number"
        return f"a finite number {'>=' if self.low_included else '>'} {self.low:g}"


@dataclass(frozen=True)
class Entry:
    """One elementwise activation.

    ``value(x, *parameters)`` and ``slope(saved, *parameters)`` take and return arrays of one floating dtype;
    ``saves`` says whether ``saved`` is the output "y" or the input "x" (None: the slope is constant).
    """

    name: str
    formula: str
    slope_formula: str
    value: Callable[..., np.ndarray]
    slope: Callable[..., np.ndarray]
    saves: str | None
    limits: tuple[str, str]  # of f at -inf and +inf, in words
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[str, ...] = ()  # where the slope jumps, as expressions in the parameters
    at_kink: str = ""
    piecewise_linear: bool = False  # a slope of 0 selects 0, whatever the gradient
    cost: str = "light"  # "light" or "heavy": from which size threads pay, see runtime.THRESHOLDS
    forward_ulp: dict[str, float] | None = None  # None: 2 for both dtypes
    slope_roots: tuple[float, ...] = ()  # near these the backward error is measured absolutely

    @property
    def saved_name(self) -> str:
        """The name of backward's second argument."""
        return self.saves or "y"

    def ulp_bound(self, dtype: np.dtype | type) -> float:
        """Largest forward error in units in the last place that the library promises, default parameters."""
        return (self.forward_ulp or {}).get(np.dtype(dtype).name, 2.0)

    @property
    def defaults(self) -> tuple[float, ...]:
        """The parameters' default values."""
        return tuple(p.default for p in self.parameters)


def _sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _leaky_relu(x, negative_slope):
    below = x * negative_slope if negative_slope > 0 else np.where(np.isnan(x), x, 0)
    return np.where(x > 0, x, below)


_ENTRIES = (
    Entry(
        name="identity",
        formula="x",
        slope_formula="1",
        value=lambda x: x.copy(),
        slope=np.ones_like,
        saves=None,
        limits=("-inf", "inf"),
        piecewise_linear=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="relu",
        formula="max(0, x)",
        slope_formula="1 if y > 0 else 0",
        value=lambda x: np.maximum(x, 0),
        slope=lambda y: np.where(np.isnan(y), y, (y > 0).astype(y.dtype)),
        saves="y",
        limits=("0", "inf"),
        kinks=("0",),
        at_kink="0",
        piecewise_linear=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="leaky_relu",
        formula="x if x > 0 else negative_slope * x",
        slope_formula="1 if y > 0 else negative_slope",
        value=_leaky_relu,
        slope=lambda y, negative_slope: np.where(np.isnan(y), y, np.where(y > 0, 1, negative_slope)),
        saves="y",
        limits=("-inf", "inf"),
        parameters=(Parameter("negative_slope", 0.01, low=0.0),),
        kinks=("0",),
        at_kink="negative_slope",
        piecewise_linear=True,
        forward_ulp={"float32": 0.5, "float64": 0.5},
    ),
    Entry(
        name="sigmoid",
        formula="1 / (1 + exp(-x))",
        slope_formula="y * (1 - y)",
        value=_sigmoid,
        slope=lambda y: y * (1 - y),
        saves="y",
        limits=("0", "1"),
        cost="heavy",
    ),
    Entry(
        name="tanh",
        formula="tanh(x)",
        slope_formula="(1 - y) * (1 + y)",
        value=np.tanh,
        slope=lambda y: (1 - y) * (1 + y),
        saves="y",
        limits=("-1", "1"),
        cost="heavy",
    ),
)

ACTIVATIONS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


@dataclass(frozen=True)
class LearnedEntry:
    """An activation with a learned weight: formulas over x and a weight that broadcasts against it."""

    name: str
    formula: str
    weight_name: str
    start: float  # the weight's usual first value
    value: Callable[..., np.ndarray]
    gradient: Callable[..., np.ndarray]  # (grad, x, weight): with respect to x
    weight_gradient: Callable[..., np.ndarray]  # (grad, x, weight): elementwise, not yet summed


def _prelu(x, weight):
    with np.errstate(all="ignore"):
        return np.where(x > 0, x, np.where((weight == 0) & ~np.isnan(x), 0, x * weight)).astype(x.dtype)


def _prelu_gradient(grad, x, weight):
    with np.errstate(all="ignore"):
        below = np.where(weight == 0, 0, grad * weight)
    return np.where(np.isnan(x), x, np.where(x > 0, grad, below)).astype(x.dtype)


def _prelu_weight_gradient(grad, x, weight):
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x), x, np.where(x > 0, 0, grad * x)).astype(x.dtype)


LEARNED: dict[str, LearnedEntry] = {
    "prelu": LearnedEntry(
        name="prelu",
        formula="x if x > 0 else weight * x",
        weight_name="weight",
        start=0.25,
        value=_prelu,
        gradient=_prelu_gradient,
        weight_gradient=_prelu_weight_gradient,
    ),
}


@dataclass(frozen=True)
class BoundActivation:
    """An activation with its parameters filled in: what ``fastact.activation(name, **parameters)`` returns."""

    entry: Entry
    values: tuple[float, ...]

    @property
    def name(self) -> str:
        """The activation's name."""
        return self.entry.name

    @property
    def parameters(self) -> dict[str, float]:
        """Parameter names and values."""
        return {p.name: v for p, v in zip(self.entry.parameters, self.values, strict=True)}

    def __str__(self) -> str:
        """The name, with the parameters that are not defaults."""
        changed = [f"{p.name}={v:g}" for p, v in zip(self.entry.parameters, self.values, strict=True) if v != p.default]
        return f"{self.name}({', '.join(changed)})" if changed else self.name


def rounded(values: tuple[float, ...], dtype: np.dtype) -> tuple[np.floating, ...]:
    """The parameters as the kernels see them: rounded to the dtype of the array."""
    return tuple(dtype.type(v) for v in values)


def value(entry: Entry, x: np.ndarray, values: tuple[float, ...] = ()) -> np.ndarray:
    """f(x) by the NumPy formula, in x's dtype and shape."""
    with np.errstate(all="ignore"):
        return np.asarray(entry.value(x, *rounded(values, x.dtype)), dtype=x.dtype)


def slope(entry: Entry, saved: np.ndarray, values: tuple[float, ...] = ()) -> np.ndarray:
    """f' by the NumPy formula, from what backward reads."""
    with np.errstate(all="ignore"):
        return np.asarray(entry.slope(saved, *rounded(values, saved.dtype)), dtype=saved.dtype)


def gradient(entry: Entry, grad: np.ndarray, saved: np.ndarray, values: tuple[float, ...] = ()) -> np.ndarray:
    """grad * f' by the NumPy formula; a piecewise-linear slope of 0 selects 0 whatever grad is."""
    factor = slope(entry, saved, values)
    with np.errstate(all="ignore"):
        product = grad * factor
    return np.where(factor == 0, factor, product) if entry.piecewise_linear else product
