"""prelu, swish, softmax, log_softmax, maxout and masked ReLU against NumPy written out in float64."""

import numpy as np
import pytest

import fastact as fa
from fastact import backends, runtime

SETS = [name for name, supported in (backends.engine.instruction_sets()) if supported]
SHAPES = [
    (1,),
    (3,),
    (33,),
    (5, 1),
    (7, 2),
    (17, 10),
    (40, 31),
    (9, 32),
    (6, 33),
    (3, 130),
    (2, 3, 5),
    (300, 37),
    (150, 95),
    (2, 9000),
]


@pytest.fixture(params=[*SETS, "numpy"], autouse=True)
def engine(request):
    if request.param == "numpy":
        with fa.use_backend("numpy"):
            yield "numpy"
        return
    backends.engine.use_instruction_set(request.param)
    yield request.param
    backends.engine.use_instruction_set(runtime.instruction_set)


@pytest.fixture(params=[np.float32, np.float64])
def dtype(request):
    return request.param


def numbers(shape, dtype, seed=0, scale=2.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def logistic(x):
    return 0.5 * (1 + np.tanh(x / 2))


def close(got, expected, dtype, factor=16.0):
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(got, expected, rtol=factor * eps, atol=factor * eps)


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(shape, dtype):
    x, g = numbers(shape, dtype), numbers(shape, dtype, 1)
    wide = x.astype(np.float64)
    p = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
    y = fa.softmax(x)
    assert y.dtype == dtype
    assert y.shape == x.shape
    close(y, p, dtype)
    close(fa.log_softmax(x), np.log(p), dtype, 32)
    dx = fa.softmax_backward(g, y)
    y64, g64 = y.astype(np.float64), g.astype(np.float64)
    close(dx, y64 * (g64 - (g64 * y64).sum(-1, keepdims=True)), dtype, 64)
    z = fa.log_softmax(x)
    expected = g64 - np.exp(z.astype(np.float64)) * g64.sum(-1, keepdims=True)
    np.testing.assert_allclose(fa.log_softmax_backward(g, z), expected, rtol=0, atol=2e3 * np.finfo(dtype).eps)


@pytest.mark.parametrize("function", [fa.softmax, fa.log_softmax])
@pytest.mark.parametrize("columns", [3, 10, 32, 33, 200])
def test_a_row_has_the_same_bits_anywhere(function, columns, dtype):
    x = numbers((70, columns), dtype)
    together = function(x)
    for i in (0, 1, 17, 69):
        np.testing.assert_array_equal(function(x[i]), together[i])
    for threads in (1, 2, 3):
        with fa.num_threads(threads):
            np.testing.assert_array_equal(function(np.tile(x, (40, 1))), np.tile(together, (40, 1)))
    np.testing.assert_array_equal(function(x[::2]), together[::2])
    np.testing.assert_array_equal(function(np.asfortranarray(x)), together)
    inside = x.copy()
    assert function(inside, out=inside) is inside
    np.testing.assert_array_equal(inside, together)


@pytest.mark.parametrize("function", [fa.softmax, fa.log_softmax])
@pytest.mark.parametrize("columns", [10, 32, 33, 500, 1100])
def test_long_arrays_of_rows(function, columns, dtype, engine):
    """Where kernels ask for memory ahead, in both threads here (FA_FAR), rows have the bits they have alone."""
    if engine == "numpy":
        pytest.skip("has no threads")
    backward = getattr(fa, f"{function.__name__}_backward")
    x, g = numbers((7, columns), dtype), numbers((7, columns), dtype, 1)
    y = function(x)
    dx = backward(g, y)
    count = 2 * 140_000 // columns | 1
    rows = np.arange(count) % 7
    frame = np.full((count + 2, columns), 7, dtype)
    out = frame[1:-1]
    with fa.num_threads(2):
        assert np.array_equal(function(x[rows], out=out), y[rows])
        out[...] = x[rows]
        assert np.array_equal(function(out, out=out), y[rows])
        assert np.array_equal(backward(g[rows], y[rows], out=out), dx[rows])
        out[...] = g[rows]
        assert np.array_equal(backward(out, y[rows], out=out), dx[rows])
    assert np.all(frame[[0, -1]] == 7)


@pytest.mark.parametrize("columns", [4, 40])
def test_special_rows_of_softmax(columns, dtype):
    x = numbers((6, columns), dtype)
    x[0, 1] = -np.inf
    x[1, 2] = np.inf
    x[2, 3] = np.nan
    x[3] = -np.inf
    x[4] = 1e30
    x[5, 0] = 88 if dtype == np.float32 else 700
    y, z = fa.softmax(x), fa.log_softmax(x)
    assert y[0, 1] == 0
    assert z[0, 1] == -np.inf
    assert np.isfinite(np.delete(z[0], 1)).all()
    for row in (1, 2, 3):
        assert np.isnan(y[row]).any()
        assert np.isnan(z[row]).any()
    assert np.isnan(y[2]).all()
    assert np.isnan(y[3]).all()
    close(y[4], np.full(columns, 1 / columns), dtype)
    assert y[5, 0] == 1


@pytest.mark.parametrize("columns", [2, 5, 16, 31, 33, 70])
def test_the_largest_may_be_anywhere(columns, dtype):
    """Logits of which the exponential overflows, in every column."""
    x = np.where(np.eye(columns, dtype=bool), 5000, 0).astype(dtype)
    np.testing.assert_array_equal(fa.softmax(x), np.eye(columns))
    np.testing.assert_array_equal(fa.log_softmax(x), x - dtype(5000))


@pytest.mark.parametrize("columns", [5, 50])
def test_log_softmax_far_from_zero(columns, dtype):
    """The logarithm of the sum is taken from the difference to the largest, not added to the largest."""
    x = numbers((20, columns), dtype) + dtype(1e6)
    wide = x.astype(np.longdouble) - 1_000_000
    close(fa.log_softmax(x), wide - np.log(np.exp(wide).sum(-1, keepdims=True)), dtype, 32)


@pytest.mark.parametrize("function", [fa.softmax, fa.log_softmax])
def test_softmax_refuses(function):
    with pytest.raises(TypeError, match=f"{function.__name__}: expected float32 or float64, got int64"):
        function(np.arange(3))
    with pytest.raises(ValueError, match="at least one dimension"):
        function(np.float32(3))
    x = np.ones((4, 5), np.float32)
    with pytest.raises(ValueError, match="shape"):
        function(x, out=np.ones((5, 4), np.float32))
    buffer = np.ones(25, np.float32)
    with pytest.raises(ValueError, match="overlaps"):
        function(buffer[:20].reshape(4, 5), out=buffer[5:].reshape(4, 5))
    assert (buffer == 1).all()
    assert function(np.empty((0, 4))).shape == (0, 4)
    assert function(np.empty((4, 0))).shape == (4, 0)


PRELU = (fa.prelu, fa.prelu_backward)
SWISH = (fa.swish, fa.swish_backward)


def prelu_formula(x, w):
    return np.where(x > 0, x, w * x), np.where(x > 0, 1, w), np.where(x > 0, 0, x)


def swish_formula(x, w):
    s, rest = logistic(w * x), logistic(-w * x)
    return x * s, s * (1 + w * x * rest), x * x * s * rest


@pytest.mark.parametrize(
    ("functions", "formula"), [(PRELU, prelu_formula), (SWISH, swish_formula)], ids=["prelu", "swish"]
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["number", "one", "channels"])
def test_learned(functions, formula, shape, kind, dtype):
    forward, backward = functions
    x, g = numbers(shape, dtype), numbers(shape, dtype, 1)
    channels = numbers(shape[-1], dtype, 2, 0.7)
    weight = {"number": 0.3, "one": np.array([0.3], dtype), "channels": channels}[kind]
    wide = np.asarray(weight, dtype).astype(np.float64)
    value, slope, weight_slope = formula(x.astype(np.float64), wide)
    close(forward(x, weight), value, dtype)
    dx, dw = backward(g, x, weight)
    close(dx, g * slope, dtype, 64)
    terms = g.astype(np.float64) * weight_slope
    axes = tuple(range(x.ndim - 1)) if kind == "channels" and channels.size > 1 else None
    size = np.abs(terms).sum(axis=axes)
    assert dw.shape == np.shape(weight)
    assert (np.abs(dw - terms.sum(axis=axes)) <= 64 * np.finfo(dtype).eps * (size + 1)).all()
    for threads in (2, 3):
        with fa.num_threads(threads):
            again = backward(g, x, weight)
            np.testing.assert_array_equal(again[0], dx)
            np.testing.assert_array_equal(again[1], dw)
    into, out_weight = g.copy(), np.empty_like(dw)
    named = {f"out_{'weight' if forward is fa.prelu else 'beta'}": out_weight}
    assert backward(into, x, weight, out=into, **named)[0] is into
    np.testing.assert_array_equal(into, dx)
    np.testing.assert_array_equal(out_weight, dw)
    y = x.copy()
    assert forward(y, weight, out=y) is y


@pytest.mark.parametrize("functions", [PRELU, SWISH], ids=["prelu", "swish"])
def test_learned_special_values(functions, dtype):
    forward, backward = functions
    for position in (0, 5, 36):
        x, g = numbers(37, dtype), np.ones(37, dtype)
        x[position] = np.nan
        assert np.isnan(forward(x, 0.5)[position])
        dx, dw = backward(g, x, 0.5)
        assert np.isnan(dx[position])
        assert np.isnan(dw)
        assert np.isfinite(np.delete(dx, position)).all()
    infinite = np.array([-np.inf, np.inf], dtype)
    np.testing.assert_array_equal(forward(infinite, 0.5), [0 if forward is fa.swish else -np.inf, np.inf])
    if forward is fa.prelu:
        np.testing.assert_array_equal(forward(infinite, 0.0), [0, np.inf])


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0, 0.0, -0.5])
@pytest.mark.parametrize("name", ["prelu", "swish"])
def test_learned_limits_anywhere(name, weight, dtype):
    """Infinities and NaN, in x and in grad, in every lane of a vector and in its tail; their neighbours untouched."""
    forward, backward = getattr(fa, name), getattr(fa, f"{name}_backward")
    inf, nan, sign = np.inf, np.nan, np.sign(weight)
    if name == "prelu":
        limits, slopes = {-inf: -inf if weight > 0 else inf if weight < 0 else 0, inf: inf}, {-inf: weight, inf: 1}
    else:
        limits = {-inf: 0 if weight > 0 else -inf, inf: 0 if weight < 0 else inf}
        slopes = {-inf: (1 - sign) / 2, inf: (1 + sign) / 2}
    x, g = numbers(37, dtype), np.full(37, 2, dtype)
    y, (dx, _) = forward(x, weight), backward(g, x, weight)
    for position in range(37):
        others = np.arange(37) != position
        for at in (-inf, inf, nan):
            changed = x.copy()
            changed[position] = at
            got, (dgot, dweight) = forward(changed, weight), backward(g, changed, weight)
            np.testing.assert_array_equal(got[position], limits.get(at, nan))
            np.testing.assert_array_equal(dgot[position], 2 * slopes.get(at, nan))
            np.testing.assert_array_equal(got[others], y[others])
            np.testing.assert_array_equal(dgot[others], dx[others])
            assert np.isnan(dweight) == np.isnan(at)
        changed = g.copy()
        changed[position] = nan
        dgot, dweight = backward(changed, x, weight)
        flat = name == "prelu" and weight == 0 and x[position] <= 0  # a slope of 0 selects 0
        np.testing.assert_array_equal(dgot[position], 0 if flat else nan)
        np.testing.assert_array_equal(dgot[others], dx[others])
        assert np.isnan(dweight) == (name == "swish" or x[position] <= 0)


@pytest.mark.parametrize("channels", [None, 1, 3, 5, 40])
def test_an_infinite_beta_is_a_step(channels, dtype):
    """What pads the last vector must not meet the infinity: the gradients are those of relu, and 0."""
    shape = (7,) if channels is None else (7, channels)
    x, g = numbers(shape, dtype), numbers(shape, dtype, 1)
    beta = np.inf if channels is None else np.full(channels, np.inf, dtype)
    dx, dbeta = fa.swish_backward(g, x, beta)
    np.testing.assert_array_equal(dx, np.where(x > 0, g, 0))
    np.testing.assert_array_equal(dbeta, np.zeros(np.shape(beta)))


@pytest.mark.parametrize("weight", [-0.5, 0.0, 2.0])
def test_prelu_at_zero_has_the_slope_of_the_weight(weight, dtype):
    """As in PyTorch; the weight's gradient is 0 there."""
    x, g = np.array([0.0, -0.0] * 20, dtype), np.full(40, 3, dtype)
    dx, dweight = fa.prelu_backward(g, x, weight)
    np.testing.assert_array_equal(dx, np.full(40, 3 * weight))
    assert dweight == 0


@pytest.mark.parametrize("beta", [0.3, 1.7, 30.0])
def test_swish_in_the_tail(beta, dtype, engine):
    """Where beta * x is large, what its rounding lost counts: with it errors stay below 8 ULP, without it they are 50.

    A sum of one element is the derivative by beta itself.
    """
    if engine == "numpy":
        pytest.skip("rounds beta * x")
    wide = np.longdouble
    beta = dtype(beta)
    top = 104 if dtype == np.float32 else 740
    x = (np.linspace(-top, top, 97, dtype=np.float64) / float(beta)).astype(dtype)
    x = x[np.abs(x) > 0]
    z = wide(beta) * x.astype(wide)
    s, rest = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))
    g = np.ones_like(x)
    dx = fa.swish_backward(g, x, beta).dx
    dbeta = np.array([fa.swish_backward(g[:1], x[i : i + 1], beta).dbeta for i in range(x.size)])
    y = fa.swish(x, beta)
    for got, exact in ((y, x * s), (dx, s + z * s * rest), (dbeta, wide(1) * x * x * s * rest)):
        kept = (got is y) | (np.abs(exact) >= np.finfo(dtype).smallest_normal)  # of gradients only what is normal
        near_the_root = (got is dx) & (np.abs(z + wide(1.2785)) < 0.3)
        unit = np.maximum(np.spacing(np.abs(exact).astype(dtype)), near_the_root * np.finfo(dtype).eps)
        assert np.max((np.abs(got - exact) / unit)[kept]) < 8


@pytest.mark.parametrize("count", [None, 1, 5, 16, 70])
@pytest.mark.parametrize("name", ["prelu", "swish"])
def test_the_weight_may_be_replaced_by_its_gradient(name, count, dtype):
    backward, word = getattr(fa, f"{name}_backward"), "weight" if name == "prelu" else "beta"
    x, g = numbers((4, count or 5), dtype), numbers((4, count or 5), dtype, 1)
    weight = np.full((), 0.3, dtype) if count is None else numbers((count,), dtype, 2)
    expected = backward(g, x, weight)
    dx, dweight = backward(g, x, weight, **{f"out_{word}": weight})
    assert dweight is weight
    np.testing.assert_array_equal(dx, expected[0])
    np.testing.assert_array_equal(weight, expected[1])


@pytest.mark.parametrize("rows", [3, 3000])
def test_results_have_names(rows, dtype):
    x = numbers((rows, 6), dtype)
    assert fa.prelu_backward(x, x, 0.5)._fields == ("dx", "dweight")
    assert fa.swish_backward(x, x, 0.5)._fields == ("dx", "dbeta")
    assert fa.maxout(x, 2)._fields == ("y", "index")
    assert isinstance(fa.prelu_backward(x[:0], x[:0], 0.5), fa.functional.learned.PReluGradients)


@pytest.mark.parametrize("functions", [PRELU, SWISH], ids=["prelu", "swish"])
def test_learned_refuses(functions):
    forward, backward = functions
    x = np.ones((4, 5), np.float32)
    with pytest.raises(ValueError, match="one per channel"):
        forward(x, np.ones(4, np.float32))
    with pytest.raises(TypeError, match="float32 like x, got float64"):
        forward(x, np.ones(5))
    with pytest.raises(TypeError, match="expected float32 or float64"):
        forward(np.ones(3, int), 0.5)
    with pytest.raises(ValueError, match="shape"):
        backward(x, x[:3], 0.5)
    read_only = x.copy()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        forward(x, 0.5, out=read_only)
    weight = np.ones(5, np.float32)
    with pytest.raises(ValueError, match="overlaps"):
        forward(np.ones((1, 5), np.float32), weight, out=weight.reshape(1, 5))


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 7, 8, 32, 33, 256])
def test_maxout(pieces, dtype):
    x = np.random.default_rng(0).integers(0, 3, (11, 6 * pieces)).astype(dtype)
    x[3, 0] = np.nan
    y, index = fa.maxout(x, pieces)
    groups = x.reshape(11, 6, pieces)
    np.testing.assert_array_equal(y, groups.max(-1))
    np.testing.assert_array_equal(index, groups.argmax(-1))
    grad = numbers((11, 6), dtype)
    dx = fa.maxout_backward(grad, index, pieces).reshape(11, 6, pieces)
    np.testing.assert_array_equal(dx.sum(-1), grad)
    np.testing.assert_array_equal(dx != 0, np.arange(pieces) == index[..., np.newaxis])


@pytest.mark.parametrize("pieces", [2, 3, 4])
@pytest.mark.parametrize("outputs", [1023, 2061, 70_003])
def test_maxout_anywhere(pieces, outputs, dtype, instruction_set):
    """Long arrays start where memory is aligned to a vector, wherever that is."""
    random = np.random.default_rng(outputs)
    x = random.integers(-9, 9, (outputs, pieces)).astype(dtype)
    index, best = x.argmax(1)[:, np.newaxis], x.max(1)[:, np.newaxis]
    grad = random.normal(size=(outputs, 1)).astype(dtype)
    slope = (np.arange(pieces) == index) * grad
    memory = np.full(outputs * pieces + 32, 7, dtype)
    for start in (*range(9), 15):
        y = memory[start : start + outputs].reshape(outputs, 1)
        found = fa.maxout(x, pieces, out=y)
        np.testing.assert_array_equal(y, best)
        np.testing.assert_array_equal(found.index, index)
        dx = memory[start : start + outputs * pieces].reshape(outputs, pieces)
        fa.maxout_backward(grad, found.index, pieces, out=dx)
        np.testing.assert_array_equal(dx, slope)
        assert (memory[:start] == 7).all()
        assert (memory[start + dx.size :] == 7).all()
        memory[...] = 7


@pytest.mark.parametrize("pieces", [2, 3, 4, 32, 33, 256])
def test_maxout_of_each_piece(pieces, dtype):
    """Every piece wins once, and the first of two NaN does."""
    x = np.eye(pieces, dtype=dtype)
    y, index = fa.maxout(x, pieces)
    np.testing.assert_array_equal(index[:, 0], np.arange(pieces))
    np.testing.assert_array_equal(fa.maxout_backward(y, index, pieces), x)
    x[:, -2:] = np.nan
    y, index = fa.maxout(x, pieces)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(index, np.full((pieces, 1), pieces - 2))


def test_maxout_refuses():
    x = np.ones((2, 6))
    with pytest.raises(ValueError, match="multiple of pieces=4"):
        fa.maxout(x, 4)
    with pytest.raises(ValueError, match="at least 1"):
        fa.maxout(x, 0)
    with pytest.raises(ValueError, match="from 1 to 256"):
        fa.maxout(np.ones(257), 257)
    with pytest.raises(ValueError, match="below pieces=2"):
        fa.maxout_backward(np.ones(3), np.array([0, 1, 2], np.uint8), 2)
    with pytest.raises(TypeError, match="uint8"):
        fa.maxout_backward(np.ones(3), np.array([0, 1, 1]), 2)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 20_001])
def test_relu_masked(n, dtype):
    x = numbers(n, dtype)
    x[::5] = 0
    x[3::7] = np.nan
    mask = np.full((n + 7) // 8, 255, np.uint8)
    expected = np.where(x < 0, 0, x)
    kept = x >= 0
    y = fa.relu_masked(x, mask=mask)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(mask, np.packbits(kept, bitorder="little"))
    assert fa.relu_masked(x, mask=mask, out=x) is x
    np.testing.assert_array_equal(x, expected)
    grad = numbers(n, dtype, 1)
    np.testing.assert_array_equal(fa.relu_masked_backward(grad, mask), np.where(kept, grad, 0))
    assert fa.relu_masked_backward(grad, mask, out=grad) is grad


def test_the_lecture_mask():
    """x = -5.5, 2.4, -0.5, 3.6 gives m = 0, 1, 0, 1 and dx = dy * m."""
    mask = np.zeros(1, np.uint8)
    fa.relu_masked(np.array([-5.5, 2.4, -0.5, 3.6]), mask=mask)
    assert mask[0] == 0b1010
    np.testing.assert_array_equal(fa.relu_masked_backward(np.array([1.0, 2, 3, 4]), mask), [0, 2, 0, 4])


def test_relu_masked_refuses():
    x = np.ones(9)
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        fa.relu_masked(x, mask=np.zeros(1, np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        fa.relu_masked(x, mask=np.zeros(2))
    with pytest.raises(ValueError, match="overlaps"):
        fa.relu_masked(x, mask=x.view(np.uint8)[:2])


@pytest.mark.parametrize("name", ["prelu", "swish"])
@pytest.mark.parametrize("over", ["grad", "x", "out"])
def test_the_weights_gradient_touches_no_other_array(name, over, dtype, backend):
    rng = np.random.default_rng(3)
    arrays = {key: rng.standard_normal((5, 4)).astype(dtype) for key in ("grad", "x", "out")}
    before = {key: array.copy() for key, array in arrays.items()}
    word = "weight" if name == "prelu" else "beta"
    call = getattr(fa, f"{name}_backward")
    with pytest.raises(ValueError, match=f"{name}_backward.*out_{word}"):
        call(arrays["grad"], arrays["x"], np.ones(4, dtype), out=arrays["out"], **{f"out_{word}": arrays[over][2]})
    for key, array in arrays.items():
        np.testing.assert_array_equal(array, before[key])


def test_maxout_writes_over_nothing(dtype, backend):
    memory = np.arange(24, dtype=dtype)
    x = memory[:12].reshape(2, 6)
    for out, index in ((memory[6:12].reshape(2, 3), None), (None, memory[:6].view(np.uint8)[:6].reshape(2, 3))):
        with pytest.raises(ValueError, match="maxout"):
            fa.maxout(x, 2, out=out, out_index=index)
        np.testing.assert_array_equal(memory, np.arange(24))
    y = np.empty((2, 3), dtype)
    with pytest.raises(ValueError, match="maxout"):
        fa.maxout(x, 2, out=y, out_index=y.view(np.uint8).reshape(-1)[:6].reshape(2, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(64,), (8, 8), (5, 6), (4, 16), (3, 65), (700, 8)])
@pytest.mark.parametrize("name", ["prelu", "swish"])
def test_the_weights_gradient_may_replace_the_weight(name, shape, dtype):
    rng = np.random.default_rng(11)
    grad, x = rng.standard_normal((2, *shape)).astype(dtype)
    backward, keyword = getattr(fa, f"{name}_backward"), "out_weight" if name == "prelu" else "out_beta"
    for weight in (rng.standard_normal(shape[-1]).astype(dtype), np.array(0.4, dtype)):
        dx, dweight = backward(grad, x, weight.copy())
        found = backward(grad, x, weight, **{keyword: weight})
        assert found[1] is weight
        np.testing.assert_array_equal(found[0], dx)
        np.testing.assert_array_equal(weight, dweight)


@pytest.mark.parametrize("name", ["prelu", "swish"])
@pytest.mark.parametrize("part", [slice(0, 8, 2), slice(3, None, -1)], ids=["every second", "backwards"])
def test_a_result_touches_no_weight_of_any_layout(name, part, dtype, backend):
    memory = np.arange(1, 13, dtype=dtype)
    weight, out = memory[part], memory[:4]
    x, before = np.ones((1, 4), dtype), memory.copy()
    with pytest.raises(ValueError, match=f"{name}: out overlaps"):
        getattr(fa, name)(x, weight, out=out[None])
    with pytest.raises(ValueError, match=f"{name}_backward: out overlaps"):
        getattr(fa, f"{name}_backward")(x, x, weight, out=out[None])
    activation = fa.activation(name, **{"weight" if name == "prelu" else "beta": weight})
    with pytest.raises(ValueError, match="dense: out overlaps activation"):
        fa.dense(x, np.eye(4, dtype=dtype), activation=activation, out=out[None])
    np.testing.assert_array_equal(memory, before)
    y = fa.dense(x, np.eye(4, dtype=dtype), activation=activation)
    np.testing.assert_array_equal(y, getattr(fa, name)(x, weight.copy()))
