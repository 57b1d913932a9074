"""Refit the polynomials of fa_math.h (needs mpmath; minutes): python fastact/backends/kernels/fit/polynomials.py

Weighted minimax fits in 60 digits. Every coefficient is rounded to the target precision in turn, lowest first, and
the higher ones are fitted again around it, so that rounding costs next to nothing. Printed as C hexadecimal constants
with the weighted error that remains.
"""

from collections.abc import Callable

import mpmath as mp
from functions import Number, gelu_tanh_argument, hexadecimal, normal

mp.mp.dps = 60
Function = Callable[[Number], Number]


def minimax(
    function: Function, weight: Function, powers: list[int], low: Number, high: Number, iterations: int = 40
) -> list[Number]:
    """Coefficients c with the largest |sum c_i x**powers[i] - function(x)| * weight(x) as small as possible.

    Lawson's iteratively reweighted least squares on Chebyshev points: unlike an exchange it does not mind that the
    weighted powers all vanish at 0.
    """
    count = 12 * (len(powers) + 1)
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / count) for i in range(count)]
    scaled = mp.matrix(count, len(powers))
    target = mp.matrix(count, 1)
    for i, x in enumerate(points):
        for j, power in enumerate(powers):
            scaled[i, j] = weight(x) * x**power
        target[i] = weight(x) * function(x)
    lawson = [mp.mpf(1) / count] * count
    best, best_error = [], mp.inf
    for _ in range(iterations):
        weighted = scaled.T * mp.diag(lawson)
        c = mp.lu_solve(weighted * scaled, weighted * target)
        errors = [abs(e) for e in scaled * c - target]
        if max(errors) < best_error:
            best, best_error = list(c), max(errors)
        lawson = [w * e for w, e in zip(lawson, errors, strict=True)]
        total = mp.fsum(lawson)
        lawson = [w / total for w in lawson]
    return best


def round_to(x: Number, digits: int) -> Number:
    """x rounded to that many binary digits."""
    if x == 0:
        return x
    exponent = mp.floor(mp.log(abs(x), 2)) + 1
    scale = mp.mpf(2) ** (digits - exponent)
    return mp.nint(x * scale) / scale


def fit(
    function: Function, weight: Function, powers: list[int], low: Number, high: Number, digits: int
) -> tuple[list[Number], Number]:
    """The rounded coefficients, and the largest weighted error with them."""
    low, high, known = mp.mpf(low), mp.mpf(high), []
    for i in range(len(powers)):

        def rest(x: Number, known: list[Number] = known) -> Number:
            return function(x) - sum(a * x**p for a, p in zip(known, powers, strict=False))

        c = minimax(rest, weight, powers[i:], low, high)
        known = [*known, round_to(c[0], digits)]
    grid = [low + (high - low) * mp.mpf(i) / 2000 for i in range(2001)]
    return known, max(
        abs((sum(a * x**p for a, p in zip(known, powers, strict=True)) - function(x)) * weight(x)) for x in grid
    )


def solve_weighted(rows: list[list[Number]], targets: list[Number], weights: list[Number]) -> list[Number]:
    """Linear least squares by the normal equations (60 digits can afford them)."""
    size = len(rows[0])
    normal, side = mp.matrix(size, size), mp.matrix(size, 1)
    for i in range(size):
        weighted = [w * row[i] for w, row in zip(weights, rows, strict=True)]
        for j in range(size):
            normal[i, j] = mp.fdot(weighted, (row[j] for row in rows))
        side[i] = mp.fdot(weighted, targets)
    return list(mp.lu_solve(normal, side))


def normal_tail(t: Number) -> Number:
    """Phi(-t) exp(t^2 / 2)"""
    return mp.exp(t * t / 2) * normal(-t)


def fit_denominator(
    functions: list[tuple[Function, Number, int]],
    degrees: tuple[int, int],
    high: Number,
    digits: int,
    iterations: int = 30,
) -> list[Number]:
    """Q, highest coefficient 1, that serves every (function, low, importance) best: k + P / Q = function in relative
    error on [low, high] with a P of its own, k = 1 / sqrt(2 pi).

    Each round is a linear problem, P + (k - f) Q = 0, weighted with the last Q (Sanathanan and Koerner) and with
    Lawson's weights, on Chebyshev points in 1 / (t + 3).
    """
    top, bottom = degrees
    count = 6 * (top + bottom + 2)
    k = 1 / mp.sqrt(2 * mp.pi)
    points, sizes, rows, targets = [], [], [], []
    for number, (function, low, importance) in enumerate(functions):
        left, right = 1 / (mp.mpf(high) + 3), 1 / (mp.mpf(low) + 3)
        for i in range(count):
            t = 2 / (left + right - (right - left) * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / count)) - 3
            f = function(t)
            numerators = [mp.mpf(0)] * (top + 1) * len(functions)
            numerators[(top + 1) * number : (top + 1) * (number + 1)] = [t**j for j in range(top + 1)]
            points.append(t)
            sizes.append(f / importance)
            rows.append(numerators + [(k - f) * t**j for j in range(bottom)])
            targets.append((f - k) * t**bottom)
    old, lawson = [1 + t**bottom for t in points], [mp.mpf(1) / len(points)] * len(points)
    best, best_error = [], mp.inf
    for step in range(iterations):
        c = solve_weighted(rows, targets, [w / (q * f) ** 2 for w, q, f in zip(lawson, old, sizes, strict=True)])
        q = [*c[-bottom:], mp.mpf(1)]
        old = [mp.polyval(q[::-1], t) for t in points]
        errors = [
            abs((mp.fdot(row, c) - target) / (d * f))
            for row, target, d, f in zip(rows, targets, old, sizes, strict=True)
        ]
        if max(errors) < best_error:
            best, best_error = q, max(errors)
        if step > 5:
            total = mp.fsum(w * e for w, e in zip(lawson, errors, strict=True))
            lawson = [w * e / total for w, e in zip(lawson, errors, strict=True)]
    return [round_to(a, digits) for a in best]


def fit_numerator(
    function: Function, denominator: list[Number], degree: int, low: Number, high: Number, digits: int
) -> tuple[list[Number], Number]:
    """P with k + P / Q = function in relative error, for k = 1 / sqrt(2 pi) rounded: its coefficients and the error."""
    k = round_to(1 / mp.sqrt(2 * mp.pi), digits)

    def q(t: Number) -> Number:
        return mp.polyval(denominator[::-1], t)

    powers = list(range(degree + 1))
    return fit(lambda t: (function(t) - k) * q(t), lambda t: 1 / (function(t) * q(t)), powers, low, high, digits)


def normal_tail_moment(t: Number) -> Number:
    """t Phi(-t) exp(t^2 / 2)"""
    return t * normal_tail(t)


def gelu_far_tail(w: Number) -> Number:
    """t Phi(-t) exp(t^2 / 2) for w = 1 / t^2"""
    return normal_tail_moment(1 / mp.sqrt(w))


def gelu_far_slope(w: Number) -> Number:
    """-gelu'(-t) exp(t^2 / 2) / t for w = 1 / t^2"""
    return 1 / mp.sqrt(2 * mp.pi) - w * gelu_far_tail(w)


# the t > 0 with gelu'(-t) = 0
GELU_ROOT = mp.findroot(lambda t: normal_tail(t) - t / mp.sqrt(2 * mp.pi), mp.mpf("0.75"))


def gelu_slope_factor(t: Number, root: Number = GELU_ROOT) -> Number:
    """gelu'(-t) exp(t^2 / 2) / (root - t)"""
    return (t / mp.sqrt(2 * mp.pi) - normal_tail(t)) / (t - root)


def normal_centre(z: Number) -> Number:
    """(1 - 2 Phi(-t)) / t, for z = -t^2 / 2"""
    t = mp.sqrt(-2 * z)
    return mp.erf(t / mp.sqrt(2)) / t


def gelu_near(z: Number) -> Number:
    """(gelu'(x) - 1/2) / x for z = -x^2 / 2"""
    x = mp.sqrt(-2 * z)
    return mp.erf(x / mp.sqrt(2)) / (2 * x) + mp.exp(z) / mp.sqrt(2 * mp.pi)


def gelu_tanh_near(square: Number) -> Number:
    """(gelu_tanh'(x) - 1/2) / x for x^2"""
    x = mp.sqrt(square)
    u, slope = gelu_tanh_argument(x)
    return mp.tanh(u) / (2 * x) + slope / (2 * mp.cosh(u) ** 2)


def near_weight(x: Number, near: Number) -> Number:
    """To the relative error of the slope 1/2 - x near at the negative x."""
    return x / (mp.mpf(1) / 2 - x * near)


def exp_tail(r: Number) -> Number:
    """(exp(r) - 1 - r) / r^2"""
    if abs(r) < mp.mpf(10) ** -12:
        return mp.mpf(1) / 2 + r / 6 + r * r / 24
    return (mp.exp(r) - 1 - r) / (r * r)


def exp_double_tail(r: Number) -> Number:
    """(exp(2r) - 1) / r"""
    return mp.expm1(2 * r) / r if r else mp.mpf(2)


def log1p_tail(e: Number) -> Number:
    """(log(1 + e) - e) / e^2"""
    if abs(e) < mp.mpf(10) ** -10:
        return -mp.mpf(1) / 2 + e / 3 - e * e / 4
    return (mp.log1p(e) - e) / (e * e)


def log1p_weight(e: Number) -> Number:
    return e * e / mp.log1p(e) if e else mp.mpf(0)


def atanh_tail(w: Number) -> Number:
    """(2 atanh(s) - 2 s) / s^3 in w = s^2"""
    if w < mp.mpf(10) ** -14:
        return mp.mpf(2) / 3 + w * 2 / 5 + w * w * 2 / 7
    s = mp.sqrt(w)
    return (2 * mp.atanh(s) - 2 * s) / (s * w)


def atanh_weight(w: Number) -> Number:
    s = mp.sqrt(w)
    return s * w / (2 * mp.atanh(s)) if w else mp.mpf(0)


def tanh_tail(z: Number) -> Number:
    """(tanh(x) - x) / x^3 in z = x^2"""
    if z < mp.mpf(10) ** -14:
        return -mp.mpf(1) / 3 + z * 2 / 15 - z * z * 17 / 315
    x = mp.sqrt(z)
    return (mp.tanh(x) - x) / (x * z)


def tanh_weight(z: Number) -> Number:
    x = mp.sqrt(z)
    return x * z / mp.tanh(x) if z else mp.mpf(0)


def tanh_shrink_tail(z: Number) -> Number:
    """((x - tanh(x)) / x^3 - 1/3) / x^2 in z = x^2"""
    if z < mp.mpf(10) ** -9:
        return -mp.mpf(2) / 15 + z * 17 / 315 - z * z * 62 / 2835
    return (-tanh_tail(z) - mp.mpf(1) / 3) / z


def tanh_shrink_weight(z: Number) -> Number:
    return z / -tanh_tail(z)


def show(title: str, coefficients: list[Number], error: Number, suffix: str) -> None:
    print(f"{title}: error {mp.nstr(error, 3)} = 2^{mp.nstr(mp.log(error, 2), 4)}")
    print("    " + ", ".join(hexadecimal(c, suffix) for c in coefficients))


if __name__ == "__main__":
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    for digits, degree, suffix in ((24, 4, "f"), (53, 9, "")):
        c, e = fit(exp_tail, lambda r: r * r / mp.exp(r), list(range(degree + 1)), -half, half, digits)
        show(f"exp_tail, {digits} bits, degree {degree}", c, e, suffix)
        if digits == 24:  # exp(2r) = 1 + r (2 + ...): one coefficient less
            c, e = fit(exp_double_tail, lambda r: abs(r) / mp.exp(2 * r), list(range(5)), -half / 2, half / 2, digits)
        else:  # the same coefficients times powers of two, exactly
            c = [mp.mpf(2)] + [a * mp.mpf(2) ** (i + 2) for i, a in enumerate(c)]
        show(f"exp_double_tail, {digits} bits", c, e, suffix)
    for title, function, weight, highs, degrees in (
        ("log1p_tail", log1p_tail, log1p_weight, (1, None), (8, None)),
        ("atanh_tail", atanh_tail, atanh_weight, (None, mp.mpf(1) / 9), (None, 9)),
        ("tanh_tail", tanh_tail, tanh_weight, ("0.3916", "0.3026"), (4, 9)),
        ("tanh_shrink_tail", tanh_shrink_tail, tanh_shrink_weight, ("1.0405", "1.0405"), (6, 15)),  # minutes
    ):
        for digits, degree, high, suffix in zip((24, 53), degrees, highs, ("f", ""), strict=True):
            if degree is None:
                continue
            c, e = fit(function, weight, list(range(degree + 1)), 0, high, digits)
            show(f"{title}, {digits} bits, degree {degree}", c, e, suffix)
    for digits, degree, suffix in ((24, 2, "f"), (53, 6, "")):
        c, e = fit(log1p_tail, lambda w: w / 2, list(range(degree + 1)), 0, "0.02944", digits)
        show(f"log_tail, {digits} bits, degree {degree}", c, e, suffix)

    # tanh, with more weight on small x, where a coefficient's error shows most
    scale, high = mp.mpf("1.4921875"), mp.log(2) / 2
    c, e = fit(
        lambda r: scale * exp_tail(2 * r) * 2,
        lambda r: r / exp_double_tail(r) * 2 / scale * (mp.mpf("1.6") - mp.mpf("0.6") * r / high),
        list(range(10)),
        0,
        high,
        53,
    )
    show("expm1_half_tail, 53 bits, degree 9", c, e, "")
    scale = mp.mpf("1.75")
    for digits, degree, suffix in ((24, 5, "f"), (53, 10, "")):
        c, e = fit(
            lambda r: scale * exp_double_tail(r / 2) / 2,
            lambda r: abs(r) * mp.exp(-r) / scale,
            list(range(degree + 1)),
            -half,
            half,
            digits,
        )
        show(f"sigmoid_tail, {digits} bits, degree {degree}", c, e, suffix)

    # silu's exp(r), r stretched by a and shifted by 19/65536
    a, period, shift, margin = mp.mpf(0x924A33) / 2**23, mp.mpf(0xCACD) / 2**16, -mp.mpf(19) / 2**16, mp.mpf("1e-4")
    c, e = fit(
        lambda r: mp.exp((r - shift) / a),
        lambda r: mp.exp(-(r - shift) / a),
        list(range(7)),
        shift - period / 2 - margin,
        shift + period / 2 + margin,
        24,
    )
    show("exp_stretched, 24 bits, degree 6", c, e, "f")

    # exp for swish's slope, its argument shifted by 323/65536 and stretched from half-periods of ln 2 to 33501/65536
    period, shift = mp.mpf(33501) / 2**16, mp.mpf(323) / 2**16
    stretch, half_period = round_to(period / mp.log(2), 24), period / 2 * mp.mpf("1.0001")
    c, e = fit(
        lambda r: mp.exp((r - shift) / stretch),
        lambda r: mp.exp((shift - r) / stretch),
        list(range(7)),
        shift - half_period,
        shift + half_period,
        24,
    )
    print(f"swish_power, r is t times {hexadecimal(stretch, 'f')}")
    show("swish_power, 24 bits, degree 6", [mp.ldexp(a, 32) for a in c], e, "f")

    # gelu far to the left, in 1 / t^2
    for title, function in (("gelu_far_tail", gelu_far_tail), ("gelu_far_slope", gelu_far_slope)):
        low, high = 1 / mp.mpf(14.9) ** 2, 1 / mp.mpf(5.5) ** 2
        c, e = fit(function, lambda w, f=function: 1 / f(w), list(range(5)), low, high, 24)
        show(f"{title}, 24 bits, degree 4", c, e, "f")

    # gelu, up to where it has underflowed; the numerators carry the factor FA_TAIL_UNSCALE
    degrees, high = (9, 10), 38.82
    q = fit_denominator([(gelu_slope_factor, 0, 3), (normal_tail_moment, mp.mpf(13) / 16, 1)], degrees, high, 53)
    print("gelu_denominator, 53 bits:\n    " + ", ".join(hexadecimal(a) for a in q))
    c, e = fit_numerator(normal_tail_moment, q, degrees[0], mp.mpf(13) / 16, high, 53)
    show("gelu_tail, 53 bits", [mp.ldexp(a, -64) for a in c], e, "")
    c, e = fit_numerator(gelu_slope_factor, q, degrees[0], 0, high, 53)
    show("gelu_slope, 53 bits", [mp.ldexp(a, -64) for a in c], e, "")
    print(f"gelu_root - 3/4: {hexadecimal(GELU_ROOT - mp.mpf(3) / 4)}")
    c, e = fit(normal_centre, lambda z: 1, list(range(9)), -((mp.mpf(13) / 16) ** 2) / 2, -1e-30, 53)
    show("gelu_centre, 53 bits, degree 8", c, e, "")
    c, e = fit(
        gelu_near, lambda z: near_weight(mp.sqrt(-2 * z), gelu_near(z)), list(range(8)), -mp.mpf(1) / 8, -1e-30, 53
    )
    show("gelu_near, 53 bits, degree 7", c, e, "")
    c, e = fit(
        gelu_tanh_near, lambda z: near_weight(mp.sqrt(z), gelu_tanh_near(z)), list(range(10)), 1e-30, mp.mpf(1) / 4, 53
    )
    show("gelu_tanh_near, 53 bits, degree 9", c, e, "")
