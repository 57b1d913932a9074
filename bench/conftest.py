"""Options of the benchmarks, and the workers that all of them share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the files here are scripts: they import each other by name

import peers
import workers


def pytest_addoption(parser):
    group = parser.getgroup("fastact")
    group.addoption(
        "--peers",
        default="numpy,torch",
        help="libraries to compare with, of numpy, torch, jax and onnxruntime; those that are not installed are left "
        "out (default: %(default)s)",
    )
    group.addoption("--threads", type=int, default=1, help="threads of every library (default: %(default)s)")
    group.addoption("--isa", help="fastact's instruction set")
    group.addoption("--rounds", type=int, default=12, help="turns of each library in a row (default: %(default)s)")


def libraries(config):
    """Fastact and the peers asked for, as far as they are installed."""
    wanted = config.getoption("--peers").split(",")
    for name in wanted:
        if name not in peers.LIBRARIES:
            raise pytest.UsageError(f"--peers: expected some of {', '.join(peers.LIBRARIES[1:])}, got {name!r}")
    return ["fastact", *(name for name in wanted if workers.importable(name))]


def pytest_generate_tests(metafunc):
    if {"row", "library"} <= set(metafunc.fixturenames):
        try:
            rows = list(peers.rows())
        except LookupError as error:
            raise pytest.UsageError(error.args[0]) from None
        cases = [
            pytest.param(row, library, id=f"{row}-{library}")
            for row in rows
            for library in libraries(metafunc.config)
            if peers.form(row, library) is not None
        ]
        metafunc.parametrize(("row", "library"), cases)


@pytest.fixture(scope="session")
def bench(pytestconfig):
    with workers.Bench(
        libraries(pytestconfig), pytestconfig.getoption("--threads"), pytestconfig.getoption("--isa")
    ) as running:
        yield running
