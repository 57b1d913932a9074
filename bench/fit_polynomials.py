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


def show(title, coefficients, error, suffix):
    print(f"{title}: error {mp.nstr(error, 3)} = 2^{mp.nstr(mp.log(error, 2), 4)}")
    print("    " + ", ".join(float(c).hex() + suffix for c in coefficients))


if __name__ == "__main__":
    half = mp.log(2) / 2 * mp.mpf("1.0001")
    for digits, degree, suffix in ((24, 3, "f"), (24, 4, "f"), (53, 8, ""), (53, 9, "")):
        c, e = fit(exp_tail, lambda r: r * r / mp.exp(r), list(range(degree + 1)), -half, half, digits)
        show(f"exp_tail, {digits} bits, degree {degree}", c, e, suffix)
