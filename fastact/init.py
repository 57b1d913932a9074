"""Initial weights and biases. The default for weights follows the activation, as the registry says for each: He for the
ReLU family, LeCun for SELU, Glorot for saturating functions and for no activation.

An initialiser is a function of a shape and a NumPy generator that returns an array of that shape; a weight has the
shape (inputs, outputs). ``Dense(weight_init=..., bias_init=...)`` takes one, or one of the names in ``INITIALIZERS``.
The classes here are initialisers with parameters: ``Constant(0.1)``, ``Orthogonal(gain=2**0.5)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from . import checks

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Normal",
    "Orthogonal",
    "Uniform",
    "VarianceScaling",
    "initializer",
    "make",
]

# As a text, for the module numpy.random takes 9 ms to load.
Initializer: TypeAlias = "Callable[[tuple[int, ...], np.random.Generator], np.ndarray]"


@dataclass(frozen=True)
class VarianceScaling:
    """Independent numbers of mean 0 and variance ``scale / n``.

    ``fan`` says what n is: "in" (inputs), "out" (outputs) or "mean" (half of both together); ``distribution`` is
    "normal" or "uniform" (between +-sqrt(3 * scale / n)).
    """

    scale: float = 1.0
    fan: str = "in"
    distribution: str = "normal"

    def __post_init__(self) -> None:
        checks.real("VarianceScaling", "scale", self.scale, low_included=False)
        checks.choice("VarianceScaling", "fan", self.fan, ("in", "out", "mean"))
        checks.choice("VarianceScaling", "distribution", self.distribution, ("normal", "uniform"))

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        inputs, outputs = _weight_shape("VarianceScaling", shape)
        n = {"in": inputs, "out": outputs, "mean": (inputs + outputs) / 2}[self.fan]
        deviation = math.sqrt(self.scale / n)
        if self.distribution == "normal":
            return rng.normal(0.0, deviation, size=shape)
        bound = math.sqrt(3) * deviation
        return rng.uniform(-bound, bound, size=shape)


@dataclass(frozen=True)
class Orthogonal:
    """Rows or columns, whichever are fewer, orthogonal to each other and of length ``gain`` (Saxe et al. 2014).

    Uniform over all such matrices: QR of a normal matrix with the signs of R's diagonal (Mezzadri 2007).
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        checks.real("Orthogonal", "gain", self.gain, low_included=False)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        inputs, outputs = _weight_shape("Orthogonal", shape)
        q, r = np.linalg.qr(rng.normal(size=(max(inputs, outputs), min(inputs, outputs))))
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        return q if inputs >= outputs else q.T


@dataclass(frozen=True)
class Normal:
    """Independent normal numbers; the default is the lectures' "small random numbers"."""

    deviation: float = 0.01
    mean: float = 0.0

    def __post_init__(self) -> None:
        checks.real("Normal", "deviation", self.deviation)
        checks.real("Normal", "mean", self.mean, -math.inf)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.normal(self.mean, self.deviation, size=shape)


@dataclass(frozen=True)
class Uniform:
    """Independent numbers spread evenly from low to high."""

    low: float = -0.01
    high: float = 0.01

    def __post_init__(self) -> None:
        low = checks.real("Uniform", "low", self.low, -math.inf)
        checks.real("Uniform", "high", self.high, low)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(self.low, self.high, size=shape)


@dataclass(frozen=True)
class Constant:
    """The same number everywhere; takes nothing from the generator."""

    value: float = 0.0

    def __post_init__(self) -> None:
        checks.real("Constant", "value", self.value, -math.inf)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, self.value)


#: name -> initialiser. He et al. 2015, arXiv:1502.01852; Glorot and Bengio 2010; LeCun et al. 1998, and Klambauer et
#: al. 2017, arXiv:1706.02515, for SELU. "small_positive" keeps ReLU units alive at the start (for biases).
INITIALIZERS: dict[str, Initializer] = {
    "he_normal": VarianceScaling(2.0, "in", "normal"),
    "he_uniform": VarianceScaling(2.0, "in", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "mean", "normal"),
    "glorot_uniform": VarianceScaling(1.0, "mean", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "in", "normal"),
    "lecun_uniform": VarianceScaling(1.0, "in", "uniform"),
    "orthogonal": Orthogonal(),
    "small_normal": Normal(),
    "small_uniform": Uniform(),
    "zeros": Constant(0.0),
    "small_positive": Constant(0.01),
}
INITIALIZERS |= {scheme: INITIALIZERS[f"{scheme}_normal"] for scheme in ("he", "glorot", "lecun")}


def initializer(function: str, name: str, value: str | Initializer) -> Initializer:
    """The initialiser that a name stands for, or value itself where it can be called; function and name for messages.

    Raises ValueError for an unknown name and TypeError for anything else.
    """
    if callable(value):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{function}: expected {name} to be a name or a function, got {checks.describe(value)}")
    return INITIALIZERS[checks.choice(function, name, value, tuple(INITIALIZERS))]


def make(value: str | Initializer, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """What an initialiser (or its name) gives for shape, checked: ValueError for another shape, NaN or infinity."""
    array = np.asarray(initializer("init.make", "value", value)(shape, rng))
    if array.shape != shape or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"{value}: expected an initialiser to return finite numbers of shape {shape}, got {checks.describe(array)}"
        )
    return array


def is_local(value: Initializer) -> bool:
    """Whether it is a function without a name that a module knows it by, which cannot be pickled."""
    return any(mark in getattr(value, "__qualname__", "") for mark in ("<locals>", "<lambda>"))


def _weight_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 2:
        raise ValueError(f"{name}: expected the shape (inputs, outputs) of a weight, got {shape}; use it for weights")
    return shape
