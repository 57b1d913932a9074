"""How well ``fit`` trains with what it takes where nothing is said: how layers start, and the optimiser.

    python bench/defaults.py            the table, in Markdown (needs scikit-learn)

Each task is trained from 10 seeds, which draw the split too, and scored on the quarter of the rows that was held out:
accuracy, or R2 (taken as -1 where it is lower, so that one fit that diverged does not hide the others), the mean and
its standard error. "dies" counts the fits that end no better than the majority class, or the mean.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from reinforcement import DISCOUNT, CartPole
from sklearn import datasets

import fastact as fa

SEEDS = 10
Task = tuple[np.ndarray, np.ndarray, tuple[int, ...], str, int]  # x, y, hidden widths, activation, epochs
HE = {"weight_init": "he_normal"}
#: column -> how hidden layers of the ReLU family start, hidden layers of others, and the last one; {}: the default
SCHEMES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "default": ({}, {}, {}),
    "He, fan in": (HE, {}, {}),
    "default, last torch": ({}, {}, {"weight_init": "torch"}),
    **{name: ({"weight_init": name},) * 3 for name in ("glorot_uniform", "torch", "sklearn")},
}
OPTIMIZERS: dict[str, Callable[[], fa.optim.Optimizer]] = {
    "SGD(0.01, 0.9)": lambda: fa.optim.SGD(0.01, momentum=0.9),
    "Adam(1e-3)": lambda: fa.optim.Adam(1e-3),
}


def scaled(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and deviation 1."""
    return (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1)


def smooth(rows: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """A smooth function of eight columns (Friedman 1991, with three that say nothing)."""
    x, y = datasets.make_friedman1(rows, 8, noise=noise, random_state=0)
    return scaled(x), scaled(y)


def values(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """States of a pole that is pushed at random, and the discounted number of steps that it then still stood."""
    rng = np.random.default_rng(0)
    world, states, fallen = CartPole(20, rng), [], []
    for _ in range(rows // 20 + 200):  # of the last steps, some have not fallen yet: they are left out
        states.append(world.state)
        fallen.append(world.step(rng.integers(0, 2, 20))[1])
    steps, left = np.empty((len(states), 20)), np.zeros(20)
    for t in reversed(range(len(states))):
        left = steps[t] = 1 + DISCOUNT * np.where(fallen[t], 0, left)
    return scaled(np.concatenate(states)[:rows]), scaled(steps.ravel()[:rows])


def tasks() -> dict[str, Task]:
    """By name; targets of classes are whole numbers."""
    digits, wine, cancer, diabetes = (
        getattr(datasets, f"load_{name}")(return_X_y=True) for name in ("digits", "wine", "breast_cancer", "diabetes")
    )
    return {
        "digits, relu": (digits[0] / 16, digits[1], (64,), "relu", 30),
        "digits, 3 x 32 tanh": (digits[0] / 16, digits[1], (32, 32, 32), "tanh", 30),
        "digits, 12 x 32 relu": (digits[0] / 16, digits[1], (32,) * 12, "relu", 30),
        "wine, raw": (*wine, (32,), "relu", 100),
        "wine, scaled": (scaled(wine[0]), wine[1], (32,), "relu", 50),
        "cancer, raw": (*cancer, (32,), "relu", 50),
        "cancer, scaled": (scaled(cancer[0]), cancer[1], (32,), "relu", 50),
        "diabetes": (scaled(diabetes[0]), scaled(diabetes[1]), (64, 64), "relu", 30),
        "diabetes, raw targets": (scaled(diabetes[0]), diabetes[1], (64, 64), "relu", 100),
        "smooth, 1000 rows": (*smooth(1000, 1.0), (64, 64), "relu", 50),
        "smooth, gelu": (*smooth(1000, 1.0), (64, 64), "gelu", 50),
        "values, CartPole": (*values(4000), (64, 64), "relu", 30),
        "smooth, tanh": (*smooth(1000, 1.0), (64,), "tanh", 50),
    }


def score(task: Task, scheme: str, optimizer: str, seed: int) -> tuple[float, bool]:
    """The score on a quarter of the rows, and whether the fit is no better than a constant."""
    x, y, hidden, activation, epochs = task
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = order[: len(x) // 4], order[len(x) // 4 :]
    classes = y.dtype.kind == "i"
    widths = [x.shape[1], *hidden, int(y.max()) + 1 if classes else 1]
    relus, others, last = SCHEMES[scheme]
    inner = others if activation == "tanh" else relus
    layers = [fa.Dense(n, m, activation, **inner) for n, m in itertools.pairwise(widths[:-1])]
    net = fa.Sequential(*layers, fa.Dense(*widths[-2:], **last), rng=seed)
    loss, metric = ("softmax_cross_entropy", "accuracy") if classes else ("squared_error", "r2")
    floor = np.bincount(y).max() / len(y) + 0.02 if classes else 0.02
    try:
        fa.fit(
            net, x[train], y[train], loss=loss, optimizer=OPTIMIZERS[optimizer](), epochs=epochs, rng=seed,
            progress=False,
        )  # fmt: skip
        value = fa.evaluate(net, x[test], y[test], loss=loss, metrics=metric)[metric]
    except ValueError:  # the loss became infinite
        value = -np.inf
    return max(value, 0.0 if classes else -1.0), value <= floor


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--tasks", nargs="*", help="a part of them, by name")
    options = parser.parse_args()
    seeds = options.seeds
    warnings.simplefilter("ignore", fa.diagnostics.TrainingWarning)
    for optimizer in OPTIMIZERS:
        print(f"\n{optimizer}:\n\n| task | {' | '.join(SCHEMES)} |")
        print("|---|" + "---:|" * len(SCHEMES))
        for name, task in tasks().items():
            if options.tasks is not None and name not in options.tasks:
                continue
            cells = []
            for scheme in SCHEMES:
                found = [score(task, scheme, optimizer, seed) for seed in range(seeds)]
                values, dead = [value for value, _ in found], sum(died for _, died in found)
                error = np.std(values) / seeds**0.5
                cells.append(f"{np.mean(values):.3f} ± {error:.3f}" + (f", {dead} dies" if dead else ""))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
