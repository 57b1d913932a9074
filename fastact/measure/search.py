"""A guided search for the float64 inputs at which a kernel is furthest off.

Rounding errors look random, but how large they can become changes slowly with x. So a quarter of the points are drawn
from everywhere, and the others around the worst so far, one in each interval of x, at distances of all magnitudes.
Gradients are mostly those of which grad * slope is just below a power of two, where an error is the most units.

What guides it is the registry's NumPy formula in 80 bits; the worst points go on to a reference with more digits.
"""

from __future__ import annotations

import numpy as np

from .. import functional, registry
from ..registry import Entry

CHUNK = 1 << 12  # temporaries stay below what an allocator asks the system for
KEPT = 256  # of the worst points
INTERVAL = 44  # bits of x within which only the worst point is kept: a 256th of a binade
WIDE = np.longdouble


def units(values: np.ndarray) -> np.ndarray:
    """The unit in the last place of float64 at a wider number."""
    _, exponent = np.frexp(np.where(np.isfinite(values), values, 1))
    return np.ldexp(np.ones_like(values), np.maximum(exponent - 53, -1074))


def near_root(entry: Entry, x: np.ndarray, width: float) -> np.ndarray:
    near = np.zeros(x.shape, bool)
    for root in entry.slope_roots:
        near |= np.abs(x - root) <= width
    return near


class _Points:
    """Where to look next, and the worst found: (bits of x, grad, error)."""

    def __init__(self, entry: Entry, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        special = np.array([0.5, 1, 2, 3, 6, 8, 20, 37, 40, 708, 745, *np.abs(entry.slope_roots)])
        self.special = np.concatenate([special, np.arange(1, 60) * np.log(2) / 2]).view(np.int64)
        self.bits = np.zeros(0, np.int64)
        self.grad = self.error = np.zeros(0)

    def draw(self, n: int) -> np.ndarray:
        """So many numbers."""
        rng = self.rng
        fresh = n if not self.bits.size else n // 4
        third = fresh // 3
        low, high = np.array([2.0**-40, 760.0]).view(np.int64)
        new = [
            rng.choice(self.special, third) + self._steps(third),
            rng.integers(low, high, third),
            np.abs(rng.normal(0, 3, fresh - 2 * third)).view(np.int64),
        ]
        x = np.concatenate(new).clip(0, 0x7FEF_FFFF_FFFF_FFFF).view(np.float64) * rng.choice([-1.0, 1.0], fresh)
        old = rng.choice(self.bits, n - fresh) + self._steps(n - fresh) if self.bits.size else self.bits
        return np.concatenate([x, old.view(np.float64)])

    def _steps(self, n: int) -> np.ndarray:
        """Distances in units in the last place, of any magnitude."""
        return (self.rng.choice([-1.0, 1.0], n) * np.exp2(self.rng.uniform(0, INTERVAL + 2, n))).astype(np.int64)

    def gradients(self, slope: np.ndarray) -> np.ndarray:
        rng, n = self.rng, slope.size
        mantissa, _ = np.frexp(slope.astype(np.float64))
        just_below = (1 - np.exp2(-rng.uniform(1, 20, n))) / np.where(mantissa == 0, 1, np.abs(mantissa))
        mantissa = np.where(rng.random(n) < 0.8, just_below, rng.uniform(1, 2, n))
        return rng.choice([-1.0, 1.0], n) * np.ldexp(mantissa, rng.integers(-20, 19, n))

    def keep(self, x: np.ndarray, grad: np.ndarray, error: np.ndarray) -> None:
        some = np.argpartition(error, -KEPT)[-KEPT:]
        bits = np.concatenate([self.bits, x[some].view(np.int64)])
        grad = np.concatenate([self.grad, grad[some]])
        error = np.concatenate([self.error, error[some]])
        order = np.argsort(-error, kind="stable")
        _, first = np.unique(bits[order] >> INTERVAL, return_index=True)
        chosen = order[np.sort(first)][:KEPT]
        self.bits, self.grad, self.error = bits[chosen], grad[chosen], error[chosen]


def worst(
    entry: Entry, values: tuple[float, ...], points: int, root_width: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs x, and gradients for them, at which forward or backward was furthest off among so many points each."""
    forward = getattr(functional, entry.name)
    backward = getattr(functional, f"{entry.name}_backward")
    ahead, back = _Points(entry, seed), _Points(entry, seed + 1)
    with np.errstate(all="ignore"):
        for _ in range(0, points, CHUNK):
            x = ahead.draw(CHUNK)
            reference = registry.value(entry, x.astype(WIDE), values)
            error = np.abs(forward(x, *values) - reference) / units(reference)
            ahead.keep(x, np.ones_like(x), np.where(np.isfinite(error), error, 0).astype(np.float64))

            x = back.draw(CHUNK)
            saved = x if entry.saves == "x" else forward(x, *values)
            slope = registry.slope(entry, saved.astype(WIDE), values, np.dtype(np.float64))
            grad = back.gradients(slope)
            reference = grad * slope
            unit = np.where(near_root(entry, x, root_width), np.finfo(np.float64).eps * np.abs(grad), units(reference))
            error = np.abs(backward(grad, saved, *values) - reference) / unit
            normal = np.isfinite(error) & (np.abs(reference) >= np.finfo(np.float64).smallest_normal)
            back.keep(x, grad, np.where(normal, error, 0).astype(np.float64))
    x = np.concatenate([ahead.bits, back.bits]).view(np.float64)
    return x, np.concatenate([ahead.grad, back.grad])
