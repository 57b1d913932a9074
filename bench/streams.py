"""How close in-place kernels come to the memory's speed: python bench/streams.py [--threads N] [--elements N]

The limit is a bare C loop with OpenMP over the same arrays, compiled here, that computes next to nothing: ``x *= c``
for forward, ``g *= s`` for backward. Calls alternate; the array is restored before each, outside the clock. "in cache"
is the kernel's time on small arrays, divided by the threads: no memory makes it faster than that, so what can be
reached is the slower of the two.

FA_FAR and FA_AHEAD in fa_loops.h (from where on and how far ahead memory is asked for) come from runs of this at
several sizes, with the extension built with CFLAGS="-DFA_FAR=..." and the like.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import os
import shlex
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastact
from fastact import functional, runtime

SOURCE = """
void scale(float *x, float c, long n, int threads)
{
    long i;
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (i = 0; i < n; i++)
        x[i] *= c;
}

void multiply(float *g, const float *s, long n, int threads)
{
    long i;
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (i = 0; i < n; i++)
        g[i] *= s[i];
}
"""
FUNCTIONS = ("relu", "sigmoid", "tanh", "silu")
LIMIT = "bare C loop"
SMALL = 65_536  # elements: two such arrays stay in a second-level cache of 1 MiB
SMALL_ROUNDS = 1000


def compiled(folder: str) -> ctypes.CDLL:
    """The C loops."""
    source, library = Path(folder, "streams.c"), Path(folder, "streams.so")
    source.write_text(SOURCE, encoding="ascii")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(library)]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"streams: needs a C compiler with OpenMP: {error}") from error
    loops = ctypes.CDLL(str(library))
    loops.scale.argtypes = [ctypes.c_void_p, ctypes.c_float, ctypes.c_long, ctypes.c_int]
    loops.multiply.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
    loops.scale.restype = loops.multiply.restype = None
    return loops


def measure(loops: ctypes.CDLL, backward: bool, n: int, threads: int, rounds: int) -> dict[str, float]:
    """Nanoseconds per element of the bare loop and of each kernel on n elements, the best of so many rounds."""
    generator = np.random.default_rng(0)
    original, saved = (generator.standard_normal(n, np.float32) for _ in range(2))
    x = original.copy()
    calls: dict[str, Callable[[], object]] = {}
    if backward:
        calls[LIMIT] = lambda: loops.multiply(x.ctypes.data, saved.ctypes.data, n, threads)
        for name in FUNCTIONS:
            calls[name] = functools.partial(getattr(functional, f"{name}_backward"), x, saved, out=x)
    else:
        calls[LIMIT] = lambda: loops.scale(x.ctypes.data, -1.0, n, threads)
        for name in FUNCTIONS:
            calls[name] = functools.partial(getattr(functional, name), x, out=x)
    best = dict.fromkeys(calls, float("inf"))
    with fastact.num_threads(threads):
        for _ in range(rounds):
            for name, call in calls.items():
                np.copyto(x, original)
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: 1e9 * seconds / n for name, seconds in best.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=fastact.get_num_threads())
    parser.add_argument("--elements", type=int, default=2**24)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(f"in place, {options.elements} float32, {options.threads} thread(s), {runtime.instruction_set}")
    with tempfile.TemporaryDirectory() as folder:
        loops = compiled(folder)
        for direction, backward, streams in (("forward", False, 2), ("backward", True, 3)):
            large = measure(loops, backward, options.elements, options.threads, options.rounds)
            small = measure(loops, backward, SMALL, 1, SMALL_ROUNDS)
            print(
                f"\n{direction:12}{'ns/element':>12}{'GB/s':>8}{'of the limit':>14}{'in cache':>10}{'of reachable':>14}"
            )
            for name, time_ in large.items():
                alone = small[name] / options.threads
                print(
                    f"{name:12}{time_:12.3f}{4 * streams / time_:8.1f}{large[LIMIT] / time_:14.2f}"
                    f"{alone:10.3f}{max(large[LIMIT], alone) / time_:14.2f}"
                )


if __name__ == "__main__":
    main()
