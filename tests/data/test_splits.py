"""Rows held out: how many of each class, and which."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastact.data.splits import held_out


@given(st.lists(st.integers(0, 4), min_size=2, max_size=200), st.floats(0.01, 0.99), st.integers(0, 5))
def test_shares_of_classes(labels, fraction, seed):
    """Within one of the exact share; every class that has two rows keeps one; all rows are on one side."""
    labels = np.array(labels)
    count = round(fraction * len(labels))
    chosen, rest = held_out(len(labels), count, np.random.default_rng(seed), labels)
    assert len(chosen) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([chosen, rest])), np.arange(len(labels)))
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(rest) > 0).all()
    sizes = np.bincount(labels, minlength=5)
    got = np.bincount(labels[chosen], minlength=5)
    if count <= np.maximum(sizes - 1, 0).sum() and (sizes[sizes > 0] > 1 / (1 - fraction)).all():
        assert (np.abs(got - sizes * count / len(labels)) < 1 + 1e-9).all()
        assert (got[sizes > 0] < sizes[sizes > 0]).all()


def test_shares_are_exact_where_they_can_be():
    labels = np.repeat([3, 7, 9], [50, 30, 20])
    chosen, _ = held_out(100, 20, np.random.default_rng(0), labels)
    np.testing.assert_array_equal(np.bincount(labels[chosen])[[3, 7, 9]], [10, 6, 4])


def test_every_row_of_a_class_is_as_likely():
    labels = np.repeat([0, 1], [6, 4])
    rng = np.random.default_rng(1)
    often = np.zeros(10)
    for _ in range(2000):
        often[held_out(10, 5, rng, labels)[0]] += 1
    np.testing.assert_allclose(often, 1000, atol=110)  # five deviations


@pytest.mark.parametrize("strata", [None, np.arange(12)])
def test_without_classes_any_rows(strata):
    first = held_out(12, 4, np.random.default_rng(2), strata)
    np.testing.assert_array_equal(first[0], held_out(12, 4, np.random.default_rng(2))[0])
    assert len(first[0]) == 4
