"""One thread: the problems here are small, and SciPy's BLAS would have as many threads beside ours."""

import pytest
from threadpoolctl import threadpool_limits

import fastact as fa


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1), fa.num_threads(1):
        yield
