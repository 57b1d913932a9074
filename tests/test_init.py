"""Initialisers: moments, bounds, orthogonality, defaults by activation, errors."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastact as fa
from fastact import init

SHAPES = [(400, 250), (250, 400), (1000, 30)]


def variance(scheme, inputs, outputs):
    return {"he": 2 / inputs, "glorot": 2 / (inputs + outputs), "lecun": 1 / inputs}[scheme]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("scheme", ["he", "glorot", "lecun"])
def test_variance(scheme, distribution, shape):
    w = init.make(f"{scheme}_{distribution}", shape, np.random.default_rng(0))
    expected = variance(scheme, *shape)
    standard_error = math.sqrt(2 / w.size)
    assert w.shape == shape
    assert abs(w.mean()) < 5 * math.sqrt(expected / w.size)
    assert w.var() == pytest.approx(expected, rel=5 * standard_error)
    kurtosis = (w**4).mean() / w.var() ** 2
    assert kurtosis == pytest.approx(3.0 if distribution == "normal" else 1.8, abs=0.1)
    if distribution == "uniform":
        bound = math.sqrt(3 * expected)
        assert 0.99 * bound < np.abs(w).max() <= bound


@pytest.mark.parametrize("scheme", ["he", "glorot", "lecun"])
def test_short_names_are_the_normal_ones(scheme):
    short, long = (init.make(n, (5, 3), np.random.default_rng(1)) for n in (scheme, f"{scheme}_normal"))
    np.testing.assert_array_equal(short, long)


@pytest.mark.parametrize("shape", [(7, 7), (20, 3), (3, 20), (1, 5), (5, 1)])
@pytest.mark.parametrize("gain", [1.0, 1.5])
def test_orthogonal(shape, gain):
    w = init.Orthogonal(gain)(shape, np.random.default_rng(2))
    small = w.T @ w if shape[0] >= shape[1] else w @ w.T
    assert w.shape == shape
    np.testing.assert_allclose(small, gain**2 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    rng = np.random.default_rng(3)
    corner = [init.Orthogonal()((4, 2), rng)[0, 0] for _ in range(2000)]
    assert abs(np.mean(corner)) < 5 * 0.5 / math.sqrt(2000)


def test_small_and_constant():
    rng = np.random.default_rng(0)
    assert init.make("small_normal", (500, 40), rng).std() == pytest.approx(0.01, rel=0.03)
    w = init.make("small_uniform", (500, 40), rng)
    assert -0.01 <= w.min() < -0.0099
    assert 0.0099 < w.max() <= 0.01
    before = rng.bit_generator.state
    assert (init.make("small_positive", (7,), rng) == 0.01).all()
    assert (init.make("zeros", (7,), rng) == 0).all()
    assert (init.make(init.Constant(-2.5), (2, 3), rng) == -2.5).all()
    assert rng.bit_generator.state == before


@pytest.mark.parametrize("activation", sorted(fa.registry.ACTIVATIONS))
def test_default_follows_the_activation(activation):
    scheme = fa.registry.ACTIVATIONS[activation].init
    expected = {"selu": "lecun", "sigmoid": "glorot", "tanh": "glorot", "identity": "glorot", "relu": "he"}
    assert scheme == expected.get(activation, scheme)
    assert scheme in ("he", "glorot", "lecun")
    net = fa.Sequential(fa.Dense(300, 200, activation=activation), rng=0)
    w = net.layers[0].parameters["weight"]
    default = {"he": 4 / (300 + 200)}  # as Glorot's for ReLU, with the factor 2 for its zeros
    assert w.var() == pytest.approx(default.get(scheme, variance(scheme, 300, 200)), rel=0.05)
    assert not net.layers[0].parameters["bias"].any()


@pytest.mark.parametrize("name", ["elu", "celu", "gelu", "silu", "mish", "leaky_relu", "relu6", "softplus"])
def test_relatives_of_relu_get_he(name):
    assert fa.registry.ACTIVATIONS[name].init == "he"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_takes_names_and_functions(dtype):
    layer = fa.Dense(6, 4, weight_init="orthogonal", bias_init="small_positive")
    other = fa.Dense(4, 3, weight_init=lambda shape, rng: np.ones(shape), bias_init=init.Uniform(1, 2))
    net = fa.Sequential(layer, other, dtype=dtype, rng=0)
    w = layer.parameters["weight"].astype(float)
    np.testing.assert_allclose(w.T @ w, np.eye(4), atol=1e-6)
    np.testing.assert_array_equal(layer.parameters["bias"], np.dtype(dtype).type(0.01))
    assert (other.parameters["weight"] == 1).all()
    assert ((other.parameters["bias"] >= 1) & (other.parameters["bias"] <= 2)).all()
    assert net.parameters.dtype == dtype


def test_seed_decides():
    nets = [fa.Sequential(fa.Dense(5, 3), fa.Dense(3, 2), rng=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert not np.array_equal(nets[0].parameters, nets[2].parameters)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (ValueError, lambda: fa.Dense(2, 2, weight_init="kaiming")),
        (TypeError, lambda: fa.Dense(2, 2, weight_init=3)),
        (TypeError, lambda: fa.Dense(2, 2, bias_init=0.0)),
        (TypeError, lambda: fa.Sequential(fa.Dense(2, 2), weight_init=1)),
        (ValueError, lambda: fa.Sequential(fa.Dense(2, 2), weight_init="pytorch")),
        (ValueError, lambda: init.VarianceScaling(sigmoid_scale=0)),
        (ValueError, lambda: fa.Sequential(fa.Dense(2, 2, bias_init="orthogonal"))),
        (ValueError, lambda: fa.Sequential(fa.Dense(2, 3, weight_init=lambda shape, rng: np.zeros((3, 2))))),
        (ValueError, lambda: fa.Sequential(fa.Dense(2, 3, weight_init=lambda shape, rng: np.full(shape, np.nan)))),
        (ValueError, lambda: init.VarianceScaling(0)),
        (ValueError, lambda: init.VarianceScaling(1, "both")),
        (ValueError, lambda: init.VarianceScaling(1, "in", "cauchy")),
        (ValueError, lambda: init.Orthogonal(-1)),
        (ValueError, lambda: init.Normal(-1)),
        (ValueError, lambda: init.Uniform(1, 0)),
        (TypeError, lambda: init.Constant("1")),
    ],
)
def test_errors(kind, call):
    with pytest.raises(kind, match="expected"):
        call()


def test_a_deep_relu_network_keeps_its_scale():
    layers = [fa.Dense(256, 256, activation="relu", bias=False) for _ in range(12)]
    y = fa.Sequential(*layers, rng=0)(np.random.default_rng(0).normal(size=(200, 256)).astype(np.float32))
    assert 0.1 < float((y**2).mean()) < 10  # He: the mean square stays; Glorot would lose a factor of 2 a layer


@pytest.mark.parametrize(
    "layer",
    [
        lambda: fa.Dense(3, 2, weight_init=init.Constant(1e39)),
        lambda: fa.Dense(3, 2, bias_init=init.Constant(-1e39)),
        lambda: fa.Dense(3, 2, weight_init=init.Normal(1e39)),
        lambda: fa.Dense(3, 2, weight_init=lambda shape, rng: np.full(shape, 1e39)),
        lambda: fa.Dense(3, 2, fa.activation("prelu", weight=1e39)),
        lambda: fa.Residual(fa.Dense(3, 3, weight_init=init.Orthogonal(1e40))),
        lambda: fa.PReLU(init=1e39, inputs=3),
    ],
)
def test_starting_values_fit_the_dtype(layer):
    with pytest.raises(
        ValueError, match=r"^Sequential: expected starting values that are finite in float32, got .* in 0\."
    ):
        fa.Sequential(layer(), rng=0)
    assert np.isfinite(fa.Sequential(layer(), rng=0, dtype="float64").parameters).all()


def test_names_of_libraries():
    """Bounds as their sources say: torch.nn.Linear.reset_parameters, MLPClassifier._init_coef, keras.layers.Dense."""
    n, m = 300, 70
    glorot, torch = math.sqrt(6 / (n + m)), 1 / math.sqrt(n)
    for name, activation, weight, bias in [
        ("torch", "relu", torch, torch),
        ("torch", "sigmoid", torch, torch),
        ("sklearn", "relu", glorot, glorot),
        ("sklearn", "tanh", glorot, glorot),
        ("sklearn", "sigmoid", math.sqrt(2 / (n + m)), math.sqrt(2 / (n + m))),
        ("keras", "relu", glorot, 0),
        ("keras", "sigmoid", glorot, 0),
    ]:
        layer = fa.Dense(n, m, activation, weight_init=name)
        fa.Sequential(layer, rng=0, dtype="float64")
        w, b = layer.parameters["weight"], layer.parameters["bias"]
        assert 0.999 * weight < np.abs(w).max() <= weight
        assert w.var() == pytest.approx(weight**2 / 3, rel=0.05)
        assert 0.85 * bias <= np.abs(b).max() <= bias
        assert abs(b.mean()) <= 5 * bias / math.sqrt(3 * m)


@pytest.mark.parametrize(("theirs", "ours"), [("kaiming", "he"), ("xavier", "glorot")])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_other_names(theirs, ours, distribution):
    made = (init.make(f"{name}_{distribution}", (5, 3), np.random.default_rng(1)) for name in (theirs, ours))
    np.testing.assert_array_equal(*made)


def test_a_bias_is_told_what_its_layer_takes_and_gives():
    told = []

    def seen(shape, rng, *, fans):
        told.append((shape, fans))
        return np.ones(shape)

    net = fa.Sequential(
        fa.Dense(48, 400, bias_init="he_uniform"),
        fa.Dense(400, 6, fa.activation("maxout", pieces=2), bias_init=seen),
        rng=0,
    )
    bound = math.sqrt(6 / 48)
    assert 0.97 * bound < np.abs(net.layers[0].parameters["bias"]).max() <= bound
    assert told == [((12,), (400, 6))]
    made = init.make(seen, (2, 3), np.random.default_rng(0), (2, 3))
    assert made.shape == (2, 3)
    assert (init.make(lambda shape, rng: np.ones(shape), (4,), np.random.default_rng(0), (2, 4)) == 1).all()


def test_a_networks_initialiser_is_for_layers_without_their_own():
    layers = [
        fa.Dense(4, 5, "relu"),
        fa.Residual(fa.Dense(5, 5)),
        fa.Dense(5, 3, weight_init=init.Constant(2.0)),
        fa.Dense(3, 2, bias_init=init.Constant(4.0)),
    ]
    net = fa.Sequential(*layers, weight_init=init.Constant(7.0), rng=0)
    starts = {name: set(array.ravel().tolist()) for name, array in net.named_parameters().items()}
    assert starts == {
        "0.weight": {7.0}, "0.bias": {0.0}, "1.0.weight": {7.0}, "1.0.bias": {0.0},
        "2.weight": {2.0}, "2.bias": {0.0}, "3.weight": {7.0}, "3.bias": {4.0},
    }  # fmt: skip
    one, other = fa.Sequential(fa.Dense(9, 4), weight_init="torch", rng=3), fa.Dense(9, 4, weight_init="torch")
    fa.Sequential(other, rng=3)
    np.testing.assert_array_equal(one.layers[0].parameters["weight"], other.parameters["weight"])
    np.testing.assert_array_equal(one.layers[0].parameters["bias"], other.parameters["bias"])
    assert other.parameters["bias"].any()


def test_copies_keep_what_they_were_given():
    layer = copy.deepcopy(fa.Dense(3, 2, weight_init="zeros", bias_init=lambda shape, rng: np.ones(shape)))
    net = pickle.loads(pickle.dumps(fa.Sequential(layer, weight_init=init.Constant(7.0), rng=0)))
    assert not net.layers[0].parameters["weight"].any()
    again = copy.deepcopy(net.layers[0])
    fa.Sequential(again, weight_init=init.Constant(7.0), rng=0)
    assert not again.parameters["weight"].any()
