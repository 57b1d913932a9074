"""From which size threads pay: python bench/thresholds.py [--threads N]

Runs one operation of each cost class of fastact.runtime.THRESHOLDS on one thread and on N, at sizes from 4 Ki to 4 Mi
elements. "warm" calls follow each other at once, so the team still spins when the next call comes; "cold" calls come
after a pause in which the team has gone to sleep and has to be woken, as between the other work of a training step.
The class's row ends with the smallest size from which N threads win at every larger one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

import fastact
from fastact import backends, functional, runtime
from fastact.registry import ACTIVATIONS

SIZES = [2**k for k in range(12, 23)]
COLUMNS = 128
PAUSE = 0.004


def cheapest(cost: str) -> str:
    """The activation that stands for a cost class: threads pay last where there is least to do."""
    wanted = {"light": "relu", "heavy": "sigmoid"}.get(cost)
    return wanted if wanted in ACTIVATIONS else next(e.name for e in ACTIVATIONS.values() if e.cost == cost)


def operation(cost: str, size: int) -> tuple[str, Callable[[], object]]:
    """What is measured for a cost class, on float32 arrays of that many elements."""
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    y = np.zeros_like(x)
    if cost == "rows":
        rows = x.reshape(-1, COLUMNS)
        return "softmax", lambda: functional.softmax(rows, out=y.reshape(-1, COLUMNS))
    if cost == "products":  # size multiplications
        rows, weight = np.ones((max(1, size >> 12), 64), np.float32), np.ones((64, 64), np.float32)
        return "dense, 64 inputs and outputs", lambda: functional.dense(rows, weight)
    if cost == "updates":
        velocity = np.zeros_like(x)
        number, rule = backends.engine.optimizer_names().index("sgd"), backends.engine.Update()
        rule.rate, rule.momentum = 1e-3, 0.9
        return "sgd, momentum", lambda: backends.engine.update(
            number, y, x, (velocity,), 0, size, 1.0, float("inf"), rule
        )
    function = getattr(functional, cheapest(cost))
    return cheapest(cost), lambda: function(x, out=y)


def warm(call: Callable[[], object], threads: int) -> float:
    """Seconds per call, calls following each other."""
    with fastact.num_threads(threads):
        call()
        start = time.perf_counter()
        call()
        count = max(1, int(1e-3 / (time.perf_counter() - start + 1e-9)))
        start = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - start) / count


def cold(call: Callable[[], object], threads: int) -> float:
    """Seconds of one call after a pause."""
    with fastact.num_threads(threads):
        time.sleep(PAUSE)
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def lower_quartile(times: Sequence[float]) -> float:
    """A quarter of the times is below: a cold call has no typical minimum, and its upper half is other programs."""
    return sorted(times)[len(times) // 4]


def crossing(wins: list[bool]) -> int | None:
    """The smallest size from which all larger ones win."""
    found = None
    for size, win in zip(reversed(SIZES), reversed(wins), strict=True):
        if not win:
            break
        found = size
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    if not backends.compiled or not runtime.config()["openmp"]:
        raise SystemExit("thresholds: this fastact has no threads to measure")
    runtime.set_thresholds(0, 0, 0, dict.fromkeys(runtime.THRESHOLDS, 0))  # every call uses the team
    print(f"microseconds a call, float32, {runtime.instruction_set}, 1 against {options.threads} threads\n")
    found = {}
    for cost, current in runtime.THRESHOLDS.items():
        wins: dict[str, list[bool]] = {"warm": [], "cold": []}
        print(f"{cost} ({operation(cost, SIZES[0])[0]})")
        print(
            f"{'elements':>12}" + "".join(f"{k:>14}" for k in ("warm 1", f"warm {options.threads}", "cold 1", "cold n"))
        )
        for size in SIZES:
            call = operation(cost, size)[1]
            cells = []
            for kind, measure, best in (("warm", warm, min), ("cold", cold, lower_quartile)):
                pairs = [(measure(call, 1), measure(call, options.threads)) for _ in range(options.rounds)]
                one, many = (best(times) for times in zip(*pairs, strict=True))
                wins[kind].append(many < one)
                cells += [one, many]
            print(f"{size:12}" + "".join(f"{1e6 * cell:14.2f}" for cell in cells), flush=True)
        found[cost] = current, crossing(wins["warm"]), crossing(wins["cold"])
        print()
    print(f"{'class':12}{'THRESHOLDS':>12}{'warm from':>14}{'cold from':>14}")
    for cost, sizes in found.items():
        print(f"{cost:12}{sizes[0]:12}" + "".join(f"{'never' if s is None else s:>14}" for s in sizes[1:]))


if __name__ == "__main__":
    main()
