"""Options of the pytest-benchmark rows, and the workers that all of them share."""

from __future__ import annotations

import argparse

import pytest

from fastact.measure import activations
from fastact.measure.__main__ import parse_libraries
from fastact.measure.peers import form
from fastact.measure.processes import Bench, importable

SIZES = (64, 65_536, 1_048_576)


def libraries(text):
    try:
        return parse_libraries(text)
    except argparse.ArgumentTypeError as error:
        raise pytest.UsageError(f"--peers: {error}") from None


def pytest_addoption(parser):
    group = parser.getgroup("fastact")
    default = ",".join(filter(importable, ("numpy", "torch")))
    group.addoption("--peers", default=default, help="libraries to compare with (default: %(default)s)")
    group.addoption("--threads", type=int, default=1, help="threads of every library (default: %(default)s)")
    group.addoption("--isa", help="fastact's instruction set")
    group.addoption("--rounds", type=int, default=activations.ROUNDS, help="turns of each library in a row")


def pytest_generate_tests(metafunc):
    if {"row", "library"} <= set(metafunc.fixturenames):
        used = ("fastact", *libraries(metafunc.config.getoption("--peers")))
        cases = [
            pytest.param(row, library, id=f"{row}-{library}")
            for row in activations.rows(dtype=("float32", "float64"), size=SIZES)
            for library in used
            if form(row.name, library, row.forward) is not None
        ]
        metafunc.parametrize(("row", "library"), cases)


@pytest.fixture(scope="session")
def bench(pytestconfig):
    peers = libraries(pytestconfig.getoption("--peers"))
    threads, isa = pytestconfig.getoption("--threads"), pytestconfig.getoption("--isa")
    with Bench("activations", peers, threads, isa) as running:
        yield running
