"""How activations are said in ONNX: THE TABLE, a row each; what is written and what is recognised are one.

A row holds forms. The first that the opset and the dtype allow is written; all of them are recognised when a file is
read, those of other exporters (``foreign``) too. Operators are standard ones where there is one. Two things speak
against them in float64: their attributes are single precision, and ONNX Runtime has no double kernel for many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...registry import ERFCX, SELU_ALPHA, SELU_LAMBDA
from .expressions import Expression, X, array_hole, attribute_holes, hole, op

OPSETS = (14, 24)  # that files are written in; the semantics of all operators here are known up to the latter
DEFAULT_OPSET = 20  # the first that has Gelu


@dataclass(frozen=True)
class Form:
    """One way to say it."""

    expression: Expression
    since: int = OPSETS[0]  # the first opset that has its operators
    double: bool = True  # whether float64 can be said so, too
    foreign: bool = False  # only ever read
    values: Mapping[str, float] = field(default_factory=dict)  # the parameters that it stands for and does not show

    def writable(self, opset: int, dtype: np.dtype, values: Mapping[str, float]) -> bool:
        """Whether it says the activation with these parameters exactly, and runs everywhere."""
        if self.foreign or opset < self.since or any(values[name] != value for name, value in self.values.items()):
            return False
        if dtype == np.float32:
            return True
        numbers = [values.get(name, name) for name in attribute_holes(self.expression)]
        return self.double and all(float(np.float32(v)) == float(v) for v in numbers)


def foreign(expression: Expression, **values: float) -> Form:
    """What other exporters write."""
    return Form(expression, foreign=True, values=values)


def _log1p(e: Expression) -> Expression:
    """For 0 <= e <= 1 (Kahan's quotient; below one rounding the logarithm is e itself)."""
    u = op.Max(e + 1.0, 1 + 2.0**-52)
    return op.Log(u) * (e / (u - 1.0))


def _expm1(x: Expression) -> Expression:
    """For x <= 0, with relative accuracy: expm1(x) = tanh(x / 2) (exp(x) + 1)."""
    return op.Tanh(x * 0.5) * (op.Exp(x) + 1.0)


def _softplus(x: Expression) -> Expression:
    return op.Max(x, 0.0) + _log1p(op.Exp(-op.Abs(x)))


def _gelu() -> Expression:
    """max(x, 0) - |x| (1 - Phi(|x|)), the tail as in the registry: ONNX has no erfc, and ONNX Runtime no double Erf."""
    t = op.Min(op.Abs(X), 40.0)
    u = t * math.sqrt(0.5)
    r = (u - 2.0) / (u + 2.0)
    coefficients = np.polynomial.chebyshev.cheb2poly(ERFCX[np.abs(ERFCX) > 1e-18])[::-1].astype(float).tolist()
    ratio: Expression | float = coefficients[0]
    for coefficient in coefficients[1:]:
        ratio = r * ratio + coefficient
    tail = op.Exp(t * t * -0.5) * (ratio / (u * 2.0 + 1.0))
    return op.Max(X, 0.0) - t * (tail * 0.5)


alpha, beta, lambd = hole("alpha"), hole("beta"), hole("lambd")
below = op.Min(X, 0.0)
relu = op.Relu(X)
cube = X * (X * X)
SQRT_2_PI = math.sqrt(2 / math.pi)
INNER = 0.044715  # of gelu's approximation
one_plus_erf = op.Erf(X / math.sqrt(2)) + 1.0
other_one_plus_erf = op.Erf(X * math.sqrt(0.5)) + 1.0
one_plus_tanh, power_one_plus_tanh, horner_one_plus_tanh = (
    op.Tanh(inner) + 1.0
    for inner in (
        (X + cube * INNER) * SQRT_2_PI,
        (X + op.Pow(X, 3.0) * INNER) * SQRT_2_PI,
        (X * SQRT_2_PI) * (X * X * INNER + 1.0),
    )
)


def _halved(factor: Expression) -> list[Form]:
    """x * factor / 2, however it is put together."""
    return [foreign((X * factor) * 0.5), foreign(X * (factor * 0.5)), foreign((X * 0.5) * factor)]


ACTIVATIONS: dict[str, list[Form]] = {
    "identity": [Form(op.Identity(X))],
    "relu": [
        Form(relu),
        foreign(op.Max(X, 0.0)),
        foreign(op.Clip(X, 0.0, math.inf)),
        foreign(op.LeakyRelu(X, alpha=0.0)),
        foreign(op.ThresholdedRelu(X, alpha=0.0)),
    ],
    "leaky_relu": [
        Form(op.LeakyRelu(X, alpha=hole("negative_slope"))),
        Form(op.Max(X, 0.0) + below * hole("negative_slope")),
        foreign(op.Max(X, X * hole("negative_slope"))),
        foreign(op.PRelu(X, hole("negative_slope"))),
    ],
    "sigmoid": [Form(op.Sigmoid(X)), foreign(1.0 / (op.Exp(-X) + 1.0)), foreign(op.Reciprocal(op.Exp(-X) + 1.0))],
    "tanh": [Form(op.Tanh(X))],
    "elu": [
        Form(op.Elu(X, alpha=alpha), double=False),
        Form(op.Max(X, 0.0) + _expm1(below) * alpha),
    ],
    "celu": [
        Form(op.Celu(X, alpha=alpha), double=False),
        Form(op.Max(X, 0.0) + _expm1(below / alpha) * alpha),
    ],
    "selu": [
        Form(op.Selu(X, alpha=SELU_ALPHA, gamma=SELU_LAMBDA), double=False),
        Form((op.Max(X, 0.0) + _expm1(below) * SELU_ALPHA) * SELU_LAMBDA),
    ],
    "gelu": [
        Form(op.Gelu(X), since=20, double=False),
        Form((X * 0.5) * one_plus_erf, double=False),
        Form(_gelu()),
        *_halved(one_plus_erf),
        *_halved(other_one_plus_erf),
    ],
    "gelu_tanh": [
        Form(op.Gelu(X, approximate="tanh"), since=20, double=False),
        Form(X * op.Sigmoid(X * (X * X * (2 * SQRT_2_PI * INNER) + 2 * SQRT_2_PI))),
        *_halved(one_plus_tanh),
        *_halved(power_one_plus_tanh),
        *_halved(horner_one_plus_tanh),
    ],
    "softplus": [
        Form(op.Softplus(X), double=False, values={"beta": 1.0}),
        Form(op.Softplus(X * beta) / beta, double=False),
        Form(_softplus(X), values={"beta": 1.0}),
        Form(_softplus(X * beta) / beta),
        foreign(op.Log(op.Exp(X) + 1.0), beta=1.0),
    ],
    "log_sigmoid": [
        Form(-op.Softplus(-X), double=False),
        Form(below - _log1p(op.Exp(-op.Abs(X)))),
        foreign(op.Log(op.Sigmoid(X))),
    ],
    "silu": [Form(op.Swish(X), since=24), Form(X / (op.Exp(-X) + 1.0)), foreign(X * op.Sigmoid(X))],
    "mish": [
        Form(op.Mish(X), since=18, double=False),
        Form(X * op.Tanh(op.Softplus(X)), double=False),
        Form(X * op.Tanh(_softplus(X))),
    ],
    "hard_sigmoid": [
        Form(op.HardSigmoid(X, alpha=1 / 6, beta=0.5), double=False),
        Form(op.Clip(X + 3.0, 0.0, 6.0) / 6.0),
    ],
    "hard_swish": [
        Form(op.HardSwish(X), double=False),
        Form(X * (op.Clip(X + 3.0, 0.0, 6.0) / 6.0)),
        foreign((X * op.Clip(X + 3.0, 0.0, 6.0)) / 6.0),
        foreign(X * op.HardSigmoid(X, alpha=1 / 6, beta=0.5)),
    ],
    "hard_tanh": [Form(op.Clip(X, hole("min_val"), hole("max_val")))],
    "relu6": [Form(op.Clip(X, 0.0, 6.0)), foreign(op.Min(op.Relu(X), 6.0)), foreign(op.Min(op.Max(X, 0.0), 6.0))],
    "softsign": [Form(op.Softsign(X), double=False), Form(X / (op.Abs(X) + 1.0))],
    "relu_squared": [Form(relu * relu), foreign(op.Pow(relu, 2.0))],
    "threshold": [
        Form(op.Where(op.LessOrEqual(X, hole("threshold")), hole("value"), X)),
        foreign(op.ThresholdedRelu(X, alpha=hole("threshold")), value=0.0),
        foreign(op.Where(op.Greater(X, hole("threshold")), X, hole("value"))),
    ],
    "hard_shrink": [
        Form(op.Shrink(X, lambd=lambd, bias=0.0), double=False),
        Form(op.Where(op.LessOrEqual(op.Abs(X), lambd), 0.0, X)),
        foreign(op.Where(op.Or(op.Greater(X, lambd), op.Less(X, hole("-lambd"))), X, 0.0)),
    ],
    "soft_shrink": [
        Form(op.Shrink(X, lambd=lambd, bias=lambd), double=False),
        Form(op.Max(X - lambd, 0.0) + op.Min(X + lambd, 0.0)),
        foreign(op.Where(op.Greater(X, lambd), X - lambd, 0.0) + op.Where(op.Less(X, hole("-lambd")), X + lambd, 0.0)),
    ],
    "tanh_shrink": [Form(X - op.Tanh(X))],
    "prelu": [
        Form(op.PRelu(X, array_hole("weight")), double=False),
        Form(op.Max(X, 0.0) + below * array_hole("weight")),
    ],
    "swish": [
        Form(X / (op.Exp(-(X * array_hole("beta"))) + 1.0)),
        foreign(X * op.Sigmoid(X * array_hole("beta"))),
        foreign(op.Swish(X, alpha=hole("beta"))),
    ],
    "softmax": [Form(op.Softmax(X, axis=-1))],
    "log_softmax": [Form(op.LogSoftmax(X, axis=-1)), foreign(op.Log(op.Softmax(X, axis=-1)))],
}

# What is no activation, and what stands at the end of a model.

centred = X - op.ReduceMean(X, axes=(-1,), keepdims=1)
LAYER_NORM = centred / op.Sqrt(op.ReduceMean(centred * centred, axes=(-1,), keepdims=1) + hole("eps"))
FOREIGN_LAYER_NORM = centred / op.Sqrt(op.ReduceMean(op.Pow(centred, 2.0), axes=(-1,), keepdims=1) + hole("eps"))
MAXOUT = op.ReduceMax(op.Reshape(X, array_hole("shape")), axes=(-1,), keepdims=0)
SIGMOID, SOFTMAX, EXP = op.Sigmoid(X), op.Softmax(X, axis=-1), op.Exp(X)
BOTH_CLASSES = op.Concat(1.0 - SIGMOID, SIGMOID, axis=-1)  # of one output: [1 - p, p]
