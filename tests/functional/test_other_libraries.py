"""Arrays of other libraries: taken where they lie when the CPU can read them, else refused in words."""

import array

import numpy as np
import pytest

import fastact as fa
from fastact import checks


class Pack:
    """What shows its memory by DLPack alone; on another device where one is given."""

    def __init__(self, values, device=1):
        self.values, self.place = values, device

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.place, 0


class Interface:
    """What shows its memory by NumPy's interface alone."""

    def __init__(self, values):
        self.values = values

    @property
    def __array_interface__(self):
        return self.values.__array_interface__


X = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
KINDS = {"dlpack": Pack, "interface": Interface, "buffer": memoryview}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "layout", [lambda x: x, lambda x: x[::2, 1:], lambda x: x.T, lambda x: x[:, :0], lambda x: x[1, 1]]
)
def test_results_are_those_of_arrays(kind, layout, backend):
    x = layout(X)[...]
    for dtype in (np.float32, np.float64):
        values = x.astype(dtype, order="K")
        if kind == "buffer" and (0 in values.shape or not values.shape):
            continue
        given = KINDS[kind](values)
        np.testing.assert_array_equal(fa.gelu(given), fa.gelu(values), strict=True)
        np.testing.assert_array_equal(fa.tanh_backward(given, given), fa.tanh_backward(values, values), strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_no_copy(kind):
    x = X.copy()
    view = checks.real_array("f", "x", KINDS[kind](x))
    assert np.shares_memory(view, x)
    assert type(view) is np.ndarray


@pytest.mark.parametrize("kind", KINDS)
def test_every_function(kind):
    give, w, b = KINDS[kind], X.T.copy(), np.ones(3, np.float32)
    weight = np.full(4, 0.5, np.float32)
    labels = np.array([0, 3, 1])
    net = fa.Sequential(fa.Dense(4, 2, "tanh"), rng=0)

    def backward(grad):
        net.forward(X, training=True)
        return net.backward(grad, need_input_grad=True)

    for call in (
        lambda f: fa.softmax(f(X)),
        lambda f: fa.prelu(f(X), f(weight)),
        lambda f: fa.swish_backward(f(X), f(X), f(weight)).dx,
        lambda f: fa.maxout(f(X), 2).y,
        lambda f: fa.dense(f(X), f(w), f(b), "gelu"),
        lambda f: fa.softmax_cross_entropy(f(X), labels).grad,
        lambda f: fa.squared_error(f(X), f(X * 2)).grad,
        lambda f: fa.slope("elu", f(X)),
        lambda f: fa.elu([[1.0, -2.0]], out=None) + fa.dense([1.0, 2.0, 3.0, 4.0], f(w))[:2],
        lambda f: net(f(X)),
        lambda f: net.forward(f(X), training=True),
        lambda f: backward(f(np.ones((3, 2), np.float32))),
    ):
        expected = np.array(call(lambda x: x))
        np.testing.assert_array_equal(call(give), expected, strict=True)


def test_python_arrays():
    np.testing.assert_array_equal(fa.relu(array.array("d", [-1, 2])), [0.0, 2.0])
    with pytest.raises(TypeError, match=r"array of int32"):
        fa.relu(array.array("i", [-1, 2]))


def test_memory_that_is_shared_is_seen():
    x = X.copy()
    with pytest.raises(ValueError, match="overlaps"):
        fa.relu(Pack(x[1:]), out=x[:2])
    assert fa.relu(Pack(x), out=x) is x
    np.testing.assert_array_equal(x, np.maximum(X, 0))
    with pytest.raises(ValueError, match="overlaps"):
        fa.prelu(X, Pack(x[0]), out=x)


def test_refused():
    for device in (2, 8):
        with pytest.raises(TypeError, match=r"^relu: .* another device's .*copy it"):
            fa.relu(Pack(X, device))
    with pytest.raises(TypeError, match="Pack of int64"):
        fa.relu(Pack(np.arange(3)))
    with pytest.raises(TypeError, match=r"np\.asarray\(out\)"):
        fa.relu(X, out=Pack(X.copy()))
    for value in (b"1234", {1.0}, object(), Pack):
        with pytest.raises(TypeError, match="NumPy array"):
            fa.relu(value)


def test_torch():
    torch = pytest.importorskip("torch")
    t = torch.from_numpy(X.copy())
    for given in (t, t.T, t[::2], t.double()):
        np.testing.assert_array_equal(fa.gelu(given), fa.gelu(given.numpy()), strict=True)
    assert np.shares_memory(checks.real_array("f", "x", t), t.numpy())
    y = torch.empty(3, 4)
    fa.gelu(t, out=np.asarray(y))
    np.testing.assert_array_equal(y, fa.gelu(X))
    for wrong, words in (
        (t.clone().requires_grad_(), r"x\.detach\(\), or use the function of fastact\.torch"),
        (t.to("meta"), "meta"),
        (t.bfloat16(), "dtype"),
        (t.to_sparse(), "layout"),
    ):
        with pytest.raises(TypeError, match=words):
            fa.gelu(wrong)


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.asarray(X)
    np.testing.assert_array_equal(fa.gelu(x), fa.gelu(X), strict=True)
    assert np.shares_memory(checks.real_array("f", "x", x), np.asarray(x))
    with pytest.raises(TypeError):
        fa.gelu(x.astype(jnp.bfloat16))
