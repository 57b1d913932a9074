"""Dropout, and dropout for SELU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import backends, checks, registry
from .base import SameWidth
from .catalogue import listed

_WORD = 2**64 - 1


def mixed(seed: int, counter: int) -> tuple[int, int]:
    """Two 32-bit words of their own for each pair of numbers below 2^64: SplitMix64 (Steele et al. 2014)."""
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & _WORD
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    z ^= z >> 31
    return z & 0xFFFFFFFF, z >> 32


@listed
class Dropout(SameWidth):
    """In training, zero with probability ``rate``, else x / (1 - rate) (Srivastava et al. 2014); x in inference.

    Parameters
    ----------
    rate : number >= 0 and below 1
    inputs : the width, needed only where no layer stands before
    seed : whole number >= 0 that the masks follow from; by default the network's generator gives one

    Masks follow from the seed, the number of training forwards so far and an element's place in the batch, so that
    they are the same in any backend, dtype and number of threads; backward computes them again. ``random_state``
    holds what a resumed training needs.
    """

    reads_input = reads_output = False
    in_place_forward = True

    def __init__(self, rate: float = 0.5, inputs: int | None = None, *, seed: int | None = None) -> None:
        super().__init__(inputs)
        name = type(self).__name__
        self.rate = checks.real(name, "rate", rate)
        if self.rate >= 1:
            raise ValueError(f"{name}: expected rate to be a number >= 0 and below 1, got {rate!r}")
        self._given_seed = seed is not None
        self.seed = 0 if seed is None else self._whole("seed", seed)
        self.counter = 0
        self.scale, self.shift, self.dropped = 1 / (1 - self.rate), 0.0, 0.0

    def _whole(self, name: str, value: object) -> int:
        number = checks.whole(type(self).__name__, name, value, 0)
        if number >= 2**64:
            raise ValueError(f"{type(self).__name__}: expected {name} below 2**64, got {number}")
        return number

    def initialize(self, rng: np.random.Generator) -> None:
        drawn = int(rng.integers(2**63))
        self.seed = self.seed if self._given_seed else drawn
        self.counter = 0

    def _shown(self) -> Iterable[str]:
        return [f"rate={self.rate:g}"]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "rate": self.rate}

    def random_state(self) -> dict[str, Any]:
        return {"seed": self.seed, "counter": self.counter}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or set(state) != {"seed", "counter"}:
            raise ValueError(f"{type(self).__name__}.set_random_state: expected seed and counter, got {state!r}")
        seed, counter = self._whole("seed", state["seed"]), self._whole("counter", state["counter"])
        self.seed, self.counter = seed, counter

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        key = mixed(self.seed, self.counter)
        self.counter += 1
        backends.current().dropout(x, y, key, self._threshold, self.scale, self.shift, self.dropped)
        self._save(key, len(x))

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        if y is not x:
            y[...] = x

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        return x

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        backends.current().dropout(grad, dx, saved, self._threshold, self.scale, 0.0, 0.0)

    @property
    def _threshold(self) -> int:
        """An element is dropped where its 32-bit hash is below this."""
        return min(round(self.rate * 2**32), 2**32 - 1)


@listed
class AlphaDropout(Dropout):
    """Dropout for SELU: keeps mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515).

    In training, a * (x or, with probability ``rate``, alpha') + b, with alpha' = -1.7580993408473766 (SELU's limit at
    -inf), a = 1 / sqrt((1 - rate) (1 + rate alpha'^2)) and b = -a rate alpha'; x in inference. Arguments and masks as
    for ``Dropout``.
    """

    def __init__(self, rate: float = 0.5, inputs: int | None = None, *, seed: int | None = None) -> None:
        super().__init__(rate, inputs, seed=seed)
        limit = -registry.SELU_LIMIT
        self.scale = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * limit * limit))
        self.shift = -self.scale * self.rate * limit
        self.dropped = self.scale * limit + self.shift
