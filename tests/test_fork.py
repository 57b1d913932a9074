"""A forked child computes, correctly and with one thread, and never hangs; each case in a process with a hard limit."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

from fastact import runtime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.skipif(not runtime.config()["openmp"], reason="built without OpenMP"),
]
LIMIT = 60
# From Python 3.12 on, fork warns when the process has threads, which is what is tested here.
OPTIONS = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")

PARENT = textwrap.dedent("""
    import os, sys
    import numpy as np
    import fastact as fa
    from fastact import backends, functional, registry, runtime

    x = np.linspace(-9, 9, 2 * runtime.THRESHOLDS["light"])
    entry = max(registry.ACTIVATIONS.values(), key=lambda e: e.cost == "heavy")
    call, back = getattr(functional, entry.name), getattr(functional, entry.name + "_backward")

    def results():
        y = call(x)
        return y, back(x, x if entry.saves == "x" else y)

    def check(expected):
        for got, wanted in zip(results(), expected, strict=True):
            assert got.tobytes() == wanted.tobytes()

    def in_child(work):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0, "the child failed"

    if __name__ == "__main__":
        fa.set_num_threads(2)
        expected = results()  # parallel work in the parent: the OpenMP runtime has its threads now
""")


def check(python, body):
    result = python(PARENT + textwrap.indent(textwrap.dedent(body), "    "), timeout=LIMIT, options=OPTIONS)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "done"


def test_a_child_computes_with_one_thread(python):
    body = """
        def work():
            assert backends.engine.forked()
            assert fa.get_num_threads() == 1
            check(expected)
            fa.set_num_threads(1)
            with fa.num_threads(1):
                check(expected)
            assert fa.get_num_threads() == 1

        for _ in range(5):
            in_child(work)
        assert fa.get_num_threads() == 2
        assert not backends.engine.forked()
        check(expected)
        print("done")
    """
    check(python, body)


def test_more_threads_are_refused_in_a_child(python):
    body = """
        def work():
            for ask in (lambda: fa.set_num_threads(2), lambda: fa.num_threads(2).__enter__()):
                try:
                    ask()
                except RuntimeError as error:
                    assert "'spawn'" in str(error) and "'forkserver'" in str(error), error
                else:
                    raise AssertionError("two threads in a forked child")
            assert fa.get_num_threads() == 1
            check(expected)

        in_child(work)
        print("done")
    """
    check(python, body)


def test_a_fork_inside_num_threads(python):
    body = """
        def work():
            assert fa.get_num_threads() == 1
            check(expected)

        with fa.num_threads(4):
            in_child(work)
            check(expected)
        print("done")
    """
    check(python, body)


def test_a_child_of_a_child(python):
    body = """
        def work():
            assert fa.get_num_threads() == 1
            check(expected)

        in_child(lambda: (work(), in_child(work)))
        print("done")
    """
    check(python, body)


def test_a_fork_from_a_thread_while_others_compute(python):
    body = """
        import threading
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                results()

        def work():
            assert fa.get_num_threads() == 1
            check(expected)

        threads = [threading.Thread(target=busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(5):
                in_child(work)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        print("done")
    """
    check(python, body)


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_another_librarys_openmp_before_the_fork(python, tmp_path):
    """Threads that another extension started in the parent are gone in the child, where nobody may wait for them."""
    source, library = tmp_path / "other.c", tmp_path / "other.so"
    source.write_text(
        "int sum(int n) { int s = 0;\n#pragma omp parallel for reduction(+:s) num_threads(3)\n"
        "for (int i = 0; i < n; i++) s += i; return s; }\n"
    )
    built = subprocess.run(["cc", "-fopenmp", "-shared", "-fPIC", str(source), "-o", str(library)], check=False)
    if built.returncode:
        pytest.skip("the compiler has no OpenMP")
    body = f"""
        import ctypes
        other = ctypes.CDLL({str(library)!r})
        assert other.sum(1000) == 499500

        def work():
            assert fa.get_num_threads() == 1
            check(expected)

        for _ in range(3):
            in_child(work)
            assert other.sum(1000) == 499500
        check(expected)
        print("done")
    """
    check(python, body)


JOBLIB = """
    import sys
    import numpy as np
    import fastact as fa
    from joblib import Parallel, delayed

    if __name__ == "__main__":
        x = np.linspace(-9, 9, 1 << 19)
        fa.set_num_threads(2)
        expected = fa.gelu(x)
        for _ in range(2):
            for got in Parallel(n_jobs=2, backend=sys.argv[1])(delayed(fa.gelu)(x) for _ in range(4)):
                assert got.tobytes() == expected.tobytes()
        assert fa.get_num_threads() == 2
        print("done")
"""


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(tmp_path, backend):
    """Workers of every kind that joblib has, after parallel work in the parent."""
    pytest.importorskip("joblib")
    program = tmp_path / "work.py"
    program.write_text(textwrap.dedent(JOBLIB))
    result = subprocess.run(
        [sys.executable, str(program), backend], capture_output=True, text=True, timeout=LIMIT, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "done"


@pytest.mark.parametrize(("method", "threads"), [("fork", 1), ("spawn", 2), ("forkserver", 2)])
def test_multiprocessing(python, method, threads):
    """Forked workers have one thread; a spawned or served one may have as many as it likes."""
    head, main = PARENT.split("if __name__", 1)
    program = (
        head
        + textwrap.dedent(f"""
            def worker(wanted):
                if {threads} > 1:
                    fa.set_num_threads({threads})
                assert fa.get_num_threads() == {threads}, fa.get_num_threads()
                check(wanted)
                return os.getpid()

        """)
        + "if __name__"
        + main
        + textwrap.indent(
            textwrap.dedent(f"""
                import multiprocessing
                with multiprocessing.get_context("{method}").Pool(2) as pool:
                    pids = pool.map(worker, [expected] * 3)
                    pool.close()
                    pool.join()
                assert os.getpid() not in pids
                check(expected)
                print("done")
            """),
            "    ",
        )
    )
    result = python(program, timeout=LIMIT, options=OPTIONS)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "done"
