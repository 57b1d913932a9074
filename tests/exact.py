"""The registry's formulas, as written for people, evaluated with as many digits as it takes.

Only the standard library: ``decimal`` has exp, ln and square roots in any precision, and with enough digits the
textbook expressions for the rest do not cancel. This is the reference that is better than float64, and it shows that
the documented formula is the function.
"""

import functools
import math
import re
from decimal import Context, Decimal, localcontext

import numpy as np

NUMBER = re.compile(r"(?<![\w.])(\d+\.?\d*(?:e[+-]?\d+)?)")


class NotAFormulaError(ValueError):
    """The text is not a Python expression in the argument, the parameters and the functions below."""


@functools.cache
def _pi(digits):
    with localcontext(Context(prec=digits + 5)):
        # Machin: pi / 4 = 4 arctan(1/5) - arctan(1/239)
        def arctan_inverse(n):
            term = total = Decimal(1) / n
            k = 1
            while term.adjusted() > -digits - 5:
                term /= -n * n
                k += 2
                total += term / k
            return total

        return 4 * (4 * arctan_inverse(5) - arctan_inverse(239))


def _exp(x):
    return x.exp()


def _tanh(x):
    e = (-2 * abs(x)).exp()
    return ((1 - e) / (1 + e)).copy_sign(x)


def _erfc(x, digits):
    if x < 0:
        return 2 - _erfc(-x, digits)
    if x < 6:
        with localcontext(Context(prec=digits + 40)):  # the largest term is exp(36)
            term = total = x
            k = 0
            while term and (k < 36 or term.adjusted() > -digits - 20):
                k += 1
                term *= -x * x / k
                total += term / (2 * k + 1)
            return 1 - 2 * total / _pi(digits + 40).sqrt()
    fraction = Decimal(0)
    for k in range(int((2.4 * digits) ** 2 / (8 * float(x) ** 2)) + 40, 0, -1):
        fraction = Decimal(k) / (2 * x * x) / (1 + fraction)
    return (-x * x).exp() / (x * _pi(digits).sqrt()) / (1 + fraction)


def _names(digits):
    def erfc(x):
        return _erfc(x, digits)

    def normal(x):
        return erfc(-x / Decimal(2).sqrt()) / 2

    def clip(x, low, high):
        return min(max(x, low), high)

    return {
        "__builtins__": {},
        "Decimal": Decimal,
        "pi": _pi(digits),
        "abs": abs,
        "max": max,
        "min": min,
        "clip": clip,
        "exp": _exp,
        "expm1": lambda x: x.exp() - 1,
        "log": lambda x: x.ln(),
        "log1p": lambda x: (1 + x).ln(),
        "sqrt": lambda x: x.sqrt(),
        "tanh": _tanh,
        "erf": lambda x: 1 - erfc(x),
        "erfc": erfc,
        "s": lambda x: 1 / (1 + (-x).exp()),
        "Phi": normal,
        "SELU_ALPHA": Decimal("1.6732632423543772848170429916717"),
        "SELU_LAMBDA": Decimal("1.0507009873554804934193352949746"),
        "phi": lambda x: (-x * x / 2).exp() / (2 * _pi(digits)).sqrt(),
    }


@functools.cache
def _compiled(text):
    try:
        return compile(NUMBER.sub(r"Decimal('\1')", text), text, "eval")
    except SyntaxError as error:
        raise NotAFormulaError(f"{text!r} is not a Python expression") from error


def _digits(value):
    """Digits with which nothing cancels: small values by their square, large ones as exp(-x*x/2) but no more than 0."""
    if value == 0:
        return 60
    return 60 + int(max(0.0, -2 * math.log10(abs(value))) + min(400.0, abs(value) / 2 + value * value / 4))


def value(text, **variables):
    """The formula's value as a Decimal; the variables are floats and taken exactly."""
    digits = max(_digits(v) for v in variables.values())
    with localcontext(Context(prec=digits, traps=[])):
        names = {k: Decimal(float(v)) for k, v in variables.items()}
        try:
            return Decimal(eval(_compiled(text), _names(digits), names))
        except (NameError, TypeError, AttributeError) as error:
            raise NotAFormulaError(f"{text!r}: {error}; known: {', '.join(_names(60))}") from error


def array(text, values, variable, entry, parameters):
    """The formula at each float64 of an array, as longdouble (error at most a half of its last place, or so)."""
    named = {p.name: v for p, v in zip(entry.parameters, parameters, strict=True)}
    return np.array([_longdouble(value(text, **{variable: v}, **named)) for v in values.tolist()], np.longdouble)


def _longdouble(number):
    # Only the remainder after rounding to float64 needs the extra bits.
    high = float(number)
    if not math.isfinite(high) or high == 0:
        return np.longdouble(high)
    with localcontext(Context(prec=60)):
        return np.longdouble(high) + np.longdouble(float(number - Decimal(high)))
