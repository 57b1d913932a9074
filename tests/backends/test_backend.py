"""The two backends: choosing one, who sees the choice, what happens without the compiled core, and equal results."""

import asyncio
import contextvars
import inspect
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from support import backward, forward, inputs, parameter_sets, saved_by

import fastact as fa
from fastact import backends

native = pytest.mark.skipif(not backends.compiled, reason="no compiled core")
DEFAULT = fa.get_backend()
OTHER = "numpy" if DEFAULT == "native" else "native"

# For the start of a program: an import hook that behaves as if the extension had not been built.
WITHOUT_CORE = """
import sys
class NoCore:
    def find_spec(self, name, path=None, target=None):
        if name == "fastact.backends._core":
            raise ModuleNotFoundError("No module named 'fastact.backends._core'", name=name)
sys.meta_path.insert(0, NoCore())
"""


# ------------------------------------------------------------------------------------------------ choosing


def test_use_backend_holds_inside_only():
    with fa.use_backend("numpy"):
        assert fa.get_backend() == "numpy"
        if backends.compiled:
            with fa.use_backend("native"):
                assert fa.get_backend() == "native"
        assert fa.get_backend() == "numpy"
    assert fa.get_backend() == DEFAULT


def test_use_backend_ends_with_an_exception():
    with pytest.raises(KeyError), fa.use_backend("numpy"):
        raise KeyError
    assert fa.get_backend() == DEFAULT


def test_unknown_backend():
    for wrong in ("cuda", "Native", "", None, 3):
        with pytest.raises(ValueError, match=r"^use_backend: expected one of native, numpy, got"):
            fa.use_backend(wrong).__enter__()
    assert fa.get_backend() == DEFAULT


def test_names_that_are_equal_but_not_the_same_object():
    with fa.use_backend("".join(["num", "py"])):
        assert fa.get_backend() == "numpy"
    if backends.compiled:
        with fa.use_backend("".join(["nat", "ive"])):
            assert fa.get_backend() == "native"


@native
def test_the_backend_is_the_one_that_computes(monkeypatch):
    """With the formula replaced, only the numpy backend notices."""
    entry = next(iter(fa.registry.ACTIVATIONS.values()))
    x = np.array([-1.0, 2.0])
    expected = forward(entry, x)
    monkeypatch.setattr(fa.registry, "value", lambda *_: np.array([41.0, 42.0]))
    monkeypatch.setattr(fa.registry, "gradient", lambda *_: np.array([43.0, 44.0]))
    with fa.use_backend("numpy"):
        np.testing.assert_array_equal(forward(entry, x), [41, 42])
        np.testing.assert_array_equal(backward(entry, x, x), [43, 44])
    with fa.use_backend("native"):
        np.testing.assert_array_equal(forward(entry, x), expected)
        np.testing.assert_array_equal(forward(entry, x[::-1]), expected[::-1])  # through a copy


def test_threads_start_with_the_default():
    seen = []
    with fa.use_backend("numpy"):
        thread = threading.Thread(target=lambda: seen.append(fa.get_backend()))
        thread.start()
        thread.join()
        inherited = contextvars.copy_context()
    # Free-threaded builds hand the context on to new threads.
    assert seen == [DEFAULT] or getattr(__import__("sys").flags, "thread_inherit_context", False)
    assert inherited.run(fa.get_backend) == "numpy"
    assert fa.get_backend() == DEFAULT


def test_a_thread_keeps_its_choice_to_itself():
    chosen, may_leave = threading.Event(), threading.Event()

    def work():
        with fa.use_backend("numpy"):
            chosen.set()
            may_leave.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    assert chosen.wait(30)
    here = fa.get_backend()
    may_leave.set()
    thread.join()
    assert here == DEFAULT


def test_tasks_have_their_own_backend():
    async def task(name, log):
        with fa.use_backend(name):
            for _ in range(3):
                await asyncio.sleep(0)
                log.append((name, fa.get_backend()))

    async def main():
        log = []
        names = ["numpy", DEFAULT, "numpy"]
        await asyncio.gather(*(task(name, log) for name in names))
        return log

    log = asyncio.run(main())
    assert len(log) == 9
    assert all(name == seen for name, seen in log)


# ------------------------------------------------------------------------------------------------ parity


@native
def test_results_agree(entry, dtype):
    info = np.finfo(dtype)
    for values in parameter_sets(entry):
        x = inputs(dtype, 5000)
        x = x[~(np.abs(x) > info.max / 16) | np.isinf(x)]  # nothing between may overflow
        grad = np.random.default_rng(2).normal(0, 1, x.size).astype(dtype)
        y = forward(entry, x, values)
        saved = saved_by(entry, x, y)
        dx = backward(entry, grad, saved, values)
        with fa.use_backend("numpy"):
            twin_y, twin_dx = forward(entry, x, values), backward(entry, grad, saved, values)
        assert twin_y.dtype == twin_dx.dtype == dtype
        np.testing.assert_allclose(twin_y, y, rtol=64 * info.eps, atol=16 * info.eps)
        np.testing.assert_allclose(twin_dx, dx, rtol=64 * info.eps, atol=64 * info.eps)


@native
def test_signatures_are_equal(python):
    """The functions made without the core have the same signatures and documentation."""
    program = """
        import inspect, json
        import fastact as fa
        functions = {n: getattr(fa, n) for n in fa.__all__ if inspect.isfunction(getattr(fa, n))}
        print(json.dumps({n: [str(inspect.signature(f)), f.__doc__] for n, f in functions.items()}))
    """
    with_core = python(program)
    without = python(WITHOUT_CORE + inspect.cleandoc(program), FASTACT_BACKEND="numpy")
    assert with_core.returncode == without.returncode == 0, without.stderr
    assert with_core.stdout == without.stdout
    assert '"relu"' in with_core.stdout


# ------------------------------------------------------------------------------------------------ environment


@pytest.mark.parametrize("name", ["numpy", pytest.param("native", marks=native)])
def test_environment_variable(python, name):
    result = python("import fastact as fa; print(fa.get_backend())", FASTACT_BACKEND=name)
    assert result.stdout.strip() == name, result.stderr


@pytest.mark.parametrize("name", ["", "cuda", "NumPy"])
def test_environment_variable_with_an_unknown_value(python, name):
    result = python("import fastact", FASTACT_BACKEND=name)
    assert result.returncode == 1
    assert f"ValueError: FASTACT_BACKEND: expected one of native, numpy, got {name!r}" in result.stderr


def test_without_the_core_one_warning_and_the_numpy_backend(python):
    program = """
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import fastact as fa
            import fastact.runtime, fastact.functional
            import numpy as np
            assert fa.get_backend() == "numpy"
            x = np.linspace(-3, 3, 7)
            y = fa.relu(x)
            assert (y == np.maximum(x, 0)).all()
            assert (fa.relu_backward(np.ones(7), y, out=x) == (y > 0)).all()
            fa.set_num_threads(3)
            with fa.num_threads(2):
                pass
            assert fa.get_num_threads() == 1
            fa.show_config()
            try:
                with fa.use_backend("native"):
                    pass
            except ImportError as error:
                assert "compiled core is missing" in str(error)
            else:
                raise AssertionError("native without a core")
        ours = [w for w in caught if "fastact" in str(w.message)]
        assert len(ours) == len(caught) == 1, caught
        assert ours[0].category is RuntimeWarning
        assert "numpy backend" in str(ours[0].message) and "compile" in str(ours[0].message)
        print("done")
    """
    result = python(WITHOUT_CORE + inspect.cleandoc(program), FASTACT_BACKEND=None)
    assert result.stdout.rstrip().endswith("done"), result.stderr


def test_without_the_core_the_numpy_backend_can_be_accepted(python):
    result = python(WITHOUT_CORE + "import fastact as fa; print(fa.get_backend())", FASTACT_BACKEND="numpy")
    assert result.returncode == 0
    assert result.stdout.strip() == "numpy"
    assert not result.stderr


def test_without_the_core_native_is_an_import_error(python):
    result = python(WITHOUT_CORE + "import fastact", FASTACT_BACKEND="native")
    assert result.returncode == 1
    assert "ImportError: FASTACT_BACKEND=native: the compiled core is missing" in result.stderr
    assert "FASTACT_BACKEND=numpy" in result.stderr


def test_sources_that_are_not_compiled_say_what_to_do(tmp_path):
    """Python finds the package in the current folder first."""
    source = Path(fa.__file__).parent
    shutil.copytree(source, tmp_path / "fastact", ignore=shutil.ignore_patterns("_core.*.so", "__pycache__", "fit"))
    (tmp_path / "fastact/backends/kernels").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("FASTACT_BACKEND", "PYTHONPATH")}
    (tmp_path / "user.py").write_text("import sys\n\n\nsys.path.insert(0, '')\nimport fastact\n")
    for backend, code in ((None, 0), ("native", 1)):
        chosen = {} if backend is None else {"FASTACT_BACKEND": backend}
        result = subprocess.run(
            [sys.executable, "user.py"],
            cwd=tmp_path,
            env={**environment, **chosen},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == code
        said = f"these are the sources of fastact in {tmp_path.resolve()}, not compiled: run pip install -e . there"
        assert said in result.stderr
        assert "circular" not in result.stderr
        assert "No module named 'fastact.backends._core'" in result.stderr
        if code == 0:
            assert result.stderr.startswith(f"{tmp_path.resolve()}/user.py:5: RuntimeWarning: fastact: ")
