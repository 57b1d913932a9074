"""Initial weights and biases. The default for weights follows the activation, as the registry says for each: He for the
ReLU family, with the mean of inputs and outputs; LeCun for SELU; Glorot for saturating functions and for no activation.

An initialiser is a function of a shape and a NumPy generator that returns an array of that shape; a weight has the
shape (inputs, outputs). One that takes a keyword ``fans`` is told the layer's (inputs, outputs), for a bias too.
``Dense(weight_init=..., bias_init=...)`` takes one, or one of the names in ``INITIALIZERS``;
``Sequential(..., weight_init=...)`` one for all layers that were given none. The classes here are initialisers with
parameters: ``Constant(0.1)``, ``Orthogonal(gain=2**0.5)``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
Initializer: TypeAlias = "Callable[..., np.ndarray]"


@dataclass(frozen=True)
class VarianceScaling:
    """Independent numbers of mean 0 and variance ``scale / n``.

    ``fan`` says what n is: "in" (inputs), "out" (outputs) or "mean" (half of both together); ``distribution`` is
    "normal" or "uniform" (between +-sqrt(3 * scale / n)). As a ``weight_init`` with ``bias``, it starts the layer's
    biases too, where they are given no other start. For a layer whose activation is "sigmoid" the scale is
    ``sigmoid_scale`` where there is one.
    """

    scale: float = 1.0
    fan: str = "in"
    distribution: str = "normal"
    bias: bool = False
    sigmoid_scale: float | None = None

    def __post_init__(self) -> None:
        checks.real("VarianceScaling", "scale", self.scale, low_included=False)
        checks.choice("VarianceScaling", "fan", self.fan, ("in", "out", "mean"))
        checks.choice("VarianceScaling", "distribution", self.distribution, ("normal", "uniform"))
        if self.sigmoid_scale is not None:
            checks.real("VarianceScaling", "sigmoid_scale", self.sigmoid_scale, low_included=False)

    def __call__(
        self, shape: tuple[int, ...], rng: np.random.Generator, *, fans: tuple[int, int] | None = None
    ) -> np.ndarray:
        inputs, outputs = _weight_shape("VarianceScaling", shape) if fans is None else fans
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
#: al. 2017, arXiv:1706.02515, for SELU. "small_positive" keeps ReLU units alive at the start (for biases). The names of
#: libraries start a layer as these do: "torch" as torch.nn.Linear, weights and biases between +-1 / sqrt(inputs);
#: "sklearn" as MLPClassifier, both between +-sqrt(6 / (inputs + outputs)), with 2 in place of 6 for the logistic
#: function; "keras" as keras.layers.Dense, with biases of 0.
INITIALIZERS: dict[str, Initializer] = {
    "he_normal": VarianceScaling(2.0, "in", "normal"),
    "he_uniform": VarianceScaling(2.0, "in", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "mean", "normal"),
    "glorot_uniform": VarianceScaling(1.0, "mean", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "in", "normal"),
    "lecun_uniform": VarianceScaling(1.0, "in", "uniform"),
    "torch": VarianceScaling(1 / 3, "in", "uniform", bias=True),
    "sklearn": VarianceScaling(1.0, "mean", "uniform", bias=True, sigmoid_scale=1 / 3),
    "keras": VarianceScaling(1.0, "mean", "uniform"),
    "orthogonal": Orthogonal(),
    "small_normal": Normal(),
    "small_uniform": Uniform(),
    "zeros": Constant(0.0),
    "small_positive": Constant(0.01),
}
INITIALIZERS |= {scheme: INITIALIZERS[f"{scheme}_normal"] for scheme in ("he", "glorot", "lecun")}
INITIALIZERS |= {
    f"{theirs}_{distribution}": INITIALIZERS[f"{ours}_{distribution}"]
    for theirs, ours in (("kaiming", "he"), ("xavier", "glorot"))
    for distribution in ("normal", "uniform")
}

#: How a layer starts that was told nothing, by its activation's scheme in the registry. He's variance with the mean of
#: inputs and outputs, as Glorot takes it, is the same between layers of one width, where deep networks need ReLU's
#: factor of 2, and smaller behind few inputs, where functions would begin steep and fit the noise: bench/defaults.py.
DEFAULTS: dict[str, Initializer] = {
    "he": VarianceScaling(2.0, "mean", "normal"),
    "glorot": INITIALIZERS["glorot_normal"],
    "lecun": INITIALIZERS["lecun_normal"],
}


def initializer(function: str, name: str, value: str | Initializer) -> Initializer:
    """The initialiser that a name stands for, or value itself where it can be called; function and name for messages.

    Raises ValueError for an unknown name and TypeError for anything else.
    """
    if callable(value):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{function}: expected {name} to be a name or a function, got {checks.describe(value)}")
    return INITIALIZERS[checks.choice(function, name, value, tuple(INITIALIZERS))]


def for_layer(
    function: str, weight: str | Initializer | None, bias: str | Initializer | None, activation: str, scheme: str
) -> tuple[Initializer, Initializer]:
    """A layer's initialisers for weight and bias.

    Where weight is None, the default of the activation's scheme; where bias is None, what the weight's says of biases,
    else 0.
    """
    chosen = DEFAULTS[scheme] if weight is None else initializer(function, "weight_init", weight)
    if isinstance(chosen, VarianceScaling) and chosen.sigmoid_scale is not None and activation == "sigmoid":
        chosen = replace(chosen, scale=chosen.sigmoid_scale)
    if bias is None:
        bias = chosen if isinstance(chosen, VarianceScaling) and chosen.bias else "zeros"
    return chosen, initializer(function, "bias_init", bias)


def make(
    value: str | Initializer, shape: tuple[int, ...], rng: np.random.Generator, fans: tuple[int, int] | None = None
) -> np.ndarray:
    """What an initialiser (or its name) gives for shape, checked: ValueError for another shape, NaN or infinity.

    ``fans``, the (inputs, outputs) of the layer, are passed on to an initialiser that takes them.
    """
    function = initializer("init.make", "value", value)
    keywords = {} if fans is None or not _takes_fans(function) else {"fans": fans}
    array = np.asarray(function(shape, rng, **keywords))
    if array.shape != shape or array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(
            f"{value}: expected an initialiser to return finite numbers of shape {shape}, got {checks.describe(array)}"
        )
    return array


def _takes_fans(function: Initializer) -> bool:
    try:
        return "fans" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # Python cannot tell
        return False


def is_local(value: object) -> bool:
    """Whether it is a function without a name that a module knows it by, which cannot be pickled."""
    return any(mark in getattr(value, "__qualname__", "") for mark in ("<locals>", "<lambda>"))


def _weight_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 2:
        raise ValueError(f"{name}: expected the shape (inputs, outputs) of a weight, got {shape}; use it for weights")
    return shape
