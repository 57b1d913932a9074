"""The list of activations, the compiled list and the public names are one list."""

import inspect

import exact
import numpy as np
import pytest
from support import ENTRIES, INSTRUCTION_SETS, evaluated, kinks, parameter_sets, saved_by, using_instruction_set

import fastact as fa
from fastact import functional, registry, runtime


@pytest.mark.skipif(runtime._core is None, reason="no compiled core")
def test_compiled_list_equals_registry():
    compiled = runtime._core.activation_names()
    assert len(compiled) == len(set(compiled))
    assert compiled == list(registry.ACTIVATIONS)  # a name's place is its kernel's number
    assert compiled == list(runtime.KERNEL_NUMBERS)


@pytest.mark.skipif(runtime._core is None, reason="no compiled core")
def test_every_instruction_set_has_the_same_list():
    lists = []
    for name in INSTRUCTION_SETS:
        with using_instruction_set(name):
            lists.append(runtime._core.activation_names())
    assert all(names == lists[0] for names in lists)


def test_names_are_keys(entry):
    assert registry.ACTIVATIONS[entry.name] is entry
    assert entry.name.isidentifier()
    assert entry.name == entry.name.lower()


def test_fields(entry):
    assert entry.saves in ("x", "y", None)
    assert entry.saved_name in ("x", "y")
    assert entry.cost in runtime.THRESHOLDS
    assert len(entry.parameters) <= 2
    assert all(p.accepts(p.default) for p in entry.parameters)
    for dtype in (np.float32, np.float64):
        assert 0 <= entry.ulp_bound(dtype) <= 4
    for values in parameter_sets(entry):
        assert all(isinstance(kink, float) for kink in kinks(entry, values))
        low, high = (evaluated(limit, entry, values) for limit in entry.limits)
        assert not np.isnan([low, high]).any()
    assert bool(entry.kinks) == bool(entry.at_kink)


def test_formulas_are_expressions(entry):
    """What the documentation shows can be computed: see exact.py for the names that a formula may use."""
    named = {p.name: p.default for p in entry.parameters}
    assert exact.value(entry.formula, x=0.75, **named).is_finite()
    assert exact.value(entry.slope_formula, **{entry.saved_name: 0.75}, **named).is_finite()


def test_formulas_keep_dtype_and_shape(entry):
    for dtype in (np.float32, np.float64, np.longdouble):
        x = np.linspace(-4, 4, 24, dtype=dtype).reshape(2, 3, 4)
        y = registry.value(entry, x, entry.defaults)
        assert y.dtype == dtype
        assert y.shape == x.shape
        slope = registry.slope(entry, saved_by(entry, x, y), entry.defaults)
        assert slope.dtype == dtype
        assert slope.shape == x.shape


def test_functions_exist_with_the_registered_signature(entry):
    keywords = {"out": None}
    defaults = {p.name: p.default for p in entry.parameters}
    for name, arrays in ((entry.name, ["x"]), (f"{entry.name}_backward", ["grad", entry.saved_name])):
        function = getattr(functional, name)
        parameters = inspect.signature(function).parameters
        # A function may have a choice of its own beside the registry's numbers (gelu's approximate).
        registered = [n for n in parameters if n in (*arrays, *defaults, *keywords)]
        assert registered == [*arrays, *defaults, *keywords]
        assert list(parameters)[: len(arrays)] == arrays
        assert all(p.default is not p.empty for n, p in parameters.items() if n not in arrays)
        assert {n: p.default for n, p in parameters.items() if n in defaults} == defaults
        assert parameters["out"].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters["out"].default is None
        assert function.__name__ == name
        assert function.__module__ == functional.__name__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_approximate_is_another_activation(dtype):
    x, grad = np.linspace(-4, 4, 33, dtype=dtype), np.linspace(1, 2, 33, dtype=dtype)
    assert not np.array_equal(fa.gelu(x), fa.gelu_tanh(x))
    out = np.empty_like(x)
    assert fa.gelu(x, approximate="tanh", out=out) is out
    np.testing.assert_array_equal(out, fa.gelu_tanh(x))
    np.testing.assert_array_equal(fa.gelu(x, approximate="none"), fa.gelu(x))
    np.testing.assert_array_equal(fa.gelu_backward(grad, x, approximate="tanh"), fa.gelu_tanh_backward(grad, x))
    np.testing.assert_array_equal(fa.gelu_backward(grad, x, approximate="none"), fa.gelu_backward(grad, x))
    assert fa.activation("gelu", approximate="tanh") == fa.activation("gelu_tanh")
    assert fa.activation("gelu", approximate="none") == fa.activation("gelu")


def test_approximate_refuses():
    x = np.ones(3, np.float32)
    calls = {
        "gelu": lambda: fa.gelu(x, approximate="erf"),
        "gelu_backward": lambda: fa.gelu_backward(x, x, approximate=True),
        "activation": lambda: fa.activation("gelu", approximate="Tanh"),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"^{name}.*expected approximate to be one of none, tanh, got"):
            call()
    with pytest.raises(TypeError, match="relu has no parameter 'approximate'"):
        fa.activation("relu", approximate="tanh")
    with pytest.raises(TypeError):
        fa.gelu(x, "tanh")


def test_relu_squared_of_numpy_does_not_overflow_before_the_gradient_does():
    x, grad = np.array([3e38], np.float32), np.array([0.25], np.float32)
    with fa.use_backend("numpy"):
        expected = fa.relu_squared_backward(grad, x)
    np.testing.assert_array_equal(expected, np.float32(0.5) * x)
    np.testing.assert_array_equal(fa.relu_squared_backward(grad, x), expected)


def test_docstrings_say_what_matters(entry):
    forward, backward = (getattr(functional, n).__doc__ for n in (entry.name, f"{entry.name}_backward"))
    assert entry.formula in forward
    assert entry.slope_formula in backward
    for document in (forward, backward):
        for section in ("Parameters", "Returns", "Raises", "out :"):
            assert section in document
        for p in entry.parameters:
            assert f"{p.name} : float, default {p.default:g}" in document
    for limit in entry.limits:
        assert limit in forward
    if entry.kinks:
        assert entry.at_kink in backward


def test_public_names():
    assert fa.__all__ == sorted(set(fa.__all__))
    for name in fa.__all__:
        value = getattr(fa, name)
        assert callable(value) is not name.startswith("__") or inspect.ismodule(value)
    for entry in ENTRIES:
        assert entry.name in fa.__all__
        assert f"{entry.name}_backward" in fa.__all__
    assert fa.__version__


def test_public_functions_are_documented():
    for name in fa.__all__:
        if not name.startswith("__"):
            assert inspect.getdoc(getattr(fa, name)), name


def test_star_import_gives_exactly_all():
    namespace = {}
    exec("from fastact import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(fa.__all__)
