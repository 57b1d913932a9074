"""Batches of arrays: every row once an epoch, in memory that is reused."""

import numpy as np
import pytest

from fastact.data.batches import ArrayBatches

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
