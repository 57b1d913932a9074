"""Rows of pytest-benchmark: activation x direction x dtype x size, in fastact and in every peer.

    pytest bench                                  # against NumPy and PyTorch, one thread
    pytest bench --peers torch,jax,onnxruntime --threads 2 -k "gelu and 65536"
    pytest bench --benchmark-disable              # runs everything once on small arrays and compares the results

The first test of a row measures it in all libraries, interleaved; each test then hands its library's samples to
pytest-benchmark through a clock that stands still but for them.
"""

from __future__ import annotations

import dataclasses
import functools

import pytest

from fastact.measure import activations

SMALL = 1024
_now = 0.0


def sample_clock():
    """Seconds on the clock that the recorded samples advance."""
    return _now


def replay(seconds):
    """Let a recorded sample pass."""
    global _now
    _now += next(seconds)


@pytest.fixture(scope="session")
def measured(bench, pytestconfig):
    """Samples of a row in all libraries, taken once."""
    if not pytestconfig.getoption("benchmark_disable"):
        rounds = pytestconfig.getoption("--rounds")
        return functools.cache(lambda row: bench.measure(row, rounds, activations.SECONDS))
    once = functools.cache(lambda row: bench.measure(row, rounds=1, seconds=0))
    return lambda row: once(dataclasses.replace(row, size=min(row.size, SMALL)))


@pytest.mark.benchmark(timer=sample_clock)
def test_speed(row, library, bench, measured, benchmark):
    samples = measured(row).get(library)
    if samples is None:
        pytest.skip(f"{library} has no kernel for {row}")
    benchmark.group = str(row)
    benchmark.extra_info.update(
        library=library,
        activation=row.name,
        direction=row.direction,
        dtype=row.dtype,
        elements=row.size,
        threads=bench.threads,
        **bench.workers[library].information,
        fastact_version=bench.workers["fastact"].information["version"],
        fastact_isa=bench.workers["fastact"].information["isa"],
    )
    benchmark.pedantic(replay, args=(iter([ns * 1e-9 for ns in samples]),), rounds=len(samples))
