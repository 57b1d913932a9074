"""Kernels in other people's Cython: a module is compiled against the package, and calls them without the GIL."""

import shutil
import subprocess
import sysconfig
import textwrap
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from support import ENTRIES, assert_same_bits

import fastact as fa
from fastact import backends

pytestmark = [
    pytest.mark.skipif(not backends.compiled, reason="needs the compiled core"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler"),
]

SOURCE = """
    # cython: language_level=3, boundscheck=False, wraparound=False
    from fastact.capi cimport *

    fastact_import()

    ctypedef fused real:
        float
        double

    def number(str name):
        return fastact_number(name.encode())

    def describe(int number):
        cdef const fastact_activation *found = fastact_describe(number)
        return None if found == NULL else (
            found.name.decode(), chr(found.saved), found.parameters, found.a, found.b)

    def forward(int number, const real[::1] x, real[::1] y, double a=0, double b=0):
        cdef int failed
        with nogil:
            if real is float:
                failed = fastact_forward_float(number, &x[0], &y[0], x.shape[0], a, b)
            else:
                failed = fastact_forward_double(number, &x[0], &y[0], x.shape[0], a, b)
        return failed

    def backward(int number, const real[::1] grad, const real[::1] saved, real[::1] dx, double a=0, double b=0):
        cdef int failed
        with nogil:
            if real is float:
                failed = fastact_backward_float(number, &grad[0], &saved[0], &dx[0], grad.shape[0], a, b)
            else:
                failed = fastact_backward_double(number, &grad[0], &saved[0], &dx[0], grad.shape[0], a, b)
        return failed

    def dense(int number, const real[:, ::1] x, const real[:, ::1] weight, const real[::1] bias, real[:, ::1] y,
              double a=0, double b=0):
        cdef int failed
        cdef Py_ssize_t rows = x.shape[0], inputs = x.shape[1], outputs = weight.shape[1]
        cdef const real *start = NULL if bias is None else &bias[0]
        with nogil:
            if real is float:
                failed = fastact_dense_float(
                    number, &x[0, 0], &weight[0, 0], start, &y[0, 0], rows, inputs, outputs, a, b)
            else:
                failed = fastact_dense_double(
                    number, &x[0, 0], &weight[0, 0], start, &y[0, 0], rows, inputs, outputs, a, b)
        return failed

    def no_rows(int n):
        return fastact_forward_float(0, NULL, NULL, n, 0, 0)
"""
LOADING = """
    import sys, types, ctypes
    from importlib.machinery import ExtensionFileLoader
    from importlib.util import module_from_spec, spec_from_file_location
    sys.modules["fastact"] = fake = types.ModuleType("fastact")
    if {fake}:
        words = (ctypes.c_int * 64)(*{fake})
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        fake._C_API = new(ctypes.addressof(words), b"fastact._C_API", None)
    spec = spec_from_file_location("lent", {file!r}, loader=ExtensionFileLoader("lent", {file!r}))
    try:
        spec.loader.exec_module(module_from_spec(spec))
    except ImportError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The compiled module."""
    compile_source = pytest.importorskip("Cython.Compiler.Main").compile
    from Cython.Compiler.Options import CompilationOptions

    folder = tmp_path_factory.mktemp("lent")
    source, made = folder / "lent.pyx", folder / f"lent{sysconfig.get_config_var('EXT_SUFFIX')}"
    source.write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    compile_source(str(source), CompilationOptions(include_path=[str(Path(fa.__file__).parents[1])]))
    headers = [f"-I{fa.get_include()}", f"-I{sysconfig.get_path('include')}"]
    command = ["cc", "-shared", "-fPIC", "-O0", "-Werror=implicit-function-declaration", *headers]
    subprocess.run([*command, str(source.with_suffix(".c")), "-o", str(made)], check=True)
    return made


@pytest.fixture(scope="module")
def lent(file):
    spec = spec_from_file_location("lent", file, loader=ExtensionFileLoader("lent", str(file)))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_activations_by_name(lent):
    for entry in ENTRIES:
        number = lent.number(entry.name)
        a, b = (*entry.defaults, 0.0, 0.0)[:2]
        assert lent.describe(number) == (entry.name, entry.saves or "-", len(entry.parameters), a, b)
    assert lent.number("no such thing") == -1
    assert lent.describe(-1) is None
    assert lent.describe(len(ENTRIES)) is None


def test_values_and_gradients(lent, entry, dtype):
    rng = np.random.default_rng(0)
    x, grad = (rng.normal(size=1003).astype(dtype) * 4 for _ in range(2))
    number, parameters = lent.number(entry.name), entry.defaults
    y = np.empty_like(x)
    assert lent.forward(number, x, y, *parameters) == 0
    assert_same_bits(y, getattr(fa, entry.name)(x))
    saved = y if entry.saves == "y" else x
    dx = grad.copy()
    assert lent.backward(number, dx, saved, dx, *parameters) == 0
    assert_same_bits(dx, getattr(fa, f"{entry.name}_backward")(grad, saved))


@pytest.mark.parametrize("activation", ["identity", "relu", "gelu"])
@pytest.mark.parametrize("shape", [(1, 5, 7), (64, 33, 19), (130, 300, 90)])
def test_dense(lent, dtype, activation, shape):
    rows, inputs, outputs = shape
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=s).astype(dtype) for s in ((rows, inputs), (inputs, outputs), (outputs,)))
    for given in (bias, None):
        y = np.full((rows, outputs), np.nan, dtype)
        assert lent.dense(lent.number(activation), x, weight, given, y) == 0
        assert_same_bits(y, fa.dense(x, weight, given, activation))


def test_parameters(lent):
    x = np.linspace(-3, 3, 100)
    y = np.empty_like(x)
    assert lent.forward(lent.number("hard_tanh"), x, y, -0.5, 2.0) == 0
    assert_same_bits(y, fa.hard_tanh(x, -0.5, 2.0))


def test_many_threads(lent):
    x = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(64, 50)).astype(np.float32)
    expected = fa.dense(x, weight, activation="tanh")
    number = lent.number("tanh")

    def work(_):
        y = np.empty_like(expected)
        return lent.dense(number, x, weight, None, y), y

    with ThreadPoolExecutor(4) as pool:
        for failed, y in pool.map(work, range(64)):
            assert failed == 0
            assert_same_bits(y, expected)


def test_what_is_refused(lent):
    x = np.zeros(3, np.float32)
    for number in (-1, len(ENTRIES), 2**30):
        assert lent.forward(number, x, x) == -1
        assert lent.backward(number, x, x, x) == -1
        assert lent.dense(number, x[None], np.ones((3, 1), np.float32), None, np.ones((1, 1), np.float32)) == -1
    assert lent.no_rows(-1) == -1
    assert lent.no_rows(0) == 0


@pytest.mark.parametrize(
    ("fake", "said"),
    [
        ((), "fastact has no compiled kernels here, or is too old to lend them"),
        ((2, 0), "was compiled for the interface 1.0 of fastact, which has 2.0; compile it again"),
        ((1, -1), "which has 1.-1"),
    ],
)
def test_another_fastact(file, python, fake, said):
    shown = python(LOADING.format(fake=fake, file=str(file)))
    assert said in shown.stdout, shown.stderr


def test_where_the_header_is():
    assert (Path(fa.get_include()) / "fastact.h").is_file()
    assert (Path(fa.__file__).parent / "capi.pxd").is_file()
