"""Functions that are fitted in several ways, in mpmath, and how a coefficient is written in C."""

from typing import Any

import mpmath as mp

Number = Any  # of mpmath


def normal(x: Number) -> Number:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def logistic(x: Number) -> Number:
    return 1 / (1 + mp.exp(-x))


def gelu_tanh_argument(x: Number) -> tuple[Number, Number]:
    """u = sqrt(2/pi) (x + 0.044715 x^3), with gelu_tanh = x logistic(2u), and u'."""
    factor, cubic = mp.sqrt(2 / mp.pi), mp.mpf("0.044715")
    return factor * (x + cubic * x**3), factor * (1 + 3 * cubic * x * x)


def hexadecimal(x: Number, suffix: str = "") -> str:
    digits, exponent = float(x).hex().split("p")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}p{exponent}{suffix}"
