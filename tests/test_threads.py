"""The number of threads: setting it, where its default comes from, who sees it, and calls from many threads at once."""

import asyncio
import contextvars
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support import ENTRIES, SHARED, assert_same_bits, backward, forward, inputs, saved_by

import fastact as fa
from fastact import backends, runtime

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
    if backends.compiled:
        backends.engine.set_threads(before)


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


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/\n", {}, np.inf),
        ("0::/\n", {"cpu.max": "max 100000\n"}, np.inf),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 50000\n", "a/cpu.max": "200000 100000\n"}, 1),
        ("0::/a\n", {"b/cpu.max": "50000 100000\n"}, np.inf),
        ("0::/a\n", {"a/cpu.max": "nonsense"}, np.inf),
        ("5:memory:/m\n4:cpu,cpuacct:/a\n0::/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n"}, np.inf),
        (
            "5:memory:/m\n4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n", "m/cpu.max": "1 1"},
            3,
        ),
        (
            "4:cpu:/a/b\n",
            {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            1,
        ),
    ],
)
def test_the_quota_of_a_control_group(tmp_path, membership, files, cpus):
    """Both versions of control groups; an ancestor's quota binds too."""
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text(membership)
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    assert runtime._cgroup_cpus(own, root) == cpus
    assert runtime._cgroup_cpus(tmp_path / "missing", root) == np.inf


@openmp
def test_a_quota_lowers_the_default(monkeypatch):
    for quota, expected in ((1.5, min(2, CPUS)), (0.2, 1), (np.inf, len(os.sched_getaffinity(0)))):
        monkeypatch.setattr(runtime, "_cgroup_cpus", lambda quota=quota: quota)
        assert runtime._usable_cpus() == expected


@openmp
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_one_team_above_the_threshold_and_none_below(python):
    """Serial below a class's threshold, and up to ASLEEP times that while no other thread is awake; above, the number
    of threads is the one asked for, whatever the size.
    """
    program = """
    import os, numpy as np, fastact as fa
    from fastact import runtime, registry
    def team(call):
        before = len(os.listdir("/proc/self/task"))
        call()
        return len(os.listdir("/proc/self/task")) - before + 1
    fa.set_num_threads(3)
    most = max(runtime.THRESHOLDS.values()) * 4
    x = np.ones(most, np.float32)
    for name, cost in (("relu", "light"), ("gelu", "heavy")):
        assert registry.ACTIVATIONS[name].cost == cost
        small = x[: runtime.THRESHOLDS[cost] - 1].copy()
        assert team(lambda: getattr(fa, name)(small)) == 1, name
    assert team(lambda: fa.softmax(x[: runtime.THRESHOLDS["rows"] // 2].reshape(-1, 16))) == 1
    size = runtime.THRESHOLDS["heavy"]
    assert team(lambda: fa.gelu(x[:size])) == 1
    assert team(lambda: fa.gelu(x[:runtime.ASLEEP * size])) == 3
    for n in (size, 2 * size, most):  # the same team again: none is added, whatever the size
        assert team(lambda: fa.gelu(x[:n])) == 1
        assert len(os.listdir("/proc/self/task")) == 3
    print("done")
    """
    result = python(program, OPENBLAS_NUM_THREADS="1")
    assert result.stdout.strip() == "done", result.stderr


@openmp
def test_threadpoolctl_is_respected():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if runtime._process_threads:
        pytest.skip("FASTACT_NUM_THREADS is set")
    forward(ENTRIES[0], np.zeros(3))
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert fa.get_num_threads() == 1


# ------------------------------------------------------------------------------------------------ how they wait

POOL = """
    import os, threading, numpy as np, fastact as fa
    x = np.linspace(-9, 9, 1 << 20)
    with fa.num_threads(1):
        expected = fa.gelu(x)
    tasks = lambda: set(os.listdir("/proc/self/task"))
"""
proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks at threads in /proc")


@openmp
@pytest.mark.parametrize(
    ("asked", "microseconds"), [(None, 50), ("passive", 0), ("PASSIVE", 0), ("active", 200_000), ("whatever", 50)]
)
def test_the_wait_policy(python, asked, microseconds):
    """Nothing set: a moment, and then asleep; OpenMP's own variable is heard."""
    environment = {} if asked is None else {"OMP_WAIT_POLICY": asked}
    result = python("import fastact as fa; print(fa.runtime.config()['wait_policy'])", **environment)
    assert result.stdout.strip() == f"active for {microseconds} us, then asleep"


def test_the_environment_stays(python):
    """C's as well as Python's: other runtimes that load later read it."""
    program = """
        import ctypes, os
        environ = lambda: [*iter(lambda p=iter(range(10**6)): pointer[next(p)], None)]
        pointer = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
        before = environ(), dict(os.environ)
        import numpy as np
        import fastact as fa
        fa.gelu(np.zeros(1 << 20))
        assert (environ(), dict(os.environ)) == before
        print("same")
    """
    assert python(program).stdout.strip() == "same"


@openmp
@proc
def test_callers_share_the_pool(python):
    """Many Python threads at once do not multiply the threads that help them; each gets its own results."""
    program = f"""{POOL}
    import time
    fa.set_num_threads(3)
    start, errors = threading.Barrier(8), []
    def work(number):
        mine = x * (1 + number / 8)
        with fa.num_threads(1):
            wanted = fa.gelu(mine)
        start.wait(60)
        for turn in range(20):
            if fa.gelu(mine).tobytes() != wanted.tobytes():
                errors.append(number)
            try:
                fa.gelu(mine, out=mine[:5])  # refused in between
            except ValueError:
                pass
    before = tasks()
    callers = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not errors, errors
    while len(tasks() - before) > max(3, {CPUS}) - 1:  # callers leave /proc after they are joined; limited from outside
        time.sleep(0.01)
    print("done")
    """
    result = python(program)
    assert result.stdout.strip() == "done", result.stderr


@openmp
@proc
def test_helpers_sleep_and_leave_signals_alone(python):
    program = f"""{POOL}
    import signal, time
    fa.set_num_threads(3)
    before = tasks()
    assert fa.gelu(x).tobytes() == expected.tobytes()
    helpers = tasks() - before
    assert len(helpers) == 2
    def field(task, name):
        lines = open("/proc/self/task/" + task + "/status").read().splitlines()
        return next(line.split()[1] for line in lines if line.startswith(name + ":"))
    for task in helpers:
        while field(task, "State") != "S":  # the limit on this process is the bound
            time.sleep(0.01)
        assert int(field(task, "SigBlk"), 16) >> (signal.SIGINT - 1) & 1
    assert fa.gelu(x).tobytes() == expected.tobytes()
    print("done")
    """
    result = python(program)
    assert result.stdout.strip() == "done", result.stderr


@openmp
def test_the_process_ends_while_threads_compute(python):
    program = f"""{POOL}
    fa.set_num_threads(4)
    def work():
        while True:
            fa.gelu(x)
    for _ in range(4):
        threading.Thread(target=work, daemon=True).start()
    for _ in range(5):
        assert fa.gelu(x).tobytes() == expected.tobytes()
    print("done")
    """
    for _ in range(3):
        result = python(program)
        assert (result.returncode, result.stdout.strip()) == (0, "done"), result.stderr


@openmp
def test_a_storm_of_threads(python):
    """Many more threads than processors, asked for by many threads at once."""
    program = f"""{POOL}
    fa.set_num_threads(200)
    right = []
    def work():
        right.extend(fa.gelu(x).tobytes() == expected.tobytes() for _ in range(5))
    callers = [threading.Thread(target=work) for _ in range(20)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert right == [True] * 100
    print("done")
    """
    result = python(program)
    assert result.stdout.strip() == "done", result.stderr


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


@pytest.mark.skipif(not backends.compiled, reason="no compiled core")
def test_there_is_room_for_every_activation():
    """The core's table of thresholds has a fixed size: a list beyond it is refused, not written past the end."""
    with pytest.raises(ValueError, match="room for 64 activations, got 65"):
        backends.engine.configure(None, None, None, 1, [0] * 65, 0, 0, 0, 1)
    assert fa.get_num_threads() >= 1


@pytest.mark.parametrize("kind", ["forward", "backward", "dense", "dense_forward", "softmax", "swish_backward"])
def test_the_gil_is_released(kind):
    """Another thread sees the output half written, which it cannot while the caller holds the GIL."""
    entry = max(ENTRIES, key=lambda e: e.cost == "heavy")
    x = np.linspace(-5, 5, 2_000_000)
    out = np.empty_like(x)
    rows, y = x.reshape(2000, 1000), out.reshape(2000, 1000)
    weight = np.ones((500, 1000))
    call = {
        "forward": lambda: forward(entry, x, out=out),
        "backward": lambda: backward(entry, x, x, out=out),
        "dense": lambda: fa.dense(rows[:, :500].copy(), weight, out=y),
        "dense_forward": lambda: fa.dense_forward(rows[:, :500].copy(), weight, activation="gelu", out=y),
        "softmax": lambda: fa.softmax(rows, out=y),
        "swish_backward": lambda: fa.swish_backward(rows, rows, 1.5, out=y),
    }[kind]
    seen = threading.Event()
    stop = threading.Event()

    def watch():
        while not (seen.is_set() or stop.is_set()):
            if not np.isnan(out[0]) and np.isnan(out[-1]):
                seen.set()
            time.sleep(1e-4)  # who wakes up is let run soon, on a busy machine too

    with ThreadPoolExecutor(1) as pool, fa.num_threads(1), fa.use_backend("native"):
        watcher = pool.submit(watch)
        for _ in range(5000):  # never reached where the GIL is released: one call in a few is seen
            out.fill(np.nan)
            call()
            if seen.is_set():
                break
        stop.set()
        watcher.result(30)
    assert seen.is_set()
