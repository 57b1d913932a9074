"""Write fa_pieces.h (needs mpmath; a minute): python fastact/backends/kernels/fit/pieces.py

Functions of float in pieces, a polynomial each. Every polynomial is a weighted minimax fit whose coefficients are
rounded to float in turn, lowest first, the higher ones fitted again around them; its centre is where the function is
nearly a float, so that the first coefficient costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mpmath as mp
import numpy as np
from functions import Number, gelu_tanh_argument, hexadecimal, logistic, normal

mp.mp.dps = 40
HEADER = Path(__file__).resolve().parents[1] / "fa_pieces.h"
HALVES = (1.5, 2, 3, 4, 6, 8, 12)  # where the halves of the octaves from 1 to 16 meet
Function = Callable[[Number], Number]


@dataclass(frozen=True)
class Pieces:
    """A function on [low, high] in 8 pieces. place(t), a polynomial, rounded, is the piece's number; or, with octaves,
    the piece is that half of an octave, from 1 to 16, which place(t) lies in.

    The fits go by the relative error up to exact_to, from there on by the absolute one (where only 1 minus the function
    is wanted), as near a root.
    """

    name: str
    formula: str
    function: Function
    high: float
    place: tuple[float, ...]
    low: float = 0.0
    degree: int = 8
    octaves: bool = False
    exact_to: float = np.inf
    root: float | None = None

    def ends(self) -> list[float]:
        """low, the seven places where the number changes, high"""
        t = np.linspace(self.low, self.high, 1 << 20)
        number = np.polyval([float(np.float32(c)) for c in self.place[::-1]], t)
        if self.octaves:
            if number[0] < 1 or number[-1] >= 16 * (1 - 2**-22):
                raise ValueError(f"{self.name}: place goes from {number[0]} to {number[-1]}, not from 1 to below 16")
            return [self.low, *map(float, np.interp(HALVES, number, t)), self.high]
        if self.place[0] != round(self.place[0]):
            raise ValueError(f"{self.name}: place starts with {self.place[0]}; beside 1.5 * 2^23 only an integer stays")
        if np.any(np.diff(number) <= 0) or round(number[0]) != 0 or round(number[-1]) != 7:
            raise ValueError(f"{self.name}: place goes from {number[0]} to {number[-1]}, not up from 0 to 7")
        return [self.low, *map(float, np.interp(np.arange(7) + 0.5, number, t)), self.high]

    def size(self, t: Number) -> Number:
        """What an error is measured by."""
        size = abs(self.function(t))
        if t > self.exact_to:
            return max(size, mp.mpf(1) / 4)
        if self.root is not None and abs(t - self.root) < 0.25:
            return mp.mpf(1) / 8
        return size


def minimax(x: np.ndarray, y: np.ndarray, weight: np.ndarray, powers: list[int]) -> np.ndarray:
    """Coefficients of these powers with the least largest weighted error, by Lawson's reweighted least squares."""
    terms = np.stack([x**p for p in powers], 1)
    lawson = np.full(len(x), 1 / len(x))
    best, least = np.zeros(len(powers)), np.inf
    for _ in range(60):
        root = np.sqrt(lawson) * weight
        c = np.linalg.lstsq(terms * root[:, None], y * root, rcond=None)[0]
        errors = np.abs((terms @ c - y) * weight)
        if errors.max() < least:
            best, least = c, errors.max()
        lawson = lawson * errors
        lawson /= lawson.sum()
    return best


def fit(pieces: Pieces, low: float, high: float, centre: float) -> list[np.float32]:
    """The rounded coefficients in t - centre."""
    reach = max(high - centre, centre - low)
    nodes = [mp.mpf(low) + (mp.mpf(high) - mp.mpf(low)) * (1 - mp.cos(mp.pi * (i + 0.5) / 90)) / 2 for i in range(90)]
    x = np.array([float(t - centre) for t in nodes]) / reach
    weight = np.array([float(1 / pieces.size(t)) for t in nodes])
    rest = [pieces.function(t) for t in nodes]
    powers, known = list(range(pieces.degree + 1)), []
    if centre == 0:
        known.append(np.float32(0))
    for i in powers[len(known) :]:
        c = np.float32(minimax(x, np.array([float(v) for v in rest]), weight, powers[i:])[0] / reach**i)
        known.append(c)
        rest = [v - float(c) * (t - centre) ** i for v, t in zip(rest, nodes, strict=True)]
    return known


class Trial:
    """The errors of polynomials as the kernel evaluates them, in ULP of the function (of its size near a root)."""

    def __init__(self, pieces: Pieces, low: float, high: float) -> None:
        t = np.random.default_rng(0).uniform(low, high, 10000).astype(np.float32)
        self.t = np.concatenate([t, np.linspace(low, high, 301).astype(np.float32)[1:]])
        self.truth = np.array([float(pieces.function(mp.mpf(float(t)))) for t in self.t])
        self.ulp = np.array([float(np.spacing(np.float32(float(pieces.size(mp.mpf(float(t))))))) for t in self.t])

    def error(self, coefficients: list[np.float32], centre: float) -> float:
        r = (self.t - np.float32(centre)).astype(float)
        value = np.full(len(r), float(coefficients[-1]))
        for c in coefficients[-2::-1]:
            value = (value * r + float(c)).astype(np.float32).astype(float)  # as good as fused: r and value are floats
        return float((np.abs(value - self.truth) / self.ulp).max())


def best_piece(pieces: Pieces, low: float, high: float) -> tuple[float, list[np.float32], float]:
    """Centre, coefficients and error. The centre is a multiple of 1/64; often best near the end where the function is
    small, as then no term has another sign. It is 0 where that is a root.
    """
    trial, width = Trial(pieces, low, high), high - low
    if low <= 0 <= high and pieces.function(mp.mpf(0)) == 0:
        centres = [0.0]
    else:
        centres = [c / 64 for c in range(round((low + 0.3 * width) * 64), round((high + 0.2 * width) * 64) + 1)]

    def rounded(t: float) -> float:  # what is lost when the first coefficient is rounded
        value = pieces.function(mp.mpf(t))
        return float(abs(mp.mpf(float(np.float32(float(value)))) - value) / pieces.size(mp.mpf(t)))

    tried = []
    for centre in sorted(centres, key=rounded)[:20] if len(centres) > 1 else centres:
        coefficients = fit(pieces, low, high, centre)
        tried.append((trial.error(coefficients, centre), centre, coefficients))
    error, centre, coefficients = min(tried, key=lambda t: t[0])
    return centre, coefficients, error


def definition(pieces: Pieces) -> str:
    ends = pieces.ends()
    margin = 1e-5  # rounding may take a t to the other side of an end
    columns, worst = [], 0.0
    for left, right in itertools.pairwise(ends):
        low, high = max(pieces.low, left - margin), min(pieces.high, right + margin)
        centre, coefficients, error = best_piece(pieces, low, high)
        columns.append([centre, *map(float, coefficients)])
        worst = max(worst, error)
        print(f"{pieces.name}: [{low:.4f}, {high:.4f}] from {centre}: {error:.2f} ULP")
    if pieces.octaves:  # the last three of a float's bits before it is shifted by 22: 0 from 2 on
        columns = columns[2:] + columns[:2]
    rows = ",\n     ".join(
        "FA_EIGHT(" + ", ".join(hexadecimal(c, "f") for c in row) + ")" for row in zip(*columns, strict=True)
    )
    place = ", ".join(hexadecimal(np.float32(c), "f") for c in pieces.place)
    return f"""/* {pieces.formula} on [{pieces.low}, {pieces.high}], to {worst:.2f} ULP */
static const struct {{
    int octaves;
    float low, exact, high, place[{len(pieces.place)}];
    _Alignas(FA_VECTOR_BYTES) float row[{pieces.degree + 2}][FA_PICKED];
}} fa_{pieces.name}_pieces = {{
    {int(pieces.octaves)}, {pieces.low}f, {min(pieces.exact_to, pieces.high)}f, {pieces.high}f, {{{place}}},
    {{{rows}}}}};
"""


def gelu_tanh_gate(t: Number) -> Number:
    return logistic(-2 * gelu_tanh_argument(t)[0])


def gelu_tanh_slope(t: Number) -> Number:
    gate = gelu_tanh_gate(t)
    return gate * (1 - t * 2 * gelu_tanh_argument(t)[1] * (1 - gate))


def mish_gate(x: Number) -> Number:
    w = mp.exp(x)
    return w * (w + 2) / (w * (w + 2) + 2)


def mish_slope(x: Number) -> Number:
    w = mp.exp(x)
    return w * (4 * (1 + x) + w * (6 + 4 * x + w * (4 + w))) / (w * (w + 2) + 2) ** 2


def bent(high: float, share: float) -> tuple[float, float, float]:
    """From 0 at 0 to 7.499 at high, with that share of it for the square."""
    return 0.0, (1 - share) * 7.499 / high, share * 7.499 / high**2


TABLES = (
    Pieces("tanh", "tanh(t)", mp.tanh, 9.2, (1.0, 14.9999 / 9.2), degree=6, octaves=True),
    Pieces("softplus", "log(1 + exp(-t))", lambda t: mp.log1p(mp.exp(-t)), 17.0, bent(17, -0.98), exact_to=10.0),
    Pieces(
        "silu_slope",
        "silu'(-t)",
        lambda t: logistic(-t) * (1 - t * logistic(t)),
        20.6,
        bent(20.6, -0.93),
        exact_to=10.0,
        root=1.278,
    ),
    Pieces("mish", "tanh(log(1 + exp(t)))", mish_gate, 7.0, (4, 0.793615, -0.020953, -0.003), low=-5.5),
    Pieces("mish_slope", "mish'(t)", mish_slope, 7.0, (3, 0.87006, 0.009522, -0.006), low=-5.5, degree=9, root=-1.192),
    Pieces("gelu", "t Phi(-t)", lambda t: t * normal(-t), 5.5, bent(5.5, 0.55)),
    Pieces(
        "gelu_slope",
        "gelu'(-t)",
        lambda t: normal(-t) - t * mp.exp(-t * t / 2) / mp.sqrt(2 * mp.pi),
        6.05,
        bent(6.05, 0.65),
        exact_to=5.5,
        root=0.752,
    ),
    Pieces("gelu_tanh", "-gelu_tanh(-t)", lambda t: t * gelu_tanh_gate(t), 5.2, bent(5.2, 0.65)),
    Pieces("gelu_tanh_slope", "gelu_tanh'(-t)", gelu_tanh_slope, 5.6, bent(5.6, 0.65), exact_to=5.25, root=0.752),
)


TOP = """\
/* Generated by fit/pieces.py: functions of t from low in 8 pieces, up to exact in relative, up to high in
 * absolute error. place is a polynomial whose rounded value is the number of t's piece or, with octaves, a value from
 * 1 to 16, and every half of an octave a piece, that of 2 first. The first row has the centres, the others the
 * coefficients, lowest first, of polynomials in t minus the centre; a column is a piece. Rows come twice where a vector
 * has 16 lanes. */
"""


def main() -> None:
    HEADER.write_text("\n".join([TOP, *map(definition, TABLES)]), encoding="utf-8")


if __name__ == "__main__":
    main()
