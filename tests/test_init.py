"""Initialisers: moments, bounds, orthogonality, defaults by activation, errors."""

import math

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
    assert w.var() == pytest.approx(variance(scheme, 300, 200), rel=0.05)
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
        (TypeError, lambda: fa.Dense(2, 2, bias_init=None)),
        (ValueError, lambda: fa.Sequential(fa.Dense(2, 2, bias_init="he"))),
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
