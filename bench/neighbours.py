"""What threads cost beside other threads: python bench/neighbours.py [--rounds N] [SCENARIO ...]

Every measurement is a process of its own with nothing set but what its column says; the columns take turns, round
after round, and the least figure of each is shown. A bound is the largest ratio of the default to another column
that this project allows itself.

loop      NumPy's product and a sigmoid, (512, 256) @ (256, 256), the sigmoid by NumPy or by fastact: median of a turn
forward   a training step by hand in NumPy, batch 64, layers 1000-100-10; fastact's: the first forward line
busy      an Adam step, batch 256, layers 784-512-512-10, while a busy process is pinned to each CPU: median
serving   eight Python threads that ask a 50-512-512-1 network about 64 rows again and again: 99th percentile
step      an SGD step, batch 64, layers 784-128-10: least median of 20 steps
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WHO = ("numpy", "default", "one thread")
# Scenario: its columns, and the most that the default may take as a multiple of another column.
SCENARIOS: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "loop-float32": (WHO, {"numpy": 1.05, "one thread": 1.15}),
    "loop-float64": (WHO, {"numpy": 1.05, "one thread": 1.15}),
    "forward-float32": (WHO, {"numpy": 1.05, "one thread": 1.15}),
    "forward-float64": (WHO, {"numpy": 1.05, "one thread": 1.15}),
    "busy": (("default", "one thread"), {"one thread": 1.6}),
    "serving": (("default", "one thread"), {"one thread": 1.5}),
    "step": (("default", "one thread"), {}),
}


def times(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call, for that long, after a quarter of it that does not count."""
    found: list[float] = []
    for duration in (seconds / 4, seconds):
        found.clear()
        end = time.perf_counter() + duration
        while (start := time.perf_counter()) < end:
            call()
            found.append(time.perf_counter() - start)
    return found


def loop(dtype: str, who: str) -> float:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((512, 256)).astype(dtype), rng.standard_normal((256, 256)).astype(dtype)
    s = np.empty((512, 256), dtype)
    if who == "numpy":

        def turn() -> None:
            np.matmul(a, b, out=s)
            np.negative(s, out=s)
            np.exp(s, out=s)
            np.add(s, 1, out=s)
            np.reciprocal(s, out=s)
    else:
        import fastact as fa

        def turn() -> None:
            np.matmul(a, b, out=s)
            fa.sigmoid(s, out=s)

    return statistics.median(times(turn, 1))


def forward(dtype: str, who: str) -> float:
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((64, 1000)).astype(dtype), rng.standard_normal((64, 10)).astype(dtype)
    w1, w2 = (rng.standard_normal(shape).astype(dtype) / 30 for shape in ((1000, 100), (100, 10)))
    b1, b2 = np.zeros(100, dtype), np.zeros(10, dtype)
    rate = np.dtype(dtype).type(1e-3)
    if who == "numpy":

        def hidden() -> np.ndarray:
            return 1 / (1 + np.exp(-(x @ w1 + b1)))
    else:
        import fastact as fa

        def hidden() -> np.ndarray:
            return fa.dense(x, w1, b1, activation="sigmoid")

    def turn() -> None:
        y = hidden()
        dz = (y @ w2 + b2 - target) / 64
        dy = (dz @ w2.T) * y * (1 - y)
        w2[...] -= rate * (y.T @ dz)
        b2[...] -= rate * dz.sum(0)
        w1[...] -= rate * (x.T @ dy)
        b1[...] -= rate * dy.sum(0)

    return statistics.median(times(turn, 1))


def network(sizes: tuple[int, ...]) -> Any:
    import fastact as fa

    pairs = list(itertools.pairwise(sizes))
    return fa.Sequential(*(fa.Dense(*pair, "relu" if pair != pairs[-1] else None) for pair in pairs), rng=0)


def step(sizes: tuple[int, ...], batch: int, adam: bool) -> Callable[[], object]:
    import fastact as fa

    net = network(sizes)
    optimizer = fa.optim.Adam(1e-4) if adam else fa.optim.SGD(0.01)
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((batch, sizes[0])).astype(np.float32), rng.integers(0, sizes[-1], batch)

    def call() -> None:
        z = net.forward(x, training=True)
        _, grad = fa.softmax_cross_entropy(z, labels)
        net.backward(grad)
        optimizer.step(net)

    return call


def busy() -> float:
    hog = "import os, sys\nos.sched_setaffinity(0, [int(sys.argv[1])])\nprint(flush=True)\nwhile True: pass"
    hogs = [
        subprocess.Popen([sys.executable, "-S", "-c", hog, str(cpu)], stdout=subprocess.PIPE)
        for cpu in os.sched_getaffinity(0)
    ]
    try:
        for each in hogs:
            assert each.stdout is not None
            each.stdout.readline()
        return statistics.median(times(step((784, 512, 512, 10), 256, adam=True), 2))
    finally:
        for each in hogs:
            each.kill()
            each.wait()


def serving() -> float:
    net = network((50, 512, 512, 1))
    x = np.ones((64, 50), np.float32)
    found: list[float] = []
    begin = threading.Barrier(8)

    def serve() -> None:
        begin.wait()
        found.extend(times(lambda: net(x), 2))

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return float(np.percentile(found, 99))


def small_step() -> float:
    found = times(step((784, 128, 10), 64, adam=False), 1)
    return min(statistics.median(found[i : i + 20]) for i in range(0, max(1, len(found) - 20), 20))


def measure(scenario: str, who: str) -> float:
    """Seconds, in this process."""
    if who == "one thread":
        import fastact as fa

        fa.set_num_threads(1)
    kind, _, dtype = scenario.partition("-")
    if dtype:
        return {"loop": loop, "forward": forward}[kind](dtype, who)
    return {"busy": busy, "serving": serving, "step": small_step}[kind]()


def main() -> None:
    """Measure and print, or (in the processes that it starts) measure one thing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--who", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.who:
        print(measure(options.scenarios[0], options.who))
        return
    for scenario in options.scenarios or SCENARIOS:
        columns, bounds = SCENARIOS[scenario]
        found: dict[str, list[float]] = {who: [] for who in columns}
        for _ in range(options.rounds):
            for who in columns:
                command = [sys.executable, "-P", __file__, scenario, "--who", who]
                found[who].append(float(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
        least = {who: min(each) for who, each in found.items()}
        print(f"{scenario:18}" + "".join(f"{who:>12}{1e6 * t:10.0f} us" for who, t in least.items()), flush=True)
        for who, bound in bounds.items():
            ratio = least["default"] / least[who]
            print(f"{'':20}{ratio:.2f} times {who} (bound {bound}){'' if ratio <= bound else '  <- over'}", flush=True)


if __name__ == "__main__":
    main()
