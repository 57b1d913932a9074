"""What is asked of whole arrays before they are trained on: magnitudes, and the range of class numbers."""

import numpy as np
import pytest

import fastact as fa
from fastact import backends

SIZES = (1, 3, 15, 16, 17, 63, 64, 65, 130, 8191, 8192, 8193, 100_003)
EXTREMES = np.iinfo(np.int64)


@pytest.mark.parametrize("size", SIZES)
def test_largest(engine, dtype, size):
    rng = np.random.default_rng(size)
    x = rng.standard_normal(size).astype(dtype)
    largest = backends.current().largest
    for place in {0, size // 2, size - 1, *rng.integers(size, size=3).tolist()}:
        for value in (-1e3, 2e30, -np.inf, np.inf, -np.nan, np.nan):
            changed = x.copy()
            changed[place] = value
            assert str(largest(changed)) == str(abs(float(changed[place])))
        changed[(place + size // 3) % size] = np.inf
        changed[place] = np.nan
        assert np.isnan(largest(changed))
    assert largest(x) == max(abs(float(value)) for value in x)


def test_largest_of_little(engine, dtype):
    largest, tiny = backends.current().largest, np.finfo(dtype).smallest_subnormal
    assert largest(np.empty((0, 3), dtype)) == 0
    assert str(largest(np.full((2, 3), -0.0, dtype))) == "0.0"
    assert largest(np.array([[0, -tiny], [0, 0]], dtype)) == tiny


def test_largest_with_threads(backend, dtype):
    x = np.random.default_rng(1).standard_normal(1_000_003).astype(dtype)
    x[700_000] = -9
    with fa.num_threads(2):
        assert backends.current().largest(x) == 9
        x[[3, 999_999]] = np.nan, np.inf
        assert np.isnan(backends.current().largest(x))


@pytest.mark.parametrize(
    ("labels", "ignored", "expected"),
    [
        ([], 0, (0, EXTREMES.max, EXTREMES.min)),
        ([-100, -100], -100, (0, EXTREMES.max, EXTREMES.min)),
        ([3], -100, (1, 3, 3)),
        ([3, -100, 7, 5], -100, (3, 3, 7)),
        ([3, -100, 7, 5], 7, (3, -100, 5)),
        ([EXTREMES.max, 0, EXTREMES.min], -100, (3, EXTREMES.min, EXTREMES.max)),
    ],
)
def test_label_range(backend, labels, ignored, expected):
    assert backends.current().label_range(np.array(labels, np.int64), ignored) == expected
