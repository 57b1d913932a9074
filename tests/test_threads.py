"""The number of threads: setting it, where its default comes from, who sees it, and calls from many threads at once."""

import asyncio
import contextvars
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import ENTRIES, SHARED, assert_same_bits, backward, forward, inputs, saved_by

import fastact as fa
from fastact import runtime

openmp = pytest.mark.skipif(not runtime.config()["openmp"], reason="built without OpenMP")
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="sets the CPU affinity")
SHOW = "import fastact as fa; print(fa.get_num_threads())"
CPUS = runtime._usable_cpus()
LARGE = 2 * SHARED


@pytest.fixture
def process_threads():
    """Leave the process-wide number of threads as it was."""
    before = runtime._process_threads
    yield
    runtime._process_threads = before
    if runtime._core is not None:
        runtime._core.set_threads(before)


# ------------------------------------------------------------------------------------------------ setting


@openmp
@pytest.mark.usefixtures("process_threads")
def test_set_and_get():
    for n in (1, 2, 3, 64, 1000, np.int64(5)):
        fa.set_num_threads(n)
        assert fa.get_num_threads() == n


@openmp
@pytest.mark.usefixtures("process_threads")
def test_num_threads_holds_inside_only():
    fa.set_num_threads(3)
    with fa.num_threads(2):
        assert fa.get_num_threads() == 2
        with fa.num_threads(5):
            assert fa.get_num_threads() == 5
        fa.set_num_threads(4)
        assert fa.get_num_threads() == 2
    assert fa.get_num_threads() == 4
    with pytest.raises(KeyError), fa.num_threads(7):
        raise KeyError
    assert fa.get_num_threads() == 4


@pytest.mark.parametrize("function", [fa.set_num_threads, lambda n: fa.num_threads(n).__enter__()])
def test_wrong_numbers(function):
    before = fa.get_num_threads()
    for wrong in (0, -1, np.int64(0)):
        with pytest.raises(ValueError, match=rf"num_threads: expected at least 1 thread, got {wrong}"):
            function(wrong)
    for wrong in (1.0, "2", None, True, [1]):
        with pytest.raises(TypeError, match=r"num_threads: expected a whole number of threads, got"):
            function(wrong)
    assert fa.get_num_threads() == before


@openmp
@pytest.mark.usefixtures("process_threads")
def test_who_sees_what():
    """set_num_threads holds for the process, num_threads for the context."""
    fa.set_num_threads(3)
    with ThreadPoolExecutor(1) as pool, fa.num_threads(2):
        assert fa.get_num_threads() == 2
        if not getattr(sys.flags, "thread_inherit_context", False):
            assert pool.submit(fa.get_num_threads).result() == 3
        context = contextvars.copy_context()
        assert pool.submit(context.run, fa.get_num_threads).result() == 2


@openmp
def test_tasks_have_their_own_number():
    async def task(n):
        with fa.num_threads(n):
            for _ in range(3):
                await asyncio.sleep(0)
                assert fa.get_num_threads() == n

    async def main():
        await asyncio.gather(*(task(n) for n in (1, 2, 5)))

    asyncio.run(main())


# ------------------------------------------------------------------------------------------------ the default


@openmp
def test_default_is_the_usable_cpus(python):
    assert python(SHOW).stdout.strip() == str(CPUS)


@openmp
@pytest.mark.parametrize("n", [1, 2, 7])
def test_fastact_num_threads(python, n):
    assert python(SHOW, FASTACT_NUM_THREADS=str(n), OMP_NUM_THREADS="1").stdout.strip() == str(n)


@pytest.mark.parametrize("wrong", ["", "0", "-1", "two", "1.5"])
def test_fastact_num_threads_with_a_wrong_value(python, wrong):
    result = python("import fastact", FASTACT_NUM_THREADS=wrong)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("ValueError: FASTACT_NUM_THREADS: expected")
    if wrong:
        assert wrong in result.stderr.splitlines()[-1]


@openmp
def test_omp_num_threads_lowers_the_default(python):
    assert python(SHOW, OMP_NUM_THREADS="1").stdout.strip() == "1"
    assert python(SHOW, OMP_NUM_THREADS="64").stdout.strip() == str(CPUS)


@openmp
@linux
def test_affinity_lowers_the_default(python):
    program = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}]); {SHOW}"
    assert python(program).stdout.strip() == "1"


@openmp
def test_threadpoolctl_is_respected():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if runtime._process_threads:
        pytest.skip("FASTACT_NUM_THREADS is set")
    forward(ENTRIES[0], np.zeros(3))
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert fa.get_num_threads() == 1


# ------------------------------------------------------------------------------------------------ at once


@pytest.mark.parametrize("n", [1, 2])
def test_many_python_threads_at_once(entry, n):
    x = inputs(np.float32, LARGE // 2 + 5)
    y = forward(entry, x)
    saved = saved_by(entry, x, y)
    dx = backward(entry, x, saved)
    start = threading.Barrier(6)

    def work():
        start.wait(30)
        with fa.num_threads(n):
            results = [(forward(entry, x), backward(entry, x, saved)) for _ in range(2)]
            results.append((forward(entry, x.copy(), out=np.empty_like(x)), dx))
        return results

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(work) for _ in range(6)]
        for future in futures:
            for got_y, got_dx in future.result(60):
                assert_same_bits(got_y, y)
                assert_same_bits(got_dx, dx)


@pytest.mark.skipif(runtime._core is None, reason="no compiled core")
@pytest.mark.skipif(runtime._core is None, reason="no compiled core")
def test_there_is_room_for_every_activation():
    """The core's table of thresholds has a fixed size: a list beyond it is refused, not written past the end."""
    with pytest.raises(ValueError, match="room for 64 activations, got 65"):
        runtime._core.configure(None, None, None, 1, [0] * 65, 0, 0, 0)
    assert fa.get_num_threads() >= 1


def test_the_gil_is_released():
    """Another thread sees the output half written, which it cannot while the caller holds the GIL."""
    entry = max(ENTRIES, key=lambda e: e.cost == "heavy")
    x = np.linspace(-5, 5, 2_000_000)
    out = np.empty_like(x)
    done = threading.Event()

    def watch():
        seen = False
        while not (seen or done.is_set()):
            seen = not np.isnan(out[0]) and np.isnan(out[-1])
        return seen

    with ThreadPoolExecutor(1) as pool, fa.num_threads(1), fa.use_backend("native"):
        for call in (lambda: forward(entry, x, out=out), lambda: backward(entry, x, x, out=out)):
            for _ in range(50):  # a busy machine may not run the watcher in time
                out.fill(np.nan)
                done.clear()
                watcher = pool.submit(watch)
                call()
                done.set()
                if watcher.result(30):
                    break
            else:
                raise AssertionError("no other thread ran during the call")
