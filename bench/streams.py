"""How close in-place kernels come to the memory's speed: python bench/streams.py [--threads N] [--elements N]

The limit is ``x *= c`` over the same array by a bare C loop with OpenMP, compiled here: it reads and writes every
element once and computes next to nothing. Calls alternate; the array is restored before each, outside the clock.
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
"""
FUNCTIONS = ("relu", "sigmoid", "tanh", "silu")


def compiled(folder: str) -> Callable[..., None]:
    """The C loop as a function."""
    source, library = Path(folder, "scale.c"), Path(folder, "scale.so")
    source.write_text(SOURCE, encoding="ascii")
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(library)]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(f"streams: needs a C compiler with OpenMP: {error}") from error
    function = ctypes.CDLL(str(library)).scale
    function.argtypes = [ctypes.c_void_p, ctypes.c_float, ctypes.c_long, ctypes.c_int]
    function.restype = None
    return function


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=fastact.get_num_threads())
    parser.add_argument("--elements", type=int, default=2**24)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    fastact.set_num_threads(options.threads)
    original = np.random.default_rng(0).standard_normal(options.elements, np.float32)
    x = original.copy()
    with tempfile.TemporaryDirectory() as folder:
        scale = compiled(folder)
        calls = {"x *= c (C)": lambda: scale(x.ctypes.data, -1.0, x.size, options.threads)}
        for name in FUNCTIONS:
            if hasattr(functional, name):
                calls[name] = functools.partial(getattr(functional, name), x, out=x)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(options.rounds):
            for name, call in calls.items():
                np.copyto(x, original)
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    limit = min(times["x *= c (C)"])
    print(f"in place, {x.size} float32, {options.threads} thread(s), {runtime.instruction_set}\n")
    print(f"{'':14}{'ns/element':>12}{'GB/s':>10}{'of the limit':>14}")
    for name, seconds in times.items():
        best = min(seconds)
        print(f"{name:14}{1e9 * best / x.size:12.3f}{2e-9 * x.nbytes / best:10.1f}{limit / best:14.2f}")


if __name__ == "__main__":
    main()
