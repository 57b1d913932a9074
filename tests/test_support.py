"""The measure itself: a test that cannot fail is worse than none."""

import math

import exact
import numpy as np
import pytest
from support import DTYPES, WIDE, bits, near, ulp_error


@pytest.mark.parametrize("dtype", DTYPES)
def test_ulp_of_neighbours_is_one(dtype):
    info = np.finfo(dtype)
    for start in (1.5, 0.1, info.smallest_normal * 3, info.smallest_subnormal * 5, info.max / 3):
        value = dtype(start)
        following = np.nextafter(value, dtype(np.inf))
        assert ulp_error(following, WIDE[dtype](value), dtype) == 1
        assert ulp_error(value, WIDE[dtype](value), dtype) == 0
        assert ulp_error(-value, WIDE[dtype](value), dtype) >= 2


def test_ulp_of_fractions():
    third = np.float64(1) / 3
    assert 0 < ulp_error(np.float32(1) / 3, third, np.float32) < 0.5
    assert ulp_error(np.float32(0), np.float64(2.0**-149) * 0.75, np.float32) == 0.75


def test_ulp_at_overflow_and_nan():
    top = np.finfo(np.float32).max
    assert ulp_error(np.float32(np.inf), np.float64(1e300), np.float32) == 0
    assert ulp_error(top, np.float64(1e300), np.float32) == 1
    assert ulp_error(np.float32(np.inf), np.float64(top), np.float32) == 1
    assert ulp_error(-top, np.float64(1e300), np.float32) > 2**20
    assert ulp_error(top, np.float64(np.inf), np.float32) == np.inf
    assert ulp_error(np.float32(np.inf), np.float64(-np.inf), np.float32) == np.inf
    assert ulp_error(np.float32(np.nan), np.float64(1), np.float32) == np.inf
    assert ulp_error(np.float32(1), np.float64(np.nan), np.float32) == np.inf
    assert ulp_error(np.float32(np.nan), np.float64(np.nan), np.float32) == 0


def test_bits_see_zero_signs_and_ignore_nan_payloads():
    assert bits(np.array([0.0]))[0] != bits(np.array([-0.0]))[0]
    payload = np.array([0x7FC01234, 0xFFC00000], np.uint32).view(np.float32)
    assert len(set(bits(payload))) == 1


def test_near_has_neighbours_on_both_sides_and_of_both_signs():
    found = near([1.0], np.float32, 1)
    expected = [np.nextafter(np.float32(1), np.float32(0)), 1, np.nextafter(np.float32(1), np.float32(2))]
    assert sorted(found[found > 0]) == expected
    assert sorted(-found[found < 0]) == expected


@pytest.mark.parametrize("x", [-37.5, -6.25, -3.0, -1e-9, 0.0, 0.3, 2.0, 5.999, 6.001, 20.0])
def test_exact_functions_agree_with_the_standard_library(x):
    for text, expected in {
        "erfc(x)": math.erfc(x),
        "erf(x)": math.erf(x),
        "tanh(x)": math.tanh(x),
        "expm1(x)": math.expm1(x),
        "log1p(exp(x))": math.log1p(math.exp(x)),
        "2 * pi": 2 * math.pi,
        "Phi(x)": math.erfc(-x / math.sqrt(2)) / 2,
        "x if x > 0.25 else -x": abs(x) if x != 0.3 else x,
    }.items():
        assert float(exact.value(text, x=x)) == pytest.approx(expected, rel=1e-12, abs=0)


def test_exact_refuses_words():
    for text in ("x where it is fun", "u * Psi(x)"):
        with pytest.raises(exact.NotAFormulaError):
            exact.value(text, x=1.0)
