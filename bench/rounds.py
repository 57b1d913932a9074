"""Times whole calls of libraries in turns: each in a process of its own that sleeps while another is measured.

A bench gives ``serve`` a table of makers; ``Rounds`` starts the same file once per library with ``--serve``, goes round
the workers many times, a fraction of a second each, and keeps the least time per call. (bench/workers.py does the same
for single statements, with fresh input before every call.)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import workers

Call = Callable[[], object]

FLAGS = {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx512f", "-mfma"]}
SHORTEST = 5e-5  # seconds between two looks at the clock, at least


def parser(description: str) -> argparse.ArgumentParser:
    """The options that every such bench has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--serve", help=argparse.SUPPRESS)
    made.add_argument("--threads", type=int, default=1)
    made.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    made.add_argument("--isa", choices=tuple(FLAGS), default="avx2")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--seconds", type=float, default=0.05, help="of one turn of one library")
    made.add_argument("--save", action="store_true", help="write the results to bench/results too")
    return made


def serve(makers: dict[str, Callable[[int], Callable[..., Call]]], options: argparse.Namespace) -> None:
    """Answer lines of [*key, seconds] with the least seconds per call (NaN where the library has no such form)."""
    now = time.process_time if options.clock == "cpu" else time.perf_counter
    make = makers[options.serve](options.threads)
    held: dict[str, tuple[Call, int]] = {}
    for line in sys.stdin:
        *key, seconds = json.loads(line)
        try:
            if str(key) not in held:
                held.clear()
                call = make(*key)
                for _ in range(5):
                    call()
                began = time.perf_counter()
                call()
                held[str(key)] = call, max(1, int(SHORTEST / (time.perf_counter() - began)))
            call, count = held[str(key)]
            best, end = math.inf, time.perf_counter() + seconds
            while time.perf_counter() < end:
                began = now()
                for _ in range(count):
                    call()
                best = min(best, (now() - began) / count)
        except NotImplementedError:
            best = math.nan
        time.sleep(0.002)  # until the library's other threads sleep too
        print(json.dumps(best), flush=True)


class Rounds:
    """One worker per library, and the least times they measured."""

    def __init__(self, file: str, libraries: Sequence[str], options: argparse.Namespace) -> None:
        self.options = options
        self.workers = {library: self._start(file, library) for library in libraries}

    def _start(self, file: str, library: str) -> subprocess.Popen[str]:
        threads = str(self.options.threads)
        environment = dict(os.environ, FASTACT_ISA=self.options.isa, OMP_NUM_THREADS=threads)
        environment.update(OPENBLAS_NUM_THREADS=threads, FASTACT_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
        if self.options.isa == "avx2":
            environment.update(workers.LIMITED)
        if library.startswith("jax") and self.options.threads == 1:
            environment["XLA_FLAGS"] = environment.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
            environment["NPROC"] = "1"
        command = [sys.executable, file, "--serve", library, "--threads", threads, "--clock", self.options.clock]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def measure(self, *key: Any) -> dict[str, float]:
        """The least seconds per call of each library."""
        best = dict.fromkeys(self.workers, math.inf)
        for _ in range(self.options.rounds):
            for library, worker in self.workers.items():
                print(json.dumps([*key, self.options.seconds]), file=worker.stdin, flush=True)
                answer = worker.stdout.readline()
                if not answer:
                    raise SystemExit(f"the worker for {library} died at {key}")
                best[library] = min(best[library], json.loads(answer))
        return {library: seconds for library, seconds in best.items() if math.isfinite(seconds)}

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stdin.close()
            worker.wait()
            worker.stdout.close()

    def __enter__(self) -> Rounds:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save(name: str, options: argparse.Namespace, libraries: Sequence[str], found: dict[str, Any]) -> None:
    """Write what was found to bench/results, with what it was measured on and how."""
    packages = dict.fromkeys(library.split()[0] for library in libraries)
    about = {
        "cpu": workers.cpu_model(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {package: metadata.version(package) for package in packages},
        **{key: getattr(options, key) for key in ("isa", "threads", "clock", "rounds", "seconds")},
    }
    path = Path(__file__).parent / "results" / f"{name}.json"
    path.write_text(json.dumps(about | found, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")


def fma_peak(isa: str) -> float:
    """GFLOP/s of a loop of fused multiply-adds on registers, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "peak")
        source = Path(__file__).with_name("peak.c")
        subprocess.run(["cc", "-O3", *FLAGS[isa], str(source), "-o", str(program)], check=True)
        return float(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout)


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))
