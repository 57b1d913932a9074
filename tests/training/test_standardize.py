"""Raw data: columns made comparable by the network itself, and what is said where they are not."""

import warnings

import numpy as np
import pytest
from tasks import fit

import fastact as fa
from fastact import backends
from fastact.diagnostics import TrainingWarning

SCALES = np.array([1e3, 1.0, 1e-2, 5.0])
SHIFTS = np.array([1e4, 0.0, 3.0, -20.0])


def raw(rows=300, dtype=np.float32, seed=0):
    """Columns of very different means and scales, and classes that all of them say something about."""
    z = np.random.default_rng(seed).normal(size=(rows, 4))
    return (z * SCALES + SHIFTS).astype(dtype), (z.sum(axis=1) > 0).astype(int)


def network(dtype="float32", activation="relu"):
    return fa.Sequential(fa.Dense(4, 16, activation), fa.BatchNorm(), fa.Dense(16, 2), dtype=dtype, rng=1)


def test_it_trains_on_raw_data_as_on_scaled(dtype):
    x, y = raw(dtype=dtype)
    mean, deviation = x.astype(np.float64).mean(0), x.astype(np.float64).std(0)
    nets = [network(np.dtype(dtype).name) for _ in range(2)]
    one = fit(nets[0], x, y, epochs=5, standardize=True)
    other = fit(nets[1], ((x - mean) / deviation).astype(dtype), y, epochs=5)
    close = 2e-2 if dtype == np.float32 else 1e-7
    assert one.loss == pytest.approx(other.loss, rel=close)
    np.testing.assert_allclose(nets[0].buffers[:4], mean, rtol=1e-6)
    named = nets[0].named_buffers()
    np.testing.assert_allclose(named["0.scale"], deviation, rtol=1e-6)
    assert [type(layer).__name__ for layer in nets[0].layers] == ["Standardize", "Dense", "BatchNorm", "Dense"]


def test_every_way_to_the_outputs_includes_it(tmp_path):
    x, y = raw()
    net = network()
    fit(net, x, y, epochs=30, standardize=True, validation=0.2, metrics="accuracy")
    assert fa.evaluate(net, x, y, metrics="accuracy")["accuracy"] > 0.8
    outputs = net(x)
    np.testing.assert_array_equal(fa.predict(net, x), outputs)
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(fa.load(tmp_path / "net.safetensors")(x), outputs)
    other = fa.Sequential(fa.Standardize(4), fa.Dense(4, 16, "relu"), fa.BatchNorm(), fa.Dense(16, 2))
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other(x), outputs)


class Seen:
    """An observer that keeps what the network was trained on."""

    def __init__(self):
        self.rows = []

    def forward(self, i, layer, x, y):
        if i == 0:
            self.rows.extend(x.tolist())

    def backward(self, i, layer, grad):
        pass


def test_only_rows_that_are_trained_on_are_measured():
    x, y = raw()
    net = network()
    net.observer = Seen()
    fit(net, x, y, epochs=1, standardize=True, validation=0.4)
    assert len(net.observer.rows) == 180
    np.testing.assert_allclose(net.named_buffers()["0.mean"], np.mean(net.observer.rows, axis=0), rtol=1e-6)
    far = np.full((40, 4), 1e6, np.float32)
    net = network()
    fit(net, x, y, epochs=1, standardize=True, validation=(far, np.zeros(40, int)))
    np.testing.assert_allclose(net.named_buffers()["0.mean"], x.mean(0, dtype=np.float64), rtol=1e-6)


def test_further_fits_keep_it_and_measuring_again_replaces_it():
    x, y = raw()
    net = network()
    fit(net, x, y, epochs=1, standardize=True)
    before = net.layers[0].buffers["mean"].copy()
    fit(net, x + 1, y, epochs=1, standardize=True)
    np.testing.assert_array_equal(net.layers[0].buffers["mean"], before)
    net.standardize(x + 1000)
    assert len(net.layers) == 4
    np.testing.assert_allclose(net.layers[0].buffers["mean"], (x + 1000).mean(0, dtype=np.float64), rtol=1e-6)


def test_a_network_keeps_all_else():
    x, _ = raw()
    net = network()
    net.forward(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32), training=True)
    net.freeze("0.weight", "1.running_mean")
    net.metadata["kind"] = "test"
    parameters, flat, running = net.named_parameters(), net.parameters, net.named_buffers()["1.running_var"].copy()
    values = {name: array.copy() for name, array in parameters.items()}
    net.standardize(x)
    assert net.parameters is flat
    assert net.frozen == ("1.weight", "2.running_mean")
    assert net.metadata == {"kind": "test"}
    for name, array in net.named_parameters().items():
        number, own = name.split(".")
        np.testing.assert_array_equal(array, values[f"{int(number) - 1}.{own}"])
    np.testing.assert_array_equal(net.named_buffers()["2.running_var"], running)
    assert net.inputs == 4


def test_dense_layers_behind_it_run_in_one_call_with_the_same_bits(backend, dtype):
    x, _ = raw(dtype=dtype)
    nets = [fa.Sequential(fa.Dense(4, 9, "gelu"), fa.Dense(9, 2), dtype=np.dtype(dtype), rng=0) for _ in range(3)]
    for net in nets:
        net.standardize(x)
    one, other, frozen = nets
    other.observer = Seen()  # layer by layer
    frozen.freeze("1.*")
    first = frozen.named_parameters()["1.weight"].copy()
    assert (one._stack is None) == (not backends.compiled)
    for rows in (300, 40, 300, 40, 7, 7, 300):
        grad = np.random.default_rng(rows).normal(size=(rows, 2)).astype(dtype)
        outputs = [net.forward(x[:rows], training=True).copy() for net in nets]
        slopes = [net.backward(grad, need_input_grad=True).copy() for net in nets]
        for found in (outputs, slopes):
            np.testing.assert_array_equal(found[0], found[1])
            np.testing.assert_array_equal(found[0], found[2])
        np.testing.assert_array_equal(one(x[:rows]), outputs[0])
        np.testing.assert_array_equal(one.gradients, other.gradients)
        np.testing.assert_array_equal(frozen.named_gradients()["2.weight"], one.named_gradients()["2.weight"])
    h = 1e-4 * SCALES
    if dtype == np.float64:
        for i in range(4):
            step = np.eye(4)[i] * h
            numeric = ((one(x[:7] + step) - one(x[:7] - step)) / (2 * h[i]) * grad[:7]).sum(axis=1)
            np.testing.assert_allclose(slopes[0][:7, i], numeric, rtol=1e-5, atol=1e-9 / SCALES[i])
    fa.optim.SGD(0.1).step(frozen)
    np.testing.assert_array_equal(frozen.named_parameters()["1.weight"], first)
    with pytest.raises(TypeError, match=r"Sequential: expected x to be"):
        one(x.astype(np.float64 if dtype == np.float32 else np.float32))


def test_columns_that_do_not_vary_and_far_ones():
    x = np.tile(np.array([[0.1, 1e30, 0.0]], np.float32), (5000, 1))
    x[:, 2] = np.arange(5000) + 1e6
    net = fa.Sequential(fa.Standardize(3), rng=0)
    net.standardize(x)
    y = net(x)
    assert (np.abs(y[:, :2]) < 1e-6 * np.abs(x[:, :2])).all()
    assert y[:, 2].std() == pytest.approx(1, rel=1e-3)
    np.testing.assert_array_equal(net.layers[0].buffers["scale"][:2], 1)


@pytest.mark.parametrize("x", [np.empty((0, 4)), np.full((3, 4), np.nan), np.ones((3, 5))])
def test_errors(x):
    net = network()
    with pytest.raises(ValueError, match=r"standardize: expected|Sequential.standardize"):
        net.standardize(x.astype(np.float32))
    assert len(net.layers) == 3


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    x, y = raw()
    nets = [network() for _ in range(2)]
    path = tmp_path / "run.safetensors"
    fit(nets[0], x, y, epochs=4, standardize=True)
    fit(nets[1], x, y, epochs=2, standardize=True, checkpoint=path)
    again = network()
    fit(again, x, y, epochs=4, standardize=True, resume=path)
    np.testing.assert_array_equal(again.parameters, nets[0].parameters)
    np.testing.assert_array_equal(again.buffers, nets[0].buffers)


def test_a_checkpoint_that_is_refused_leaves_no_layer_behind(tmp_path):
    x, y = raw()
    path = tmp_path / "run.safetensors"
    fit(network(), x, y, epochs=2, standardize=True, checkpoint=path)
    for other in ({"batch_size": 7}, {"optimizer": fa.optim.SGD(0.1)}, {"x": x + 1}, {"net": plain()}):
        options = {"net": network(), "x": x, "y": y, "epochs": 4, **other}
        net = options["net"]
        layers, before, names = net.layers, net.parameters.copy(), list(net.named_parameters())
        optimizer = options.setdefault("optimizer", fa.optim.Adam(0.001))
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            fit(**options, standardize=True, resume=path)
        assert net.layers is layers
        assert list(net.named_parameters()) == names
        np.testing.assert_array_equal(net.parameters, before)
        assert optimizer.steps == 0
        with pytest.warns(TrainingWarning, match="differ in scale"):
            fit(net, x, y, epochs=1)  # and it trains


# --------------------------------------------------------------------------------------------- what is said


def plain(activation="relu", *front):
    return fa.Sequential(*front, fa.Dense(4, 16, activation), fa.Dense(16, 2), rng=1)


def test_the_default_trains_on_raw_columns():
    """As scikit-learn's estimators do with Adam; with SGD(0.01, momentum=0.9) all units die in the first steps."""
    x, y = raw()
    net = plain()
    with pytest.warns(TrainingWarning):
        fit(net, x, y, epochs=30)
    assert fa.evaluate(net, x, y, metrics="accuracy")["accuracy"] > 0.7


def test_the_default_optimizer_is_adam():
    x, y = raw()
    one, other = plain("tanh", fa.BatchNorm(inputs=4)), plain("tanh", fa.BatchNorm(inputs=4))
    fit(one, x, y, epochs=2)
    fit(other, x, y, epochs=2, optimizer=fa.optim.Adam(0.001, (0.9, 0.999)))
    np.testing.assert_array_equal(one.parameters, other.parameters)


def test_columns_of_other_scales_are_named_once():
    x, y = raw()
    with pytest.warns(TrainingWarning, match=r"^fit: the columns of x differ in scale, .*standardize=True") as caught:
        fit(plain("sigmoid"), x, y, epochs=3)  # which saturates, too
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_a_dead_network_is_named_once(activation):
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    net = plain(activation)
    net.layers[0].parameters["bias"][...] = -60
    with pytest.warns(TrainingWarning, match=r"^fit: after the first epoch .*standardize=True") as caught:
        fit(net, x, y, epochs=3, optimizer=fa.optim.SGD(1e-3))
    assert len(caught) == 1


def test_where_nothing_is_wrong_nothing_is_said():
    x, y = raw()
    pixels = np.random.default_rng(0).uniform(0, 1, size=(300, 4)).astype(np.float32)
    pixels[:, 3] = 0
    pixels[7, 3] = 1 / 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(plain(), x, y, epochs=2, standardize=True)
        fit(plain("relu", fa.BatchNorm(inputs=4)), x, y, epochs=2)
        fit(plain(), pixels, y, epochs=2)
        fit(plain(), np.ones((20, 4)), np.zeros(20, int), epochs=2)
