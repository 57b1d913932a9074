"""Batches of arrays: every row once an epoch, in memory that is reused."""

import numpy as np
import pytest

from fastact.data.batches import ArrayBatches, Selected

X = np.arange(46, dtype=np.float32).reshape(23, 2)
Y = np.arange(23)
WEIGHTS = np.linspace(0, 3, 23)


def batches(size=10, shuffle=True, sample_weight=None, row_weights=None, seed=0):
    return ArrayBatches(X, Y, sample_weight, row_weights, size, np.random.default_rng(seed) if shuffle else None)


@pytest.mark.parametrize(
    ("size", "sizes", "steps"),
    [(1, {1}, 23), (10, {10, 3}, 3), (22, {22, 1}, 2), (23, {23}, 1), (24, {23}, 1), (10**9, {23}, 1)],
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_once(size, sizes, steps, shuffle):
    made = batches(size, shuffle)
    assert (made.rows, set(made.sizes), made.steps) == (23, sizes, steps)
    generator, orders = np.random.default_rng(0), []
    for _ in range(2):
        rows, found = [], list[int]()
        for x, y, sample_weight, weight in made.epoch():
            assert sample_weight is None
            assert weight == len(x) == len(y)
            assert (x == X[y]).all()
            rows.append(len(y))
            found += y.tolist()
        assert found == (generator.permutation(23) if shuffle else Y).tolist()
        assert set(rows) == sizes
        assert len(rows) == steps
        orders.append(found)
    assert (orders[0] != orders[1]) == shuffle


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("sample_weight", [None, WEIGHTS[::-1].copy()])
def test_weights_go_along(shuffle, sample_weight):
    for _, y, given, weight in batches(10, shuffle, sample_weight, WEIGHTS).epoch():
        assert weight == pytest.approx(WEIGHTS[y].sum())
        if sample_weight is None:
            assert given is None
        else:
            assert (given == sample_weight[y]).all()


def test_memory_is_reused_and_the_data_are_views():
    made = batches(10, True, WEIGHTS, WEIGHTS)
    places = [[tuple(a.ctypes.data for a in batch[:3]) for batch in made.epoch()] for _ in range(2)]
    assert places[0] == places[1]
    assert len(set(places[0])) == 2  # whole batches share theirs, the short one has its own
    for x, y, sample_weight, _ in batches(10, False, WEIGHTS, WEIGHTS).epoch():
        assert all(np.shares_memory(*pair) for pair in ((x, X), (y, Y), (sample_weight, WEIGHTS)))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("size", [3, 4, 100])
def test_some_rows_of_an_array_are_batched_as_their_copy(size, shuffle):
    rows = np.array([1, 2, 5, 8, 9, 14, 22])
    given = [
        ArrayBatches(
            x, Y[rows], WEIGHTS[rows], WEIGHTS[rows], size, np.random.default_rng(3) if shuffle else None
        )
        for x in (Selected(X, rows), X[rows])
    ]  # fmt: skip
    assert given[0].rows == 7
    for _ in range(2):
        for some, copied in zip(given[0].epoch(), given[1].epoch(), strict=True):
            for one, other in zip(some, copied, strict=True):
                np.testing.assert_array_equal(one, other)


def test_some_rows_as_an_array():
    some = Selected(X, np.array([4, 0, 22]))
    assert (len(some), some.shape, some.dtype) == (3, (3, 2), np.float32)
    np.testing.assert_array_equal(some[1:], X[[0, 22]])
    np.testing.assert_array_equal(np.asarray(some, np.float64), X[[4, 0, 22]])
    with pytest.raises(ValueError, match="is a copy"):
        np.asarray(some, copy=False)
