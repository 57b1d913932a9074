"""An activation's own parameters: ranges, types, positions, rounding."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from support import ENTRIES, assert_same_bits, backward, forward, parameter_sets, saved_by

import fastact as fa
from fastact import functional

PARAMETERS = [(entry, p) for entry in ENTRIES for p in entry.parameters]
each_parameter = pytest.mark.parametrize(
    ("entry", "parameter"), PARAMETERS, ids=[f"{entry.name}-{p.name}" for entry, p in PARAMETERS]
)
X = np.linspace(-3, 3, 401)


def calls(entry, **keywords):
    """Forward, backward and the bound activation with these parameters, by name of the function."""
    return {
        entry.name: lambda: getattr(functional, entry.name)(X, **keywords),
        f"{entry.name}_backward": lambda: getattr(functional, f"{entry.name}_backward")(X, X, **keywords),
        "activation": lambda: fa.activation(entry.name, **keywords),
    }


@each_parameter
def test_out_of_range(entry, parameter):
    wrong = [np.nan, np.inf, -np.inf]
    if parameter.low > -np.inf:
        wrong.append(np.nextafter(parameter.low, -np.inf) if parameter.low_included else parameter.low)
    for value in wrong:
        for name, call in calls(entry, **{parameter.name: value}).items():
            with pytest.raises(
                ValueError, match=rf"^{name}.*expected {parameter.name} to be a finite number"
            ) as caught:
                call()
            assert repr(float(value)) in str(caught.value)


@each_parameter
def test_wrong_type(entry, parameter):
    for value in ("0.5", None, True, [0.5], np.array([0.5]), 1j):
        for name, call in calls(entry, **{parameter.name: value}).items():
            with pytest.raises(TypeError, match=rf"^{name}.*expected {parameter.name} to be"):
                call()


@each_parameter
def test_nothing_is_written_when_a_parameter_is_wrong(entry, parameter):
    out = np.full_like(X, 7)
    with pytest.raises(ValueError, match=parameter.name):
        getattr(functional, entry.name)(X, **{parameter.name: np.nan}, out=out)
    assert np.all(out == 7)


@each_parameter
def test_number_types(entry, parameter):
    default = parameter.default
    position = entry.parameters.index(parameter)
    expected = forward(entry, X)
    for value in (float(str(default)), np.float64(default), Fraction(default)):
        assert_same_bits(getattr(functional, entry.name)(X, **{parameter.name: value}), expected)
    if default == int(default):
        assert_same_bits(getattr(functional, entry.name)(X, **{parameter.name: int(default)}), expected)
    with pytest.raises(TypeError, match=parameter.name):
        getattr(functional, entry.name)(X, *entry.defaults[:position], Decimal(str(default)))


def test_position_and_keyword_are_the_same(entry, dtype, backend):
    x = X.astype(dtype)
    for values in parameter_sets(entry):
        y = forward(entry, x, values)
        assert_same_bits(getattr(functional, entry.name)(x, *values), y)
        saved = saved_by(entry, x, y)
        dx = backward(entry, x, saved, values)
        assert_same_bits(getattr(functional, f"{entry.name}_backward")(x, saved, *values), dx)
    assert_same_bits(forward(entry, x), forward(entry, x, entry.defaults))


@each_parameter
def test_a_parameter_is_rounded_to_the_dtype(entry, parameter):
    x = X.astype(np.float32)
    value = parameter.default * 1.5 + 0.1
    values = tuple(value if p is parameter else p.default for p in entry.parameters)
    rounded = tuple(float(np.float32(v)) for v in values)
    assert_same_bits(forward(entry, x, values), forward(entry, x, rounded))


@each_parameter
def test_every_parameter_matters(entry, parameter):
    changed = tuple(p.default * 0.5 + 0.125 if p is parameter else p.default for p in entry.parameters)
    y, other = forward(entry, X), forward(entry, X, changed)
    assert not np.array_equal(y, other)


def test_unknown_parameter(entry):
    with pytest.raises(TypeError, match="slope_of_nothing"):
        getattr(functional, entry.name)(X, slope_of_nothing=1)
    with pytest.raises(TypeError, match=f"^activation.*{entry.name} has no parameter 'slope_of_nothing'; it takes"):
        fa.activation(entry.name, slope_of_nothing=1)


def test_bound_activation(entry):
    bound = fa.activation(entry.name)
    assert bound.name == str(bound) == entry.name
    assert bound.parameters == {p.name: p.default for p in entry.parameters}
    assert bound == fa.activation(entry.name)
    for p in entry.parameters:
        value = p.default * 0.5 + 0.125
        changed = fa.activation(entry.name, **{p.name: value})
        assert changed != bound
        assert changed.parameters[p.name] == value
        assert str(changed) == f"{entry.name}({p.name}={value:g})"


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"^activation: unknown activation 'relo'; known: .*relu") as caught:
        fa.activation("relo")
    assert all(entry.name in str(caught.value) for entry in ENTRIES)
    with pytest.raises(TypeError, match=r"^activation: expected activation to be a name"):
        fa.activation(3)
