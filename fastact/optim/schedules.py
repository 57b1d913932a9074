"""Schedules: functions of the number of steps taken that give the learning rate of the next. Any function does.

They know nothing but the step, so that a run resumes in the middle of one. ``training.ReduceOnPlateau`` is a callback.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

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
class Exponential:
    """lr * gamma^(step / every), not below final: PyTorch's ExponentialLR for every = 1, optax's exponential_decay."""

    lr: float
    gamma: float
    every: int = 1
    final: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr, gamma=self.gamma)
        checks.whole("Exponential", "every", self.every, 1)
        checks.real("Exponential", "final", self.final)

    def __call__(self, step: int) -> float:
        return max(self.lr * self.gamma ** (step / self.every), self.final)


@dataclass(frozen=True)
class Polynomial:
    """final + (lr - final) * (1 - step / steps)^power, then final (PyTorch's PolynomialLR); power 1 is a line."""

    lr: float
    steps: int
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr, power=self.power)
        checks.whole("Polynomial", "steps", self.steps, 1)
        checks.real("Polynomial", "final", self.final)

    def __call__(self, step: int) -> float:
        return self.final + (self.lr - self.final) * (1 - min(step / self.steps, 1.0)) ** self.power


@dataclass(frozen=True)
class Piecewise:
    """rates[0], and from the step boundaries[i] on rates[i + 1].

    PyTorch's MultiStepLR with milestones for boundaries; Keras' PiecewiseConstantDecay goes on a step later.
    """

    rates: tuple[float, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        _frozen(self, rates=self.rates, boundaries=self.boundaries)
        for rate in self.rates:
            checks.real("Piecewise", "rates", rate)
        _check_boundaries("Piecewise", self.boundaries, "rates", len(self.rates))

    def __call__(self, step: int) -> float:
        return self.rates[bisect.bisect_right(self.boundaries, step)]


@dataclass(frozen=True)
class InverseTime:
    """lr / (1 + rate * step / every), as Keras' InverseTimeDecay."""

    lr: float
    rate: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr)
        checks.real("InverseTime", "rate", self.rate)
        checks.whole("InverseTime", "every", self.every, 1)

    def __call__(self, step: int) -> float:
        return self.lr / (1 + self.rate * step / self.every)


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
class CosineRestarts:
    """Half a cosine from lr down to final again and again (SGDR: Loshchilov and Hutter 2017, arXiv:1608.03983).

    The first takes that many steps, each further one ``longer`` times as many as the one before, and begins at
    ``lower`` times its rate. PyTorch's CosineAnnealingWarmRestarts with T_0 = steps, T_mult = longer, eta_min = final.
    """

    lr: float
    steps: int
    longer: int = 1
    lower: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _positive(self, lr=self.lr, lower=self.lower)
        checks.whole("CosineRestarts", "steps", self.steps, 1)
        checks.whole("CosineRestarts", "longer", self.longer, 1)
        checks.real("CosineRestarts", "final", self.final)

    def __call__(self, step: int) -> float:
        if self.longer == 1:
            turn, within, length = step // self.steps, step % self.steps, self.steps
        else:
            turn, within, length = 0, step, self.steps
            while within >= length:
                turn, within, length = turn + 1, within - length, length * self.longer
        first = self.lr * self.lower**turn
        return _between(max(first, self.final), self.final, within / length)


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

    Goyal et al. 2017, arXiv:1706.02677. The line begins at ``start``, which may be 0, and meets the schedule's first
    rate after that many steps; None: one step behind 0, at 1 / (steps + 1) of the schedule's first rate.
    """

    then: Rate
    steps: int
    start: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.then):
            _positive(self, then=self.then)
        checks.whole("WarmUp", "steps", self.steps, 1)
        if self.start is not None:
            checks.real("WarmUp", "start", self.start)

    def __call__(self, step: int) -> float:
        rate = self.then(max(step - self.steps, 0)) if callable(self.then) else self.then
        if self.start is None:
            return rate * min((step + 1) / (self.steps + 1), 1.0)
        return self.start + (rate - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class Joined:
    """Schedules (or numbers) one after another: the next begins, from its beginning, at the step boundaries[i].

    PyTorch's SequentialLR, optax's join_schedules.
    """

    schedules: tuple[Rate, ...]
    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        _frozen(self, schedules=self.schedules, boundaries=self.boundaries)
        for schedule in self.schedules:
            if not callable(schedule):
                checks.real("Joined", "schedules", schedule)
        _check_boundaries("Joined", self.boundaries, "schedules", len(self.schedules))

    def __call__(self, step: int) -> float:
        i = bisect.bisect_right(self.boundaries, step)
        schedule = self.schedules[i]
        return schedule(step - self.boundaries[i - 1] if i else step) if callable(schedule) else schedule


def _frozen(schedule: object, **values: Iterable[Any]) -> None:
    """Lists as tuples: what a schedule was given does not change afterwards."""
    for name, value in values.items():
        if not isinstance(value, Iterable):
            raise TypeError(f"{type(schedule).__name__}: expected {name} to be a list, got {checks.describe(value)}")
        object.__setattr__(schedule, name, tuple(value))


def _check_boundaries(name: str, boundaries: tuple[int, ...], between: str, count: int) -> None:
    for boundary in boundaries:
        checks.whole(name, "boundaries", boundary, 1)
    if any(second <= first for first, second in itertools.pairwise(boundaries)):
        raise ValueError(f"{name}: expected boundaries that rise, got {list(boundaries)}")
    if count != len(boundaries) + 1:
        raise ValueError(f"{name}: expected one of {between} more than boundaries, got {count} and {len(boundaries)}")


def _between(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2
