"""Update rules of the optimisers, as their papers write them, over a stretch of the flat arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


class Update:
    """The scalars of one optimiser's step."""

    def __init__(self) -> None:
        self.rate = self.decay = self.shrink = self.momentum = self.mean = self.square = 0.0
        self.epsilon = self.inside = 0.0
        self.gain = self.correction = 1.0
        self.nesterov = False


# A rule brings its states up to date and returns the direction in which the parameters go by the rate.


def _sgd(u: Any, g: Array, velocity: Array | None, *_: Any) -> Array:
    if velocity is None:
        return g
    velocity[...] = u.momentum * velocity + u.gain * g
    return g + u.momentum * velocity if u.nesterov else velocity


def _rmsprop(u: Any, g: Array, squares: Array, mean: Array | None, velocity: Array | None) -> Array:
    squares[...] = u.square * squares + (1 - u.square) * (g * g)
    variance = squares
    if mean is not None:
        mean[...] = u.square * mean + (1 - u.square) * g
        variance = np.maximum(squares - mean * mean, 0)
    change = g / (np.sqrt(variance + u.inside) + u.epsilon)
    if velocity is None:
        return change
    velocity[...] = u.momentum * velocity + change
    return velocity


def _adagrad(u: Any, g: Array, total: Array, *_: Any) -> Array:
    total += g * g
    return g / (np.sqrt(total + u.inside) + u.epsilon)


def _adam(u: Any, g: Array, mean: Array, squares: Array, largest: Array | None) -> Array:
    mean[...] = u.mean * mean + (1 - u.mean) * g
    squares[...] = u.square * squares + (1 - u.square) * (g * g)
    if largest is not None:
        squares = np.maximum(largest, squares, out=largest)
    return mean / (np.sqrt(squares + u.inside) * u.correction + u.epsilon)


def _nadam(u: Any, g: Array, mean: Array, squares: Array, _: Any) -> Array:
    mean[...] = u.mean * mean + (1 - u.mean) * g
    squares[...] = u.square * squares + (1 - u.square) * (g * g)
    return (u.momentum * mean + u.gain * g) / (np.sqrt(squares) * u.correction + u.epsilon)


def _adadelta(u: Any, g: Array, squares: Array, changes: Array, _: Any) -> Array:
    squares[...] = u.square * squares + (1 - u.square) * (g * g)
    change = np.sqrt(changes + u.inside) / np.sqrt(squares + u.inside) * g
    changes[...] = u.square * changes + (1 - u.square) * (change * change)
    return change


def _lion(u: Any, g: Array, mean: Array, *_: Any) -> Array:
    direction = np.sign(u.mean * mean + (1 - u.mean) * g)
    mean[...] = u.square * mean + (1 - u.square) * g
    return direction


_RULES: dict[str, Callable[..., Array]] = {  # in the order of kernels/fa_optim.h
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "adagrad": _adagrad,
    "adam": _adam,
    "nadam": _nadam,
    "adadelta": _adadelta,
    "lion": _lion,
}


def optimizer_names() -> list[str]:
    return list(_RULES)


def update(
    number: int, parameters: Array, gradients: Array, states: tuple[Array | None, ...], start: int, stop: int,
    scale: float, limit: float, rule: Any,
) -> None:  # fmt: skip
    p, g = parameters[start:stop], gradients[start:stop]
    state = [None if s is None else s[start:stop] for s in (*states, None, None, None)[:3]]
    with np.errstate(all="ignore"):
        if scale != 1:
            g = g * p.dtype.type(scale)
        if limit != math.inf:
            g = np.clip(g, -limit, limit)
        if rule.decay:
            g = g + rule.decay * p
        direction = list(_RULES.values())[number](rule, g, *state)
        if rule.shrink:
            direction = direction + rule.shrink * p
        p -= rule.rate * direction


def sum_of_squares(x: Array, start: int, stop: int) -> float:
    return float(np.sum(np.square(x[start:stop], dtype=np.float64)))
