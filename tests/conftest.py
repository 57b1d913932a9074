"""Fixtures, and the path to the helpers: works in a checkout and from a copied folder against an installed package."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(1, str(Path(__file__).parent / "faults"))

import support

import fastact as fa
from fastact import backends, runtime

# What is as large as a threshold is shared here, whether the other threads happen to be awake or not.
runtime.ASLEEP = 1
runtime.set_thresholds(*(runtime.THRESHOLDS[kind] for kind in ("rows", "updates", "products")))


@pytest.fixture(params=support.ENTRIES, ids=lambda entry: entry.name)
def entry(request):
    """Every elementwise activation of the registry."""
    return request.param


@pytest.fixture(params=support.DTYPES, ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


@pytest.fixture(params=support.INSTRUCTION_SETS)
def instruction_set(request):
    """Compute with each instruction set that this machine can run, one after the other."""
    with support.using_instruction_set(request.param):
        yield request.param


@pytest.fixture(params=support.BACKENDS)
def backend(request):
    with fa.use_backend(request.param):
        yield request.param


@pytest.fixture(params=[*support.INSTRUCTION_SETS, "numpy"])
def engine(request):
    """Everything that computes: each instruction set, and the numpy backend."""
    if request.param == "numpy":
        with fa.use_backend("numpy"):
            yield request.param
    else:
        with support.using_instruction_set(request.param):
            yield request.param


@pytest.fixture
def everything_shared():
    """Let products of any size use the team."""
    if not backends.compiled:
        pytest.skip("needs the compiled core")
    t = runtime.THRESHOLDS
    runtime.set_thresholds(0, t["updates"], 0)
    yield
    runtime.set_thresholds(t["rows"], t["updates"], t["products"])


@pytest.fixture
def python(tmp_path):
    """Run a program in a Python of its own, in an empty folder, with the package under test."""

    def run(program, *, timeout=120, options=("-W", "error"), **environment):
        return support.run_python(program, tmp_path, timeout, options, environment)

    return run
