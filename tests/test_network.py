"""Sequential: which parameters are meant, and which forward a backward belongs to."""

import copy
import pickle

import numpy as np
import pytest

import fastact as fa


def network(*extra, rng=0):
    return fa.Sequential(fa.Dense(3, 4, "gelu"), *extra, fa.Dense(4, 4, "relu"), fa.Dense(4, 2), rng=rng)


def frozen(net):
    return {segment.name for segment in net.segments if segment.frozen}


BOTH = {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize(
    "which",
    [
        lambda net: ([0, 2],),
        lambda net: ((0, 2),),
        lambda net: (np.array([0, 2]),),
        lambda net: (range(0, 3, 2),),
        lambda net: (net.layers[0], np.int64(2)),
        lambda net: ([net.layers[0], net.layers[2]],),
        lambda net: (["0.weight", "0.bias", "2.*"],),
        lambda net: ([0, ["2.weight"]], "2.bias"),
        lambda net: ({0, 2},),
    ],
)
def test_freeze_takes_sequences_of_what_it_takes(which):
    net = network()
    net.freeze(*which(net))
    assert frozen(net) == BOTH
    net.unfreeze(*which(net))
    assert not frozen(net)


def test_ten_is_neither_one_nor_zero():
    net = fa.Sequential(*(fa.Dense(2, 2) for _ in range(12)))
    net.freeze([10, 11])
    assert frozen(net) == {"10.weight", "10.bias", "11.weight", "11.bias"}


@pytest.mark.parametrize(
    ("which", "kind"),
    [
        (3, ValueError),
        (-1, ValueError),
        ([-1], ValueError),
        ([0, 7], ValueError),
        ("3.*", ValueError),
        (fa.Dense(2, 2), ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ([0, None], TypeError),
        (fa.Dense, TypeError),
    ],
)
def test_freeze_refuses(which, kind):
    net = network()
    with pytest.raises(kind, match=r"^freeze: expected layers"):
        net.freeze(which)
    assert not frozen(net)


def test_parameters_can_change_places():
    net = fa.Sequential(fa.Dense(3, 3), fa.Dense(3, 3), rng=0)
    views = net.named_parameters()
    first, second = views["0.weight"].copy(), views["1.weight"].copy()
    net.set_parameters({**views, "0.weight": views["1.weight"], "1.weight": views["0.weight"]})
    np.testing.assert_array_equal(views["0.weight"], second)
    np.testing.assert_array_equal(views["1.weight"], first)
    before = net.parameters.copy()
    net.set_parameters({name: array[::-1][::-1] for name, array in net.named_parameters().items()})
    np.testing.assert_array_equal(net.parameters, before)


class Refusing(fa.Layer):
    """Refuses some batches."""

    refusing = False

    def forward(self, x, training=False):
        if self.refusing:
            raise KeyboardInterrupt
        return x * 1

    def backward(self, grad, need_input_grad=True):
        return grad * 1


@pytest.mark.parametrize("extra", [fa.BatchNorm, Refusing])
def test_no_backward_after_a_forward_that_failed(extra):
    """Backward would read rows of the first batch from the second."""
    net = network(extra())
    x = np.ones((200, 3), np.float32)
    grad = np.ones_like(net.forward(x, training=True))
    net.layers[1].refusing = True
    with pytest.raises((ValueError, KeyboardInterrupt)):
        net.forward(x[:1], training=True)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)
    net.layers[1].refusing = False
    net.forward(x, training=True)
    net.backward(grad)


@pytest.mark.parametrize("turns", [1, 3])  # a compiled stack runs the later ones
@pytest.mark.parametrize("extra", [(), (fa.LayerNorm,)])
def test_no_backward_after_a_layer_went_forward_alone(extra, turns):
    net = network(*(make() for make in extra))
    x = np.ones((6, 3), np.float32)
    for _ in range(turns):
        grad = np.ones_like(net.forward(x, training=True))
        net.backward(grad)
    net.forward(x, training=True)
    net.layers[0].forward(x[:2], training=True)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)
    net.forward(x, training=True)
    net.backward(grad)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)


# ------------------------------------------------------------------------------------------------ layers alone

KINDS = {
    "dense": lambda: fa.Dense(6, 6, "gelu"),
    "learned": lambda: fa.Dense(6, 6, "prelu"),
    "maxout": lambda: fa.Dense(6, 6, fa.activation("maxout", pieces=2)),
    "activation": lambda: fa.Activation("tanh"),
    "softmax": lambda: fa.Activation("softmax"),
    "prelu": fa.PReLU,
    "swish": fa.Swish,
    "maxout layer": lambda: fa.Maxout(1),
    "dropout": lambda: fa.Dropout(0.3),
    "layer norm": fa.LayerNorm,
    "batch norm": fa.BatchNorm,
    "residual": lambda: fa.Residual(fa.Dense(6, 6, "relu")),
}


@pytest.fixture(params=KINDS)
def alone(request):
    """A layer in the middle of a network, where it may work in place."""
    net = fa.Sequential(fa.Dense(6, 6), KINDS[request.param](), fa.Dense(6, 2), rng=0)
    return net.layers[1]


WRONG = {
    "float64": (lambda x: x.astype(np.float64), TypeError, "to be float32 like the network, got float64"),
    "integers": (lambda x: x.astype(int), TypeError, "expected float32 or float64, got int64"),
    "booleans": (lambda x: (x > 0).tolist(), TypeError, "to be a NumPy array, got list"),
    "a row": (lambda x: x[0], ValueError, "to have 2 dimensions"),
    "narrow": (lambda x: x[:, :5], ValueError, "to have 6 columns"),
    "wide": (lambda x: np.hstack([x, x]), ValueError, "to have 6 columns"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("training", [False, True])
def test_a_layer_alone_refuses(alone, wrong, training):
    change, kind, says = WRONG[wrong]
    x = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    with pytest.raises(kind, match=rf"^{type(alone).__name__}.forward: .*{says}"):
        alone.forward(change(x), training=training)
    alone.forward(x, training=True)
    with pytest.raises(kind, match=rf"^{type(alone).__name__}.backward: .*{says}"):
        alone.backward(change(x))
    with pytest.raises(ValueError, match="expected grad to have 5 rows, as forward's x had, got 4"):
        alone.backward(x[:4])
    assert alone.backward(x).shape == x.shape
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        alone.backward(x)


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2], lambda a: a[::-1][::-1], lambda a: a.astype(">f4")],
    ids=["Fortran", "strided", "reversed", "big-endian"],
)
def test_a_layer_alone_takes_any_layout_and_leaves_it(alone, layout):
    rng = np.random.default_rng(1)
    x, grad = (rng.normal(size=(5, 6)).astype(np.float32) for _ in range(2))
    state = alone.random_state()
    y = alone.forward(x.copy(), training=True).copy()
    dx = alone.backward(grad.copy()).copy()
    alone.set_random_state(state)
    given, given_grad = layout(x), layout(grad)
    np.testing.assert_array_equal(alone.forward(given, training=True), y)
    np.testing.assert_array_equal(alone.backward(given_grad), dx)
    np.testing.assert_array_equal(given, x)
    np.testing.assert_array_equal(given_grad, grad)
    np.testing.assert_array_equal(alone.forward(given), alone.forward(x))


@pytest.mark.parametrize(
    "make", [lambda: fa.Dense(3, 2), lambda: fa.LayerNorm(inputs=3), lambda: fa.BatchNorm(inputs=3)]
)
def test_a_layer_without_a_network_has_no_parameters(make):
    with pytest.raises(RuntimeError, match="expected the layer to be part of a network"):
        make().forward(np.ones((2, 3), np.float32))


def test_hidden_outputs():
    net = network(fa.Dropout(0.5), fa.BatchNorm())
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    before = x.copy()
    outputs = net.outputs_of(x)
    assert [y.shape for y in outputs] == [(7, 4), (7, 4), (7, 4), (7, 4), (7, 2)]
    np.testing.assert_array_equal(outputs[-1], net(x))
    one_by_one = x
    for layer, y in zip(net.layers, outputs, strict=True):
        one_by_one = layer.forward(one_by_one)
        np.testing.assert_array_equal(one_by_one, y)
        y[...] = 0
    np.testing.assert_array_equal(x, before)
    with pytest.raises(ValueError, match=r"^Sequential.outputs_of: expected x to have 3 columns"):
        net.outputs_of(x[:, :2])


class Doubled(fa.Dense):
    """Its own arithmetic under the arguments of Dense."""

    def forward(self, x, training=False):
        return super().forward(x, training) * 2

    def backward(self, grad, need_input_grad=True):
        return super().backward(grad * 2, need_input_grad)


class Flipped(fa.Maxout):
    def forward(self, x, training=False):
        return -super().forward(x, training)


class Twice(fa.Residual):
    def forward(self, x, training=False):
        return super().forward(x, training) * 2


@pytest.mark.parametrize(
    "make", [lambda: Doubled(4, 4, "tanh"), lambda: Flipped(2), lambda: Twice(fa.Dense(4, 4))], ids=["d", "m", "r"]
)
def test_a_subclass_of_a_library_layer_is_saved_as_itself(make, tmp_path):
    layer = make()
    net = fa.Sequential(fa.Dense(3, 4), layer, rng=0)
    net.save(tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=f"unknown layer '{type(layer).__name__}'.*custom"):
        fa.load(tmp_path / "net.safetensors")
    loaded = fa.load(tmp_path / "net.safetensors", custom={type(layer).__name__: type(layer)})
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded(x), net(x))
    assert type(loaded.layers[1]) is type(layer)


def test_state_dict_of_views_of_the_network_itself():
    net = fa.Sequential(fa.Dense(3, 3), fa.Dense(3, 3), rng=0)
    views = net.named_parameters()
    first, second = views["0.weight"].copy(), views["1.weight"].copy()
    net.load_state_dict(
        {
            "0.weight": views["1.weight"].T,
            "0.bias": views["1.bias"],
            "1.weight": views["0.weight"].T,
            "1.bias": views["0.bias"],
        }
    )
    np.testing.assert_array_equal(views["0.weight"], second)
    np.testing.assert_array_equal(views["1.weight"], first)


def test_random_states_are_set_all_or_none():
    net = fa.Sequential(fa.Dropout(0.5, 3), fa.Dropout(0.2), rng=0)
    before = net.random_state()
    with pytest.raises(ValueError, match="set_random_state"):
        net.set_random_state([{"seed": 5, "counter": 6}, {"seed": 7}])
    assert net.random_state() == before


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_copy_of_a_layer_belongs_to_no_network(twin):
    net = fa.Sequential(fa.Dense(3, 4), fa.Activation("relu"), fa.Dropout(0.5), fa.Dense(4, 2), rng=0)
    net.freeze(0)
    layers = [twin(layer) for layer in net.layers]
    for layer in layers:
        assert not layer.attached
        assert not layer.frozen
        assert layer.parameters == {}
    x = np.linspace(-1, 1, 8).reshape(2, 4)  # float64, which the network would refuse
    np.testing.assert_array_equal(layers[1].forward(x), np.maximum(x, 0))
    other = fa.Sequential(*layers, dtype="float64", rng=1)
    assert other(np.ones((2, 3))).shape == (2, 2)


@pytest.mark.parametrize(
    "layer",
    [lambda: fa.Dropout(0.5), lambda: fa.AlphaDropout(0.5), lambda: fa.Activation("identity"), lambda: fa.Maxout(1)],
)
def test_a_layer_alone_returns_memory_of_its_own(layer):
    x = np.ones((2, 4), np.float32)
    alone = layer()
    inside = fa.Sequential(fa.Dense(4, 4), layer()).layers[1]
    for one in (alone, inside):
        y = one.forward(x)
        assert not np.shares_memory(x, y)
        np.testing.assert_array_equal(y, x)


def test_maxout_of_unknown_width_alone():
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(fa.Maxout(3).forward(x), [[2, 5], [8, 11]])
    with pytest.raises(ValueError, match="multiple of pieces=4 inputs, got 6"):
        fa.Maxout(4).forward(x)


def first_half(shape, rng):
    return np.full(shape, 0.5)


def test_copies_keep_their_initialisers():
    layer = fa.Dense(3, 2, weight_init=first_half, bias_init=fa.init.Constant(0.25))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        net = fa.Sequential(twin)
        np.testing.assert_array_equal(net.parameters[net.parameters != 0], [0.5] * 6 + [0.25] * 2)
    local = fa.Dense(3, 2, weight_init=lambda shape, rng: np.zeros(shape))
    assert pickle.loads(pickle.dumps(local)).weight_init == fa.init.INITIALIZERS["glorot"]
    assert fa.Sequential(fa.Dense(3, 2, weight_init=lambda shape, rng: np.zeros(shape))).__copy__().inputs == 3


class Policy(fa.Sequential):
    """A network with something of its own."""

    def __init__(self, actions):
        self.before = "set first"
        super().__init__(fa.Dense(3, 4, "tanh"), fa.Dense(4, actions), rng=1)
        self.actions = list(range(actions))

    def act(self, x):
        return self.actions[int(self(x).argmax())]


@pytest.mark.parametrize("twin", [copy.deepcopy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_a_subclass_are_of_the_subclass(twin):
    policy = Policy(5)
    policy.freeze(0)
    other = twin(policy)
    x = np.ones((1, 3), np.float32)
    assert type(other) is Policy
    assert (other.act(x), other.before, other.actions) == (policy.act(x), "set first", [0, 1, 2, 3, 4])
    assert frozen(other) == {"0.weight", "0.bias"}
    assert other.actions is not policy.actions
    other.parameters += 1
    assert other.parameters[0] != policy.parameters[0]


# ------------------------------------------------------------------------------------- a parameter by itself, averages


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [3, (3,), (2, 5), (), (0,), 21])
def test_a_parameter_is_trained_like_a_network(shape, dtype):
    """Against Adam's first step, which goes lr against the gradient's sign, beside a network and by itself."""
    p, net = fa.Parameter(shape, -0.5, dtype), network()
    lengths = shape if isinstance(shape, tuple) else (shape,)
    assert p.value.shape == p.gradient.shape == p.shape == lengths
    assert p.value.dtype == p.gradient.dtype == p.dtype == dtype
    assert (p.value == -0.5).all()
    assert np.shares_memory(p.value, p.parameters) or p.value.size == 0
    p.gradient[...] = 3.0
    norm = 3 * np.sqrt(np.prod(lengths))
    assert fa.clip_grad_norm([p, net], 1e9) == pytest.approx(norm)
    optimizer = fa.optim.AdamW(lr=0.25, weight_decay=0.5)
    optimizer.step(net, p)
    np.testing.assert_allclose(p.value, -0.75, rtol=1e-6)  # and is not decayed
    p.freeze()
    assert p.frozen == ("value",)
    assert fa.clip_grad_norm(p, 1.0) == 0
    twins = copy.copy(p), copy.deepcopy(p), pickle.loads(pickle.dumps(p))
    for twin in twins:
        np.testing.assert_array_equal(twin.value, p.value)
        assert twin.frozen == p.frozen
        assert not np.shares_memory(twin.parameters, p.parameters)
        twin.unfreeze()
        twin.gradient[...] = -3.0
        before = p.value.copy()
        fa.optim.SGD(0.5).step(twin)
        np.testing.assert_array_equal(twin.value, before + 1.5)
    optimizer.step(net, p)
    np.testing.assert_array_equal(p.value, before)


def test_what_a_parameter_says():
    assert repr(fa.Parameter(2, [0.5, -1])) == "Parameter((2,), [ 0.5, -1. ], dtype='float32')"
    assert fa.Parameter((1, 2), np.float32([[1, 2]]), "float64").value.tolist() == [[1.0, 2.0]]
    for kind, call, text in (
        (TypeError, lambda: fa.Parameter("3"), "expected shape to be a whole number"),
        (TypeError, lambda: fa.Parameter(2.0), "expected shape to be a whole number"),
        (ValueError, lambda: fa.Parameter(-1), "expected shape to be at least 0"),
        (TypeError, lambda: fa.Parameter(2, dtype="int64"), "expected dtype float32 or float64, got 'int64'"),
        (TypeError, lambda: fa.Parameter(2, dtype=None), "expected dtype float32 or float64"),
        (ValueError, lambda: fa.Parameter(2, [1.0, 2.0, 3.0]), r"expected value to be a number or of shape \(2,\)"),
        (ValueError, lambda: fa.Parameter(2, 1e300), "too large for float32"),
        (TypeError, lambda: fa.Parameter(2, "a"), "expected value"),
    ):
        with pytest.raises(kind, match=f"Parameter: .*{text}"):
            call()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tau", [0, 0.005, 0.5, 0.999, 1])
def test_soft_update(dtype, tau):
    def made(rng):
        net = fa.Sequential(fa.Dense(3, 4), fa.BatchNorm(), fa.Dense(4, 2), dtype=dtype, rng=rng)
        net.forward(np.random.default_rng(rng).normal(rng, 1, (9, 3)).astype(dtype), training=True)
        return net

    target, source = made(1), made(2)
    target.freeze()
    old = {**target.named_parameters(), **target.named_buffers()}
    old = {name: array.astype(np.float64) for name, array in old.items()}
    new = {**source.named_parameters(), **source.named_buffers()}
    kept = {name: array.copy() for name, array in new.items()}
    fa.soft_update(target, source, tau)
    assert len(old) == 9
    for name, array in {**target.named_parameters(), **target.named_buffers()}.items():
        expected = (1 - tau) * old[name] + tau * new[name].astype(np.float64)
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)
        np.testing.assert_array_equal(new[name], kept[name])
        if tau in (0, 1):
            np.testing.assert_array_equal(array, new[name] if tau else old[name].astype(dtype))
    fa.soft_update(target, source, 1.0)
    for part in ("parameters", "buffers"):  # equal ones stay
        fa.soft_update(target, source, 0.3)
        np.testing.assert_array_equal(getattr(target, part), getattr(source, part))
    p, q = fa.Parameter(3, 1.0, dtype), fa.Parameter(3, 5.0, dtype)
    fa.soft_update(p, q, 0.25)
    np.testing.assert_array_equal(p.value, 2.0)


def test_soft_update_errors():
    def made(*layers, **keywords):
        return fa.Sequential(*layers, rng=0, **keywords)

    target = made(fa.Dense(3, 4), fa.BatchNorm())
    before = target.parameters.copy(), target.buffers.copy()
    for kind, source, tau, text in (
        (ValueError, copy.deepcopy(target), 1.5, "tau to be a number from 0 to 1"),
        (ValueError, copy.deepcopy(target), -0.1, "tau to be a finite number >= 0"),
        (TypeError, copy.deepcopy(target), None, "tau to be a finite number >= 0"),
        (ValueError, target, 0.5, "each network once"),
        (TypeError, target.parameters, 0.5, "expected networks"),
        (TypeError, made(fa.Dense(3, 4), fa.BatchNorm(), dtype="float64"), 0.5, "one dtype"),
        (ValueError, made(fa.Dense(4, 3), fa.BatchNorm()), 0.5, r"same layout, got 0.weight of shape \(3, 4\)"),
        (ValueError, made(fa.Dense(3, 4)), 0.5, "same layout, got 1.weight of shape .* and none in source"),
        (ValueError, made(fa.Dense(3, 4), fa.LayerNorm()), 0.5, "same layout, got 1.running_mean"),
        (ValueError, fa.Parameter(12), 0.5, "same layout"),
    ):
        with pytest.raises(kind, match=f"soft_update: .*{text}"):
            fa.soft_update(target, source, tau)
    np.testing.assert_array_equal(target.parameters, before[0])
    np.testing.assert_array_equal(target.buffers, before[1])
