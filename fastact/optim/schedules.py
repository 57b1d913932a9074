"""Schedules: functions of the number of steps taken that give the learning rate of the next. Any function does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .. import checks

Rate = float | Callable[[int], float]


def _positive(schedule: object, **values: float) -> None:
    for name, value in values.items():
        checks.real(type(schedule).__name__, name, value, low_included=False)


@dataclass(frozen=True)
class Constant:
    """The same rate at every step (the constant initialiser is ``fastact.init.Constant``)."""

    lr: float

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr)

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """lr * gamma^floor(step / every), as PyTorch's StepLR."""

    lr: float
    every: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr, gamma=self.gamma)
        checks.whole("StepDecay", "every", self.every, 1)

    def __call__(self, step: int) -> float:
        return self.lr * self.gamma ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from lr down to final over that many steps, then final (Loshchilov and Hutter 2017)."""

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr)
        checks.whole("Cosine", "steps", self.steps, 1)
        checks.real("Cosine", "final", self.final)

    def __call__(self, step: int) -> float:
        return _between(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class OneCycle:
    """Up from lr / div to lr over the first part of the steps, down to lr / div / final_div by their end, as cosines.

    Defaults and end points as PyTorch's OneCycleLR (Smith and Topin 2017); momentum is left alone.
    """

    lr: float
    steps: int
    up: float = 0.3
    div: float = 25.0
    final_div: float = 1e4

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr, div=self.div, final_div=self.final_div)
        checks.whole("OneCycle", "steps", self.steps, 2)
        if checks.real("OneCycle", "up", self.up) > 1:
            raise ValueError(f"OneCycle: expected up to be a number from 0 to 1, got {self.up!r}")

    def __call__(self, step: int) -> float:
        start, top = self.lr / self.div, self.up * self.steps - 1
        if step <= top and top > 0:
            return _between(start, self.lr, step / top)
        done = min((step - top) / (self.steps - 1 - top), 1.0) if self.steps - 1 > top else 1.0
        return _between(self.lr, start / self.final_div, done)


@dataclass(frozen=True)
class WarmUp:
    """A straight line up to another schedule (or a number) over that many steps; it then starts from its beginning.

    Goyal et al. 2017, arXiv:1706.02677. The first rate is 1 / (steps + 1) of the first one of the schedule.
    """

    then: Rate
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.then):
            _positive(self, then=self.then)
        checks.whole("WarmUp", "steps", self.steps, 1)

    def __call__(self, step: int) -> float:
        rate = self.then(max(step - self.steps, 0)) if callable(self.then) else self.then
        return rate * min((step + 1) / (self.steps + 1), 1.0)


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
