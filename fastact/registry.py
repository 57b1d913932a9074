"""The list of activations: everything the package knows about each one, apart from its compiled kernel.

The formulas here are written independently of the C. Called with float64 they are the oracle of the tests; called
with the array's own dtype they are the numpy backend. To add an elementwise activation, add one entry here and one, in
the same place, in ``backends/kernels/fa_activations.h`` (its README shows how), and run ``python bench/regenerate.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from . import checks

Array = np.ndarray


@dataclass(frozen=True)
class Parameter:
    """A number that shapes an activation, with its default and the closed or open interval it must lie in."""

    name: str
    default: float
    low: float = -math.inf
    low_included: bool = True

    def accepts(self, value: float) -> bool:
        """Whether value is finite and in range."""
        return checks.in_range(value, self.low, self.low_included)

    @property
    def range(self) -> str:
        """The range in words, for messages and documentation."""
        return checks.range_text(self.low, self.low_included)


@dataclass(frozen=True)
class Entry:
    """One elementwise activation.

    ``formula`` and ``slope_formula`` are Python expressions (the accuracy command evaluates them with mpmath), in which
    s is the logistic function and Phi and phi are the normal distribution and its density.
    ``value(x, *parameters)`` and ``slope(saved, *parameters)`` take and return arrays of one floating dtype;
    ``saves`` says whether ``saved`` is the output "y" or the input "x" (None: the slope is constant).
    """

    name: str
    init: str  # the scheme that suits the weights before it: "he", "glorot" or "lecun"
    formula: str
    slope_formula: str
    value: Callable[..., Array]
    slope: Callable[..., Array]
    saves: str | None
    limits: tuple[str, str]  # of f at -inf and +inf, in words
    parameters: tuple[Parameter, ...] = ()
    kinks: tuple[str, ...] = ()  # where the slope jumps, as expressions in the parameters
    at_kink: str = ""
    zero_blocks: bool = False  # made of polynomial pieces: a slope of 0 is exact, and gives 0 whatever the gradient is
    cost: str = "light"  # "light" or "heavy": from which size threads pay, see runtime.THRESHOLDS
    forward_ulp: dict[str, float] | None = None  # None: 2 for both dtypes
    backward_ulp: dict[str, float] | None = None  # None: 4 for both dtypes
    slope_roots: tuple[float, ...] = ()  # near these the backward error is measured absolutely
    # constants of the slope formula: its function takes them after the parameters, rounded to the dtype like them
    slope_constants: Mapping[str, float] = field(default_factory=dict)
    ordered: bool = False  # the parameters must rise: each below the next
    product: Callable[..., Array] | None = None  # grad * slope from (grad, saved); None: the plain product
    approximations: Mapping[str, str] = field(default_factory=dict)  # other values of approximate=, and what they mean

    @property
    def saved_name(self) -> str:
        """The name of backward's second argument."""
        return self.saves or "y"

    def ulp_bound(self, dtype: np.dtype | type) -> float:
        """Largest forward error in units in the last place that the library promises, default parameters."""
        return (self.forward_ulp or {}).get(np.dtype(dtype).name, 2.0)

    def backward_bound(self, dtype: np.dtype | type) -> float:
        """Largest backward error against grad * slope(saved) that the library promises, default parameters."""
        return (self.backward_ulp or {}).get(np.dtype(dtype).name, 4.0)

    @property
    def defaults(self) -> tuple[float, ...]:
        """The parameters' default values."""
        return tuple(p.default for p in self.parameters)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_LAMBDA = 1.0507009873554804934193349852946
SELU_LIMIT = 1.7580993408473768599402175208123  # their product

# Chebyshev coefficients in (t - 2) / (t + 2) of (1 + 2 t) exp(t^2) erfc(t), t >= 0; made with mpmath.
_ERFCX_DIGITS = """
1.17600665558830035607 2.577967387004820807716e-2 -0.1065931506777850334784 3.880887957448382112518e-2
-5.414899930893725018528e-3 -4.081525728237238507779e-4 1.98437682485535262672e-4 9.842532776048126748735e-6
-7.763265561062858443615e-6 -7.17400145752968297998e-7 3.140694955581843148917e-7 6.188423669546144265349e-8
-9.890619934492214408874e-9 -4.595399622510179845679e-9 -7.180587728177085436672e-11 2.629618333636404435685e-10
4.867734056607903730586e-11 -8.0268041937590186253e-12 -4.779133570845297723531e-12 -4.347012647846443438955e-13
2.412314273846193997993e-13 8.610900521277246770048e-14 2.594764898371219964784e-15 -5.87225438150105060557e-15
-1.70193288123443176054e-15 1.387358712117344869142e-17 1.409217440725963280182e-16 3.841275493999389802492e-17
-7.115293125772235396178e-19 -3.480409461122767047258e-18 -9.926781381246147459511e-19 -1.380914555814585226706e-21
8.824764845437814973423e-20 2.862443327263723287225e-20 1.305723827209458711131e-21 -2.231884578216668494507e-21
-8.848320521198595162295e-22
"""
ERFCX = np.array(_ERFCX_DIGITS.split(), np.longdouble)
PI = "3.14159265358979323846264338327950288"


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _leaky_relu(x: Array, negative_slope: Array) -> Array:
    below = x * negative_slope if negative_slope > 0 else np.where(np.isnan(x), x, 0)
    return np.where(x > 0, x, below)


def _wide(x: Array) -> Array:
    """At least float64, within [-1e5, 1e5], where every smooth function has long reached its limit; NaN stays."""
    return np.clip(x.astype(np.result_type(x.dtype, np.float64)), -1e5, 1e5)


def _tail(t: Array) -> tuple[Array, Array]:
    """(1 - Phi(t), phi(t)) for t >= 0 with relative accuracy; NumPy has no erfc."""
    real = t.dtype.type
    high = t.astype(np.float32).astype(t.dtype)  # high * high is exact, so exp gets no rounded argument
    bell = np.exp(-0.5 * high * high) * np.exp(-0.5 * (t - high) * (t + high))
    u = t * np.sqrt(real(0.5))
    coefficients = ERFCX[np.abs(ERFCX) > np.finfo(t.dtype).eps / 128].astype(t.dtype)
    ratio = np.polynomial.chebyshev.chebval((u - 2) / (u + 2), coefficients) / (1 + 2 * u)
    return 0.5 * bell * ratio, bell / np.sqrt(2 * real(PI))


def _gelu(x: Array) -> Array:
    wide = _wide(x)
    tail, _ = _tail(np.abs(wide))
    return np.where(x > 1e4, x, wide * np.where(wide < 0, tail, 1 - tail))


def _gelu_slope(x: Array) -> Array:
    wide = _wide(x)
    tail, density = _tail(np.abs(wide))
    return np.where(wide < 0, tail, 1 - tail) + wide * density


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b and what its rounding lost (Dekker 1971)."""
    factor = a.dtype.type(2 ** ((np.finfo(a.dtype).nmant + 2) // 2) + 1)
    p, (a1, a2), (b1, b2) = a * b, *((h := t * factor - (t * factor - t), t - h) for t in (a, b))
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def _gelu_tanh_parts(x: Array) -> tuple[Array, Array, Array, Array]:
    """x clipped, s(2u), s(-2u) and 2u's derivative, u = sqrt(2/pi) (x + 0.044715 x^3).

    2u, which exp takes, is x * (a + b x^2) in two parts.
    """
    wide = _wide(x)
    real = wide.dtype.type
    scale, scale_low = _in_parts("1.59576912160573071175978423973752747390343452", real)
    b, b_low = _in_parts("0.0713548162726002487763387522798635409955920748", real)
    a = np.full_like(wide, scale)
    square, square_low = _product(wide, wide)
    rise, rise_low = _product(square, np.full_like(wide, b))
    factor = a + rise
    back = factor - a
    low = (a - (factor - back)) + (rise - back) + rise_low + b * square_low + b_low * square + scale_low
    v, v_low = _product(wide, factor)
    v_low = np.clip(v_low + wide * low, -1, 1)  # the limits: where sigmoid has long reached its own
    s, rest = _sigmoid(v), _sigmoid(-v)
    return wide, s * (1 + v_low * rest), rest * (1 - v_low * s), a + 3 * rise


def _in_parts(digits: str, real: type[np.floating]) -> tuple[np.floating, np.floating]:
    """A constant as a number and what is left of it."""
    high = real(digits)
    return high, real(str(Decimal(digits) - Decimal(np.format_float_positional(high, unique=False, precision=70))))


def _gelu_tanh(x: Array) -> Array:
    wide, s, _, _ = _gelu_tanh_parts(x)
    return np.where(x > 1e4, x, wide * s)


def _gelu_tanh_slope(x: Array) -> Array:
    wide, s, rest, dv = _gelu_tanh_parts(x)
    return s + wide * dv * s * rest


def _selu(x: Array) -> Array:
    scale, alpha = x.dtype.type("1.0507009873554804934193349852946"), x.dtype.type("1.6732632423543772848170429916717")
    return scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _silu(x: Array) -> Array:
    wide = _wide(x)
    return np.where(x > 1e4, x, wide * _sigmoid(wide))


def _silu_slope(x: Array) -> Array:
    wide = _wide(x)
    return _sigmoid(wide) * (1 + wide * _sigmoid(-wide))


def _mish_parts(x: Array) -> tuple[Array, Array, Array]:
    """x clipped, tanh(softplus(x)), and 1 - its square, from e = exp(-|x|)."""
    wide = _wide(x)
    e = np.exp(-np.abs(wide))
    below = e * (e + 2)
    above = 1 + 2 * e
    denominator = np.where(wide < 0, below + 2, above + 2 * e * e)
    t = np.where(wide < 0, below, above) / denominator
    rest = np.where(wide < 0, 2.0, 2 * e * e) / denominator  # 1 - t
    return wide, t, rest * (1 + t)


def _mish(x: Array) -> Array:
    wide, t, _ = _mish_parts(x)
    return np.where(x > 1e4, x, wide * t)


def _mish_slope(x: Array) -> Array:
    wide, t, rest = _mish_parts(x)
    return t + wide * _sigmoid(wide) * rest


def _softplus(x: Array, beta: Array) -> Array:
    wide = x.astype(np.result_type(x.dtype, np.float64))
    scaled = wide * beta.astype(wide.dtype)
    return np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(scaled))) / beta.astype(wide.dtype)


def _log_sigmoid(x: Array) -> Array:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def _hard_swish(x: Array) -> Array:
    return np.where(x >= 3, x, np.maximum(x, -3) * np.clip(x + 3, 0, 6) / 6)  # x * 6 would overflow


def _hard_swish_slope(x: Array) -> Array:
    inner = (2 * x + 3) / 6
    return np.where(np.isnan(x), x, np.where(x <= -3, 0, np.where(x >= 3, 1, inner)))


def _softsign(x: Array) -> Array:
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x)))


def _threshold(x: Array, threshold: Array, value: Array) -> Array:
    return np.where(np.isnan(x) | (x > threshold), x, value)


def _step(condition: Array, saved: Array) -> Array:
    """1 where the condition holds, 0 elsewhere, NaN where saved is NaN."""
    return np.where(np.isnan(saved), saved, condition.astype(saved.dtype))


def _tanh_shrink(x: Array) -> Array:
    """By Lambert's fraction tanh x = x / (1 + x^2 / (3 + x^2 / (5 + ...))) below 1, where the difference cancels."""
    wide = x.astype(np.result_type(x.dtype, np.float64))
    square = np.minimum(wide * wide, 1)
    fraction = np.full_like(wide, 27)
    for odd in range(25, 1, -2):
        fraction = odd + square / fraction
    fraction = square / fraction
    return np.where(np.abs(wide) < 1, wide * (fraction / (1 + fraction)), wide - np.tanh(wide))


_ENTRIES = (
    Entry(
        name="identity",
        init="glorot",
        formula="x",
        slope_formula="1",
        value=lambda x: x.copy(),
        slope=np.ones_like,
        saves=None,
        limits=("-inf", "inf"),
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="relu",
        init="he",
        formula="max(0, x)",
        slope_formula="1 if y > 0 else 0",
        value=lambda x: np.maximum(x, 0),
        slope=lambda y: np.where(np.isnan(y), y, (y > 0).astype(y.dtype)),
        saves="y",
        limits=("0", "inf"),
        kinks=("0",),
        at_kink="0",
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="leaky_relu",
        init="he",
        formula="x if x > 0 else negative_slope * x",
        slope_formula="1 if y > 0 else negative_slope",
        value=_leaky_relu,
        slope=lambda y, negative_slope: np.where(np.isnan(y), y, np.where(y > 0, 1, negative_slope)),
        saves="y",
        limits=("-inf", "inf"),
        parameters=(Parameter("negative_slope", 0.01, low=0.0),),
        kinks=("0",),
        at_kink="negative_slope",
        zero_blocks=True,
        forward_ulp={"float32": 0.5, "float64": 0.5},
    ),
    Entry(
        name="sigmoid",
        init="glorot",
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
        init="glorot",
        formula="tanh(x)",
        slope_formula="(1 - y) * (1 + y)",
        value=np.tanh,
        slope=lambda y: (1 - y) * (1 + y),
        saves="y",
        limits=("-1", "1"),
        cost="heavy",
    ),
    Entry(
        name="elu",
        init="he",
        formula="x if x > 0 else alpha * expm1(x)",
        slope_formula="1 if y > 0 else y + alpha",
        value=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
        slope=lambda y, alpha: np.where(y > 0, 1, y + alpha),
        saves="y",
        limits=("-alpha", "inf"),
        parameters=(Parameter("alpha", 1.0, low=0.0),),
        kinks=("0",),
        at_kink="alpha",
        cost="heavy",
    ),
    Entry(
        name="celu",
        init="he",
        formula="x if x > 0 else alpha * expm1(x / alpha)",
        slope_formula="1 if y > 0 else 1 + y / alpha",
        value=lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha)),
        slope=lambda y, alpha: np.where(y > 0, 1, (y + alpha) / alpha),  # y + alpha is exact where it is small
        saves="y",
        limits=("-alpha", "inf"),
        parameters=(Parameter("alpha", 1.0, low=0.0, low_included=False),),
        cost="heavy",
    ),
    Entry(
        name="selu",
        init="lecun",
        formula="SELU_LAMBDA * (x if x > 0 else SELU_ALPHA * expm1(x))",
        slope_formula="SELU_LAMBDA if y > 0 else y + SELU_LIMIT",
        value=_selu,
        slope=lambda y, scale, limit: np.where(y > 0, scale, y + limit),
        slope_constants={"SELU_LAMBDA": SELU_LAMBDA, "SELU_LIMIT": SELU_LIMIT},
        saves="y",
        limits=("-SELU_LIMIT", "inf"),
        kinks=("0",),
        at_kink="SELU_LIMIT",
        cost="heavy",
    ),
    Entry(
        name="gelu",
        init="he",
        formula="x * Phi(x)",
        slope_formula="Phi(x) + x * phi(x)",
        value=_gelu,
        slope=_gelu_slope,
        saves="x",
        limits=("0", "inf"),
        cost="heavy",
        forward_ulp={"float32": 3, "float64": 4},
        slope_roots=(-0.7517915246935645,),
        approximations={"tanh": "gelu_tanh"},
    ),
    Entry(
        name="gelu_tanh",
        init="he",
        formula="x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))",
        slope_formula="s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) + x * s(2 * sqrt(2 / pi) * (x + 0.044715 * x**3))"
        " * s(-2 * sqrt(2 / pi) * (x + 0.044715 * x**3)) * 2 * sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)",
        value=_gelu_tanh,
        slope=_gelu_tanh_slope,
        saves="x",
        limits=("0", "inf"),
        cost="heavy",
        forward_ulp={"float32": 3, "float64": 4},
        slope_roots=(-0.7524614220710162,),
    ),
    Entry(
        name="softplus",
        init="he",
        formula="log1p(exp(beta * x)) / beta",
        slope_formula="-expm1(-beta * y)",
        value=_softplus,
        slope=lambda y, beta: -np.expm1(-beta * y),
        saves="y",
        limits=("0", "inf"),
        parameters=(Parameter("beta", 1.0, low=0.0, low_included=False),),
        cost="heavy",
    ),
    Entry(
        name="log_sigmoid",
        init="glorot",
        formula="-log1p(exp(-x))",
        slope_formula="-expm1(y)",
        value=_log_sigmoid,
        slope=lambda y: -np.expm1(y),
        saves="y",
        limits=("-inf", "0"),
        cost="heavy",
    ),
    Entry(
        name="silu",
        init="he",
        formula="x * s(x)",
        slope_formula="s(x) * (1 + x * s(-x))",
        value=_silu,
        slope=_silu_slope,
        saves="x",
        limits=("0", "inf"),
        cost="heavy",
        forward_ulp={"float32": 3, "float64": 3},
        backward_ulp={"float64": 4.5},
        slope_roots=(-1.2784645427610738,),
    ),
    Entry(
        name="mish",
        init="he",
        formula="x * tanh(log1p(exp(x)))",
        slope_formula="tanh(log1p(exp(x))) + x * s(x) * (1 - tanh(log1p(exp(x)))**2)",
        value=_mish,
        slope=_mish_slope,
        saves="x",
        limits=("0", "inf"),
        cost="heavy",
        forward_ulp={"float32": 3, "float64": 4},
        backward_ulp={"float64": 4.5},
        slope_roots=(-1.1924312144660634,),
    ),
    Entry(
        name="hard_sigmoid",
        init="glorot",
        formula="min(max(x + 3, 0), 6) / 6",
        slope_formula="1 / 6 if 0 < y < 1 else 0",
        value=lambda x: np.clip(x + 3, 0, 6) / 6,
        slope=lambda y: np.where(np.isnan(y), y, np.where((y > 0) & (y < 1), y.dtype.type(1 / 6), 0)),
        saves="y",
        limits=("0", "1"),
        kinks=("-3", "3"),
        at_kink="0",
        zero_blocks=True,
    ),
    Entry(
        name="hard_swish",
        init="he",
        formula="x * min(max(x + 3, 0), 6) / 6",
        slope_formula="0 if x <= -3 else 1 if x >= 3 else (2 * x + 3) / 6",
        value=_hard_swish,
        slope=_hard_swish_slope,
        saves="x",
        limits=("0", "inf"),
        kinks=("-3", "3"),
        at_kink="0 at -3, 1 at 3",
        zero_blocks=True,
    ),
    Entry(
        name="hard_tanh",
        init="glorot",
        formula="min(max(x, min_val), max_val)",
        slope_formula="1 if min_val < y < max_val else 0",
        value=np.clip,
        slope=lambda y, min_val, max_val: _step((y > min_val) & (y < max_val), y),
        saves="y",
        limits=("min_val", "max_val"),
        parameters=(Parameter("min_val", -1.0), Parameter("max_val", 1.0)),
        ordered=True,
        kinks=("min_val", "max_val"),
        at_kink="0",
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="relu6",
        init="he",
        formula="min(max(x, 0), 6)",
        slope_formula="1 if 0 < y < 6 else 0",
        value=lambda x: np.clip(x, 0, 6),
        slope=lambda y: _step((y > 0) & (y < 6), y),
        saves="y",
        limits=("0", "6"),
        kinks=("0", "6"),
        at_kink="0",
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="softsign",
        init="glorot",
        formula="x / (1 + abs(x))",
        slope_formula="1 / (1 + abs(x))**2",
        value=_softsign,
        slope=lambda x: 1 / (1 + np.abs(x)) ** 2,
        saves="x",
        limits=("-1", "1"),
    ),
    Entry(
        name="relu_squared",
        init="he",
        formula="max(0, x)**2",
        slope_formula="2 * max(0, x)",
        value=lambda x: np.maximum(x, 0) ** 2,
        slope=lambda x: 2 * np.maximum(x, 0),
        product=lambda grad, x: (grad + grad) * x,  # 2 x may overflow where grad * 2 x does not
        saves="x",
        limits=("0", "inf"),
        zero_blocks=True,
    ),
    Entry(
        name="threshold",
        init="he",
        formula="x if x > threshold else value",
        slope_formula="1 if x > threshold else 0",
        value=_threshold,
        slope=lambda x, threshold, value: _step(x > threshold, x),
        saves="x",
        limits=("value", "inf"),
        parameters=(Parameter("threshold", 0.0), Parameter("value", 0.0)),
        kinks=("threshold",),
        at_kink="0",
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="hard_shrink",
        init="he",
        formula="x if abs(x) > lambd else 0",
        slope_formula="1 if abs(x) > lambd else 0",
        value=lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x),
        slope=lambda x, lambd: _step(np.abs(x) > lambd, x),
        saves="x",
        limits=("-inf", "inf"),
        parameters=(Parameter("lambd", 0.5, low=0.0),),
        kinks=("-lambd", "lambd"),
        at_kink="0",
        zero_blocks=True,
        forward_ulp={"float32": 0, "float64": 0},
    ),
    Entry(
        name="soft_shrink",
        init="he",
        formula="x - lambd if x > lambd else x + lambd if x < -lambd else 0",
        slope_formula="1 if y != 0 else 0",
        value=lambda x, lambd: np.where(np.isnan(x), x, np.where(np.abs(x) > lambd, x - np.copysign(lambd, x), 0)),
        slope=lambda y, lambd: _step(y != 0, y),
        saves="y",
        limits=("-inf", "inf"),
        parameters=(Parameter("lambd", 0.5, low=0.0),),
        kinks=("-lambd", "lambd"),
        at_kink="0",
        zero_blocks=True,
    ),
    Entry(
        name="tanh_shrink",
        init="glorot",
        formula="x - tanh(x)",
        slope_formula="tanh(x)**2",
        value=_tanh_shrink,
        slope=lambda x: np.tanh(x) ** 2,
        saves="x",
        limits=("-inf", "inf"),
        cost="heavy",
    ),
)

ACTIVATIONS: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


@dataclass(frozen=True)
class LearnedEntry:
    """An activation with a learned weight: formulas over x and a weight that broadcasts against it."""

    name: str
    init: str
    formula: str
    weight_name: str
    start: float  # the weight's usual first value
    zero_blocks: bool
    value: Callable[..., Array]
    gradient: Callable[..., Array]  # (grad, x, weight): with respect to x
    weight_gradient: Callable[..., Array]  # (grad, x, weight): elementwise, not yet summed


def _prelu(x: Array, weight: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(x > 0, x, np.where((weight == 0) & ~np.isnan(x), 0, x * weight)).astype(x.dtype)


def _prelu_gradient(grad: Array, x: Array, weight: Array) -> Array:
    with np.errstate(all="ignore"):
        below = np.where(weight == 0, 0, grad * weight)
    return np.where(np.isnan(x), x, np.where(x > 0, grad, below)).astype(x.dtype)


def _prelu_weight_gradient(grad: Array, x: Array, weight: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x), x, np.where(x > 0, 0, grad * x)).astype(x.dtype)


def _swish_parts(x: Array, beta: Array) -> tuple[Array, Array, Array]:
    """X clipped, s(beta x) and 1 - s(beta x), in at least float64."""
    largest = np.finfo(np.float64).max
    wide = np.clip(x.astype(np.float64), -largest, largest)
    z = np.clip(wide * np.asarray(beta, np.float64), -1e5, 1e5)
    return wide, _sigmoid(z), _sigmoid(-z)


def _swish(x: Array, beta: Array) -> Array:
    with np.errstate(all="ignore"):
        wide, s, _ = _swish_parts(x, beta)
        return np.where((s > 0) & np.isinf(x), x, wide * s).astype(x.dtype)


def _swish_gradient(grad: Array, x: Array, beta: Array) -> Array:
    with np.errstate(all="ignore"):
        wide, s, rest = _swish_parts(x, beta)
        z = np.clip(wide * np.asarray(beta, np.float64), -1e5, 1e5)
        return (grad * (s * (1 + z * rest))).astype(x.dtype)


def _swish_weight_gradient(grad: Array, x: Array, beta: Array) -> Array:
    with np.errstate(all="ignore"):
        wide, s, rest = _swish_parts(x, beta)
        return (grad * (wide * s * rest * wide)).astype(x.dtype)


LEARNED: dict[str, LearnedEntry] = {
    "prelu": LearnedEntry(
        name="prelu",
        init="he",
        formula="x if x > 0 else weight * x",
        weight_name="weight",
        start=0.25,
        zero_blocks=True,
        value=_prelu,
        gradient=_prelu_gradient,
        weight_gradient=_prelu_weight_gradient,
    ),
    "swish": LearnedEntry(
        name="swish",
        init="he",
        formula="x * s(beta * x)",
        weight_name="beta",
        start=1.0,
        zero_blocks=False,
        value=_swish,
        gradient=_swish_gradient,
        weight_gradient=_swish_weight_gradient,
    ),
}


def rounded(values: tuple[float, ...], dtype: np.dtype) -> tuple[np.floating, ...]:
    """The parameters as the kernels see them: rounded to the dtype of the array."""
    return tuple(dtype.type(v) for v in values)


def value(entry: Entry, x: Array, values: tuple[float, ...] = ()) -> Array:
    """f(x) by the NumPy formula, in x's dtype and shape."""
    with np.errstate(all="ignore"):
        return np.asarray(entry.value(x, *rounded(values, x.dtype)), dtype=x.dtype)


def slope(entry: Entry, saved: Array, values: tuple[float, ...] = (), constants_of: np.dtype | None = None) -> Array:
    """f' by the NumPy formula, from what backward reads.

    Its constants are rounded to ``constants_of``, saved's dtype by default: in float64 with float32's constants it is
    the reference of the float32 kernels.
    """
    known = tuple(entry.slope_constants.values())
    constants = tuple(saved.dtype.type(c) for c in rounded(known, constants_of or saved.dtype))
    with np.errstate(all="ignore"):
        result = entry.slope(saved, *rounded(values, saved.dtype), *constants)
        return np.asarray(result, dtype=saved.dtype)


def gradient(
    entry: Entry,
    grad: Array,
    saved: Array,
    values: tuple[float, ...] = (),
    constants_of: np.dtype | None = None,
) -> Array:
    """grad * f' by the NumPy formula; a piecewise-linear slope of 0 selects 0 whatever grad is."""
    factor = slope(entry, saved, values, constants_of)
    with np.errstate(all="ignore"):
        product = grad * factor if entry.product is None else entry.product(grad, saved)
    return np.where(factor == 0, factor, product) if entry.zero_blocks else product
