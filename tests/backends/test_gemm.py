"""The matrix product under the dense layers: right for every tile, panel and special kernel, whatever lies around."""

import itertools

import numpy as np
import pytest
import support
from numpy.testing import assert_array_equal

import fastact as fa

# Around every tile height (1..8), the rows from which a panel is packed (48), and a block of rows (192).
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 47, 48, 53, 191, 193, 400)
# Around the lanes of every instruction set, panels of two and four vectors, and the number of panels.
COLUMNS = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97, 130)
# Around unrolled steps and around chunks of K (384 or 512).
DEPTHS = (0, 1, 2, 7, 8, 9, 31, 64, 65, 193, 385, 513, 1100)


def operands(m, k, n, dtype, seed=0):
    rng = np.random.default_rng((seed, m, k, n))
    x = rng.standard_normal((m, k)).astype(dtype)
    weight = (rng.standard_normal((k, n)) / max(k, 1) ** 0.5).astype(dtype)
    return x, weight, rng.standard_normal(n).astype(dtype)


def exact_product(a, b):
    """The product and its error bound for one unit roundoff a step: |a| @ |b| * (K + 2) * eps / 2, doubled."""
    wide = support.WIDE[a.dtype.type]
    if wide is np.longdouble:  # NumPy multiplies these in a slow loop: a matrix product of them is even slower
        columns = [a.astype(wide) @ column for column in b.T.astype(wide)]
        product = np.array(columns, wide).reshape(b.shape[1], a.shape[0]).T
    else:
        product = a.astype(wide) @ b.astype(wide)
    bound = (np.abs(a) @ np.abs(b)).astype(wide) * (a.shape[1] + 2) * np.finfo(a.dtype).eps
    return product, bound


def check(m, k, n, dtype):
    x, weight, bias = operands(m, k, n, dtype)
    product, bound = exact_product(x, weight)
    y, saved = fa.dense_forward(x, weight)
    assert (np.abs(y - product) <= bound).all()
    z = fa.dense(x, weight, bias)
    assert_array_equal(z, y + bias)  # the bias is added to the finished sum
    grad = operands(m, n, 1, dtype, 1)[0].reshape(m, n)
    dx, dw, db, dparam = fa.dense_backward(grad, saved, x, weight)
    for got, a, b in ((dw, x.T, grad), (dx, grad, weight.T)):
        product, bound = exact_product(a, b)
        assert (np.abs(got - product) <= bound).all()
    total = grad.astype(support.WIDE[dtype]).sum(axis=0)
    assert (np.abs(db - total) <= np.abs(grad).sum(axis=0) * (m + 2) * np.finfo(dtype).eps).all()
    assert dparam is None


@pytest.mark.parametrize("m", ROWS)
def test_every_remainder_of_rows_and_columns(engine, m):
    for n in COLUMNS:
        check(m, 19, n, np.float32)


@pytest.mark.parametrize("k", DEPTHS)
def test_every_depth(engine, dtype, k):
    for m, n in ((1, 1), (1, 70), (5, 1), (6, 16), (9, 10), (50, 33), (200, 21), (200, 1)):
        check(m, k, n, dtype)


@pytest.mark.parametrize(("m", "n"), [(1, 5), (7, 3), (8, 8), (13, 33), (60, 17), (210, 50)])
def test_float64(engine, m, n):
    check(m, 301, n, np.float64)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(0, 5, 3), (0, 0, 0), (4, 0, 3), (4, 3, 0), (0, 4, 1), (1, 0, 1), (1, 0, 20), (300, 0, 7)]
)
def test_empty(engine, dtype, m, k, n):
    x, weight, bias = operands(m, k, n, dtype)
    y, saved = fa.dense_forward(x, weight, bias, "relu")
    assert_array_equal(y, np.maximum(np.broadcast_to(x @ weight + bias, (m, n)), 0))
    dx, dw, db, _ = fa.dense_backward(np.ones((m, n), dtype), saved, x, weight)
    assert dx.shape == x.shape
    assert_array_equal(dw, x.T @ (y > 0).astype(dtype))
    assert_array_equal(db, (y > 0).sum(axis=0))


def layouts(matrix):
    """The same values with other strides."""
    rows, columns = matrix.shape
    yield "fortran", np.asfortranarray(matrix)
    wide = np.full((rows, columns + 7), np.nan, matrix.dtype)
    wide[:, 3 : 3 + columns] = matrix
    yield "sliced", wide[:, 3 : 3 + columns]
    tall = np.full((columns + 5, rows), np.nan, matrix.dtype)
    tall[2 : 2 + columns] = matrix.T
    yield "transposed slice", tall[2 : 2 + columns].T
    steps = np.full((2 * rows, 3 * columns), np.nan, matrix.dtype)
    steps[::2, ::3] = matrix
    yield "every third", steps[::2, ::3]
    yield "reversed", matrix[::-1, ::-1].copy()[::-1, ::-1]
    yield "swapped bytes", matrix.astype(matrix.dtype.newbyteorder())
    raw = np.zeros(matrix.nbytes + 1, np.uint8)[1:].view(matrix.dtype)
    raw[...] = matrix.ravel()
    yield "misaligned", raw.reshape(matrix.shape)


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 40, 1), (1, 40, 37), (5, 40, 1), (5, 1100, 1), (7, 600, 10), (50, 40, 37), (250, 40, 70), (250, 33, 1)],
)
def test_layout_does_not_change_bits(engine, dtype, m, k, n):
    if engine == "numpy":
        pytest.skip("BLAS promises no bits")
    x, weight, bias = operands(m, k, n, dtype)
    y, saved = fa.dense_forward(x, weight, bias, "tanh")
    grad = np.ones_like(y)
    expected = fa.dense_backward(grad, saved, x, weight)
    for (_, a), (_, b) in itertools.product(layouts(x), layouts(weight)):
        assert_array_equal(fa.dense(a, b, bias, "tanh"), y)
    for (_, a), (_, b) in zip(layouts(x), layouts(weight), strict=True):
        for got, wanted in zip(fa.dense_backward(grad, saved, a, b)[:3], expected[:3], strict=True):
            assert_array_equal(got, wanted)


@pytest.mark.parametrize("junk", [np.nan, np.inf])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 17, 1), (1, 17, 5), (3, 17, 33), (50, 17, 10), (200, 19, 37)])
def test_junk_beside_the_operands_stays_out(engine, dtype, junk, m, k, n):
    x, weight, bias = operands(m, k, n, dtype)
    y, saved = fa.dense_forward(x, weight, bias, "sigmoid")
    grad = operands(m, n, 1, dtype)[0]
    expected = fa.dense_backward(grad, saved, x, weight)

    def framed(array):
        shape = tuple(length + 4 for length in array.shape)
        frame = np.full(shape, junk, dtype)
        inner = frame[tuple(slice(2, -2) for _ in shape)]
        inner[...] = array
        return frame, inner

    xs, ws = framed(x)[1], framed(weight)[1]
    around, out = framed(y)
    around_w, out_w = framed(weight)
    around_b, out_b = framed(bias)
    assert fa.dense(xs, ws, framed(bias)[1], "sigmoid", out=out) is out
    got = fa.dense_backward(framed(grad)[1], saved, xs, ws, out_weight=out_w, out_bias=out_b)
    for a, b in ((out, y), (out_w, expected.dw), (out_b, expected.db), (got.dx, expected.dx)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        if engine != "numpy":
            assert_array_equal(a, b)
    for frame, inside in ((around, y), (around_w, weight), (around_b, bias)):
        assert np.isfinite(frame).sum() == inside.size


@pytest.mark.parametrize(("m", "k", "n"), [(1, 9, 1), (1, 9, 40), (9, 9, 1), (9, 20, 10), (60, 20, 40), (200, 9, 70)])
def test_nan_and_infinity_go_where_they_belong(engine, dtype, m, k, n):
    x, weight, bias = operands(m, k, n, dtype)
    x[m // 2, k // 2] = np.nan
    y = fa.dense(x, weight, bias)
    assert np.isnan(y[m // 2]).all()
    assert np.isfinite(np.delete(y, m // 2, axis=0)).all()
    x[m // 2, k // 2] = np.inf
    weight[k // 2] = np.abs(weight[k // 2]) + 1
    assert (fa.dense(x, weight, bias)[m // 2] == np.inf).all()


# --------------------------------------------------------------------------------------- a row's bits are its own


BATCHES = (*range(1, 41), 47, 48, 64, 100, 193, 257)


@pytest.mark.parametrize("n", [1, 2, 9, 10, 16, 17, 33, 64, 70, 130])
def test_batch_does_not_change_a_row(instruction_set, dtype, n):
    for k in (30, 700):
        x, weight, bias = operands(700, k, n, dtype)
        whole, saved = fa.dense_forward(x, weight, bias, "tanh")
        assert np.abs(whole).max() < 1  # not saturated
        grad = operands(700, n, 1, dtype, 1)[0].reshape(700, n)
        dx = fa.dense_backward(grad, saved, x, weight).dx
        start = 211
        for m in BATCHES:
            part = slice(start, start + m)
            y, kept = fa.dense_forward(x[part], weight, bias, "tanh")
            assert_array_equal(y, whole[part])
            assert_array_equal(fa.dense_backward(grad[part], kept, x[part], weight).dx, dx[part])
        assert_array_equal(fa.dense(x[start], weight, bias, "tanh"), whole[start])


@pytest.mark.parametrize("n", [1, 10, 64, 150])
def test_threads_do_not_change_bits(instruction_set, dtype, everything_shared, n):
    for m, k in (*itertools.product((1, 2, 20, 47, 100, 193, 500), (3, 700)), (2500, 3)):
        x, weight, bias = operands(m, k, n, dtype)
        expected = None
        for threads in (1, 2, 3, 4):
            with fa.num_threads(threads):
                y, saved = fa.dense_forward(x, weight, bias, "sigmoid")
                got = (y, *fa.dense_backward(y, saved, x, weight)[:3])
            expected = got if expected is None else expected
            for a, b in zip(got, expected, strict=True):
                assert_array_equal(a, b)
