"""One thread each: the problems are small."""

import pytest

import fastact as fa


@pytest.fixture(autouse=True)
def one_thread():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with fa.num_threads(1):
        yield
    torch.set_num_threads(threads)
