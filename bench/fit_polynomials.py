"""Refit the polynomials of fastact/_kernels/fa_math.h (needs mpmath): python bench/fit_polynomials.py

Weighted minimax fits in 60 digits. Every coefficient is rounded to the target precision in turn, lowest first, and
the higher ones are fitted again around it, so that rounding costs next to nothing. Printed as C hexadecimal constants
with the weighted error that remains.
"""

import mpmath as mp

mp.mp.dps = 60


def minimax(function, weight, powers, low, high, iterations=40):
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
    best, best_error = None, mp.inf
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


def round_to(x, digits):
    """x rounded to that many binary digits."""
    if x == 0:
        return x
    exponent = mp.floor(mp.log(abs(x), 2)) + 1
    scale = mp.mpf(2) ** (digits - exponent)
    return mp.nint(x * scale) / scale


def fit(function, weight, powers, low, high, digits):
    """The rounded coefficients, and the largest weighted error with them."""
    low, high, known = mp.mpf(low), mp.mpf(high), []
    for i in range(len(powers)):

        def rest(x, known=known):
            return function(x) - sum(a * x**p for a, p in zip(known, powers, strict=False))

        c = minimax(rest, weight, powers[i:], low, high)
        known = [*known, round_to(c[0], digits)]
    grid = [low + (high - low) * mp.mpf(i) / 2000 for i in range(2001)]
    return known, max(
        abs((sum(a * x**p for a, p in zip(known, powers, strict=True)) - function(x)) * weight(x)) for x in grid
    )


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2"""
    if abs(r) < mp.mpf(10) ** -12:
        return mp.mpf(1) / 2 + r / 6 + r * r / 24
    return (mp.exp(r) - 1 - r) / (r * r)


def log1p_tail(e):
    """(log(1 + e) - e) / e^2"""
    if abs(e) < mp.mpf(10) ** -10:
        return -mp.mpf(1) / 2 + e / 3 - e * e / 4
    return (mp.log1p(e) - e) / (e * e)


def log1p_weight(e):
    return e * e / mp.log1p(e) if e else mp.mpf(0)


def atanh_tail(w):
    """(2 atanh(s) - 2 s) / s^3 in w = s^2"""
    if w < mp.mpf(10) ** -14:
        return mp.mpf(2) / 3 + w * 2 / 5 + w * w * 2 / 7
    s = mp.sqrt(w)
    return (2 * mp.atanh(s) - 2 * s) / (s * w)


def atanh_weight(w):
    s = mp.sqrt(w)
    return s * w / (2 * mp.atanh(s)) if w else mp.mpf(0)


def tanh_tail(z):
    """(tanh(x) - x) / x^3 in z = x^2"""
    if z < mp.mpf(10) ** -14:
        return -mp.mpf(1) / 3 + z * 2 / 15 - z * z * 17 / 315
    x = mp.sqrt(z)
    return (mp.tanh(x) - x) / (x * z)


def tanh_weight(z):
    x = mp.sqrt(z)
    return x * z / mp.tanh(x) if z else mp.mpf(0)


def tanh_shrink_tail(z):
    """((x - tanh(x)) / x^3 - 1/3) / x^2 in z = x^2"""
    if z < mp.mpf(10) ** -9:
        return -mp.mpf(2) / 15 + z * 17 / 315 - z * z * 62 / 2835
    return (-tanh_tail(z) - mp.mpf(1) / 3) / z


def tanh_shrink_weight(z):
    return z / -tanh_tail(z)


def show(title, coefficients, error, suffix):
    print(f"{title}: error {mp.nstr(error, 3)} = 2^{mp.nstr(mp.log(error, 2), 4)}")
    print("    " + ", ".join(float(c).hex() + suffix for c in coefficients))


if __name__ == "__main__":
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    for digits, degree, suffix in ((24, 4, "f"), (53, 9, "")):
        c, e = fit(exp_tail, lambda r: r * r / mp.exp(r), list(range(degree + 1)), -half, half, digits)
        show(f"exp_tail, {digits} bits, degree {degree}", c, e, suffix)
        # exp(2r) = 1 + r (2 + ...): the same coefficients times powers of two, exactly
        double = [mp.mpf(2)] + [a * mp.mpf(2) ** (i + 2) for i, a in enumerate(c)]
        show(f"exp_double_tail, {digits} bits", double, e, suffix)
    for title, function, weight, high, degrees in (
        ("log1p_tail", log1p_tail, log1p_weight, 1, (8, None)),
        ("atanh_tail", atanh_tail, atanh_weight, mp.mpf(1) / 9, (None, 9)),
        ("tanh_tail", tanh_tail, tanh_weight, "0.3026", (4, 10)),
        ("tanh_shrink_tail", tanh_shrink_tail, tanh_shrink_weight, "1.57", (8, 17)),  # minutes
    ):
        for digits, degree, suffix in zip((24, 53), degrees, ("f", ""), strict=True):
            if degree is None:
                continue
            c, e = fit(function, weight, list(range(degree + 1)), 0, high, digits)
            show(f"{title}, {digits} bits, degree {degree}", c, e, suffix)
