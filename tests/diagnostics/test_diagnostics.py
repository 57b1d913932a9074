"""Diagnostics against counts by hand, Monitor during training, and gradient checks that find what is wrong."""

import contextlib
import math
import textwrap
import warnings

import numpy as np
import pytest
import support

import fastact as fa
from fastact import diagnostics
from fastact.diagnostics import check_gradients, column_statistics, observe

SHAPES = [(1, 1), (1, 40), (3, 5), (64, 16), (65, 17), (200, 33), (129, 70)]


def values(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 1, shape) * (rng.random(shape) > 0.3)
    return x.astype(dtype)


# ------------------------------------------------------------------------------------------------ one pass


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.usefixtures("engine")
def test_column_statistics(dtype, shape):
    x = values(shape, dtype)
    got = column_statistics(x, 0.25)
    wide = x.astype(np.longdouble)
    np.testing.assert_array_equal(got.above, [sum(v > 0 for v in column) for column in x.T])
    np.testing.assert_array_equal(got.below, [sum(v < 0 for v in column) for column in x.T])
    np.testing.assert_array_equal(got.small, [sum(abs(v) < 0.25 for v in column) for column in x.T])
    tolerance = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(got.mean, wide.mean(axis=0), rtol=tolerance, atol=tolerance)
    squares = np.square(wide - wide.mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(got.squares, squares, rtol=10 * tolerance, atol=1e-30)


@pytest.mark.usefixtures("engine")
def test_column_statistics_of_special_values(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([[0.0, -0.0, tiny, -tiny, np.nan, np.inf, 1]] * 3, dtype)
    with np.errstate(all="ignore"):
        got = column_statistics(x, 0.5)
    assert got.above.tolist() == [0, 0, 3, 0, 0, 3, 3]
    assert got.below.tolist() == [0, 0, 0, 3, 0, 0, 0]
    assert got.small.tolist() == [3, 3, 3, 3, 0, 0, 0]
    assert np.isnan(got.mean).tolist() == [False] * 4 + [True, True, False]


@pytest.mark.usefixtures("engine")
def test_a_small_variance_beside_a_large_mean(dtype):
    rng = np.random.default_rng(1)
    x = (1000 + 0.01 * rng.normal(size=(300, 20))).astype(dtype)
    wide = x.astype(np.longdouble)
    expected = np.square(wide - wide.mean(axis=0)).sum(axis=0)
    np.testing.assert_allclose(column_statistics(x).squares, expected, rtol=1e-4 if dtype is np.float32 else 1e-10)


def test_column_statistics_same_bits_with_threads_and_instruction_sets(dtype):
    x = values((700, 203), dtype)
    results = []
    for name in support.FMA_SETS:
        with support.using_instruction_set(name):
            for threads in (1, 2, 3):
                with fa.num_threads(threads):
                    results.append(np.array(column_statistics(x, 0.1)))
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_column_statistics_takes_any_layout_and_refuses_the_rest(dtype):
    x = values((12, 10), dtype)
    expected = column_statistics(x, 0.1)
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x.astype(x.dtype.newbyteorder())):
        for a, b in zip(column_statistics(same, 0.1), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    out = np.empty((5, 10))
    assert column_statistics(x, out=out).mean.base is out
    with pytest.raises(TypeError, match=r"column_statistics: expected float32 or float64, got int64"):
        column_statistics(np.ones((2, 2), np.int64))
    with pytest.raises(ValueError, match="at least one row"):
        column_statistics(x[:0])
    with pytest.raises(ValueError, match="x"):
        column_statistics(x[0])
    with pytest.raises(ValueError, match="expected out to be float64"):
        column_statistics(x, out=np.empty((5, 9)))
    with pytest.raises(ValueError, match="small"):
        column_statistics(x, -1.0)


# ------------------------------------------------------------------------------------------------ a network by hand


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def small_network(dtype):
    layers = fa.Dense(5, 7, "relu"), fa.Dense(7, 4, "sigmoid"), fa.Dense(4, 3)
    return fa.Sequential(*layers, dtype=dtype, rng=3)


@pytest.mark.usefixtures("engine")
def test_statistics_of_two_steps_by_hand(dtype):
    net = small_network(dtype)
    net.layers[0].parameters["bias"][2] = -50  # dead
    net.layers[1].parameters["bias"][1] = 9  # saturated
    rng = np.random.default_rng(5)
    batches = [(rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3))) for rows in (6, 9)]
    rate = 0.1
    p = {name: array.astype(np.float64) for name, array in net.named_parameters().items()}
    seen = {"zeros": [[], [], []], "y": [[], [], []], "slope": [[], []], "dy": [[], [], []]}
    weights = {"norm": [[], [], []], "ratio": [[], [], []], "sign": [[], [], []]}
    for x, t in batches:
        h1 = np.maximum(0, x @ p["0.weight"] + p["0.bias"])
        h2 = sigmoid(h1 @ p["1.weight"] + p["1.bias"])
        out = h2 @ p["2.weight"] + p["2.bias"]
        d = [None, None, 2 * (out - t)]
        d[1] = d[2] @ p["2.weight"].T
        dz2 = d[1] * h2 * (1 - h2)
        d[0] = dz2 @ p["1.weight"].T
        dz1 = d[0] * (h1 > 0)
        for i, (y, below, dz) in enumerate(((h1, x, dz1), (h2, h1, dz2), (out, h2, d[2]))):
            seen["y"][i].append(y)
            seen["dy"][i].append(np.linalg.norm(d[i]))
            dw = below.T @ dz
            up, down = (dw > 0).sum(axis=0), (dw < 0).sum(axis=0)
            counted = up + down > 0
            weights["norm"][i].append(np.linalg.norm(dw))
            weights["sign"][i].append(np.mean(np.maximum(up, down)[counted] / (up + down)[counted]))
            after = p[f"{i}.weight"] - rate * dw
            weights["ratio"][i].append(rate * np.linalg.norm(dw) / np.linalg.norm(after))
            p[f"{i}.weight"], p[f"{i}.bias"] = after, p[f"{i}.bias"] - rate * dz.sum(axis=0)
        seen["slope"][0].append((h1 > 0).astype(float))
        seen["slope"][1].append(h2 * (1 - h2))

    optimizer = fa.optim.SGD(lr=rate)
    with observe(net) as stats:
        for x, t in batches:
            out = net.forward(x.astype(dtype), training=True)
            net.backward(fa.squared_error(out, t.astype(dtype), reduction="sum").grad)
            optimizer.step(net)
    assert stats.batches == 2
    assert net.observer is None
    close = {"rel": 2e-4 if dtype is np.float32 else 1e-9, "abs": 1e-6 if dtype is np.float32 else 1e-12}
    for i, got in enumerate(stats.layers):
        y = np.concatenate(seen["y"][i])
        assert (got.layer, got.units, got.batches) == (i, y.shape[1], 2)
        assert got.zeros == pytest.approx(np.mean(y == 0), abs=1e-12)
        assert got.mean == pytest.approx(y.mean(), **close)
        assert got.variance == pytest.approx(y.var(), **close)
        assert got.output_gradient == pytest.approx(np.mean(seen["dy"][i]), **close)
        assert got.weight_gradient == pytest.approx(np.mean(weights["norm"][i]), **close)
        assert got.update_ratio == pytest.approx(np.mean(weights["ratio"][i]), **close)
        assert got.one_sign == pytest.approx(np.mean(weights["sign"][i]), **close)
    first, second, third = stats.layers
    slope = np.concatenate(seen["slope"][0])
    assert stats.dead_units(0) == np.flatnonzero((slope == 0).all(axis=0)).tolist()
    assert 2 in stats.dead_units(0)
    assert first.dead == pytest.approx(np.mean((slope == 0).all(axis=0)))
    assert first.dead_in_batch == pytest.approx(np.mean([(s == 0).all(axis=0).mean() for s in seen["slope"][0]]))
    assert first.zero_slopes == pytest.approx(np.mean(slope == 0))
    assert (first.saturated, first.small_slopes) == (0, 0)
    slope = np.concatenate(seen["slope"][1])
    assert stats.saturated_units(1) == [1] == np.flatnonzero((slope < 0.01).all(axis=0)).tolist()
    assert (second.dead, second.dead_in_batch, second.zero_slopes, second.saturated) == (0, 0, 0, 0.25)
    assert second.small_slopes == pytest.approx(np.mean(slope < 0.01))
    assert (third.dead, third.saturated, third.zero_slopes, third.small_slopes) == (None,) * 4
    lines = stats.report().splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("0 Dense relu ")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("name", "bias", "dead", "saturated"),
    [
        ("relu", -100, 1, 0),
        ("relu", 100, 0, 0),
        ("leaky_relu", -100, 0, 0),
        ("hard_tanh", 100, 1, 0),
        ("hard_swish", -100, 1, 0),
        ("elu", -100, 0, 1),  # the slope rounds to 0 and is none
        ("sigmoid", 100, 0, 1),
        ("tanh", 5, 0, 1),
        ("gelu", -100, 0, 1),
        ("softplus", 0, 0, 0),
    ],
)
def test_dead_is_told_from_saturated(dtype, name, bias, dead, saturated):
    net = fa.Sequential(fa.Dense(2, 3, name), dtype=dtype, rng=0)
    net.layers[0].parameters["bias"][...] = bias
    with observe(net) as stats:
        net.forward(values((8, 2), dtype), training=True)
    (got,) = stats.layers
    assert (got.dead, got.saturated) == (dead, saturated)


def test_a_unit_silent_in_one_batch_is_not_dead():
    net = fa.Sequential(fa.Dense(1, 1, "relu", weight_init=fa.init.Constant(1.0)))
    with observe(net) as stats:
        net.forward(np.full((4, 1), -1, np.float32), training=True)
        assert stats.layers[0].dead == 1
        net.forward(np.full((4, 1), 1, np.float32), training=True)
        assert (stats.layers[0].dead, stats.layers[0].dead_in_batch) == (0, 0.5)
        stats.clear()
        assert (stats.batches, stats.layers[0].dead) == (0, None)


def test_observing_changes_no_bit(dtype):
    def train(observed):
        net, optimizer = small_network(dtype), fa.optim.Adam(lr=0.01)
        x, labels = values((16, 5), dtype), np.arange(16) % 3
        with observe(net) if observed else contextlib.nullcontext():
            for _ in range(5):
                net.backward(fa.softmax_cross_entropy(net.forward(x, training=True), labels).grad)
                optimizer.step(net)
        return net.parameters

    np.testing.assert_array_equal(train(True), train(False))


def test_outputs_that_are_not_finite_are_said_so():
    net = fa.Sequential(fa.Dense(2, 3, "relu"), fa.Dense(3, 2), rng=0)
    net.layers[0].parameters["weight"][0, 1] = np.nan
    with observe(net) as stats:
        net.backward(net.forward(values((4, 2), np.float32), training=True))
    assert math.isnan(stats.layers[0].mean)
    assert stats.layers[0].as_dict()["mean"] is None
    assert 1 not in stats.dead_units(0)


def test_observe_refuses_what_it_cannot_observe():
    with pytest.raises(TypeError, match="expected net to be a Sequential"), observe(3):
        pass
    with pytest.raises(ValueError, match="saturation"), observe(small_network("float32"), saturation=-1):
        pass


# ------------------------------------------------------------------------------------------------ during fit


def train_with(monitor, net, x, y, epochs=2, batch_size=8, lr=0.1):
    return fa.fit(
        net, x, y, optimizer=fa.optim.SGD(lr=lr), epochs=epochs, batch_size=batch_size, rng=0, progress=False,
        callbacks=[monitor],
    )  # fmt: skip


def data(rows=64):
    rng = np.random.default_rng(2)
    return rng.normal(size=(rows, 5)).astype(np.float32), np.arange(rows) % 3


def test_monitor_sees_every_so_many_batches_and_changes_nothing():
    x, y = data()
    monitor, net, plain = fa.Monitor(every=3, warn=False), small_network("float32"), small_network("float32")
    train_with(monitor, net, x, y)
    fa.fit(plain, x, y, optimizer=fa.optim.SGD(lr=0.1), epochs=2, batch_size=8, rng=0, progress=False)
    np.testing.assert_array_equal(net.parameters, plain.parameters)
    assert net.observer is None
    assert [layers[0].batches for _, layers in monitor.epochs] == [3, 3]  # batches 0, 3, 6 and 9, 12, 15
    assert "observed 6 of 16 batches, one in 3" in monitor.report()
    assert all(0 < s.update_ratio < 1 and s.weight_gradient > 0 for _, layers in monitor.epochs for s in layers)


def test_monitor_warns_once_for_each_layer_and_kind():
    x, y = data()
    net = small_network("float32")
    net.layers[0].parameters["bias"][:5] = -100
    net.layers[1].parameters["bias"][:2] = 40
    monitor = fa.Monitor(every=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train_with(monitor, net, x, y, epochs=3)
    texts = [str(w.message) for w in caught]
    assert texts == monitor.warnings
    assert all(issubclass(w.category, diagnostics.TrainingWarning) for w in caught)
    assert texts[0] == "layer 0: 71 % of units dead; lower the learning rate or use a positive bias"
    assert texts[1].startswith("layer 1: 50 % of units saturated; ")
    assert len(texts) == 2
    assert texts[0] in monitor.report()


def test_monitor_warns_of_large_steps_and_respects_limits():
    x, y = data()
    quiet = fa.Monitor(every=1, limits={"dead": 1, "saturated": 1, "step": 1e9})
    train_with(quiet, small_network("float32"), x, y, epochs=1, lr=20.0)
    assert quiet.warnings == []
    loud = fa.Monitor(every=1, warn=False)
    train_with(loud, small_network("float32"), x, y, epochs=1, lr=20.0)
    assert any("a step changes the weights by" in text for text in loud.warnings)


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"every": 1.5}, {"saturation": -1}, {"limits": {"size": 1}}, {"limits": {"dead": -1}}]
)
def test_monitor_refuses(options):
    with pytest.raises((TypeError, ValueError), match="Monitor"):
        fa.Monitor(**options)


def test_several_observers_see_the_same():
    """Monitors beside each other, and within ``observe``: each sees what it would see alone, and none stays."""
    x, labels = values((60, 5), np.float32), np.arange(60) % 3

    def trained(*monitors):
        net = small_network("float32")
        fa.fit(net, x, labels, epochs=2, batch_size=10, callbacks=monitors, progress=False, rng=0)
        assert net.observer is None
        return [[(epoch, repr(layers)) for epoch, layers in monitor.epochs] for monitor in monitors]

    def makers():
        return fa.Monitor(every=2, warn=False), fa.Monitor(every=3, warn=False), fa.Monitor(every=1, warn=False)

    together = trained(*makers())
    alone = [trained(monitor)[0] for monitor in makers()]
    assert together == alone
    assert all(len(epochs) == 2 for epochs in together)

    net = small_network("float32")
    with observe(net) as outer:
        with observe(net) as inner:
            net.forward(x, training=True)
        assert net.observer is outer
        net.forward(x, training=True)
    assert net.observer is None
    assert (outer.batches, inner.batches) == (2, 1)


def test_monitors_let_go_after_batches_that_count_nothing_and_errors():
    x, labels = values((60, 5), np.float32), np.arange(60) % 3
    labels[:30] = -100
    net = small_network("float32")
    monitors = [fa.Monitor(every=1, warn=False), fa.Monitor(every=1, warn=False)]
    fa.fit(net, x, labels, epochs=2, batch_size=10, shuffle=False, callbacks=monitors, progress=False)
    assert net.observer is None
    assert all(monitor._seen == 6 for monitor in monitors)

    def failing(outputs, targets):
        raise RuntimeError("within the step")

    net.observer = own = Flat()
    with pytest.raises(RuntimeError, match="within the step"):
        fa.fit(net, x, labels, loss=failing, callbacks=monitors, progress=False)
    assert net.observer is own


class Flat:
    """An observer of one's own."""

    def forward(self, *_):
        pass

    def backward(self, *_):
        pass


def test_monitor_says_when_it_saw_nothing():
    assert fa.Monitor().report() == "nothing observed yet"


# ------------------------------------------------------------------------------------------------ gradient checks


@pytest.mark.parametrize("name", sorted(fa.registry.ACTIVATIONS))
@pytest.mark.usefixtures("backend")
def test_gradients_of_every_activation_are_right(name):
    net = fa.Sequential(fa.Dense(4, 6, name), fa.Dense(6, 3), rng=1)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 1, 0])
    before = net.parameters.copy()
    result = check_gradients(net, "softmax_cross_entropy", x, labels, samples=12)
    assert result.ok, str(result)
    assert list(result.parameters) == ["input", "0.weight", "1.weight", "0.bias", "1.bias"]
    assert result.parameters["0.weight"].checked + result.parameters["0.weight"].skipped == 12
    np.testing.assert_array_equal(net.parameters, before)


class Flipped(fa.Dense):
    """Its bias gradient has the wrong sign."""

    def backward(self, grad, need_input_grad=True):
        dx = super().backward(grad, need_input_grad)
        self.gradients["bias"] *= -1
        return dx


def test_a_wrong_gradient_is_found_and_named():
    net = fa.Sequential(fa.Dense(4, 6, "relu"), Flipped(6, 5, "tanh"), fa.Dense(5, 3), rng=1)
    x, labels = values((5, 4), np.float64), np.array([0, 1, 2, 1, 0])
    result = check_gradients(net, "softmax_cross_entropy", x, labels)
    wrong = [name for name, check in result.parameters.items() if check.error > 1e-5]
    assert wrong == ["1.bias"]
    assert (result.ok, result.verdict) == (False, "wrong")
    worst = result.parameters["1.bias"]
    assert worst.gradient == pytest.approx(-worst.difference, rel=1e-6)
    assert worst.error == pytest.approx(2, rel=1e-6)
    assert "1.bias" in str(result)


class Scaled(fa.Dense):
    """Its weight gradient is off by a hundredth of a percent."""

    def backward(self, grad, need_input_grad=True):
        dx = super().backward(grad, need_input_grad)
        self.gradients["weight"] *= 1.0001
        return dx


def test_a_slightly_wrong_gradient_is_found_among_kinks():
    net = fa.Sequential(Scaled(4, 20, "relu"), fa.Dense(20, 3), rng=1)
    x, labels = values((20, 4), np.float64), np.arange(20) % 3
    assert not check_gradients(net, "softmax_cross_entropy", x, labels).ok


def test_a_corner_is_skipped_and_counted():
    net = fa.Sequential(fa.Dense(3, 4, "relu"), fa.Dense(4, 2), rng=0)
    x = np.array([[0.0, 0, 0], [1, -2, 0.5]])  # with zero biases all units of the first row sit on the corner
    result = check_gradients(net, "squared_error", x, np.ones((2, 2)))
    assert result.ok, str(result)
    assert 0 < result.parameters["0.bias"].skipped <= 4
    assert result.parameters["1.weight"].skipped == 0
    assert result.skipped >= result.parameters["0.bias"].skipped


def test_kinks_of_the_loss_are_skipped():
    net = fa.Sequential(fa.Dense(2, 1, bias=False, weight_init=fa.init.Constant(1.0)))
    x = np.array([[1.0, 2.0], [0.5, 3.0]])
    target = x.sum(axis=1, keepdims=True)

    def loss(outputs, y):
        return fa.quantile(outputs, y, q=0.9)

    result = check_gradients(net, loss, x, target)
    assert (result.checked, result.skipped) == (0, 6)  # all of it lies on the kink
    assert (result.ok, result.verdict) == (False, "nothing compared")
    assert check_gradients(net, loss, x, target + 1).ok


def every_kink_at_once(name):
    """A network, a loss, data and targets, at a point where several kinks meet in many elements."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4, 5)), rng.normal(size=(4, 3))
    x[1] = 0
    if name == "maxout":
        first = fa.Dense(5, 4, fa.activation("maxout", pieces=3), bias=False)
    elif name == "prelu":
        first = fa.Dense(5, 40, "prelu", bias=False)
    else:
        first = fa.Dense(5, 40, "relu", bias=False)
    more = [fa.Dense(40, 30, "relu", bias=False), fa.Dense(30, 40)] if name == "two layers" else []
    net = fa.Sequential(first, *more, fa.Dense(first.outputs, 3), dtype="float64", rng=2)
    if name == "same sign":  # the gradient is far from the differences on both sides
        net.layers[0].parameters["weight"][...] = np.abs(net.layers[0].parameters["weight"])
        net.layers[0].parameters["weight"][:, ::2] *= -1
        net.layers[1].parameters["weight"][...] = 1
    if name == "loss":
        y[2:] = net(x)[2:]
        return net, "absolute_error", x, y
    return net, "squared_error", x, y


@pytest.mark.parametrize("name", ["relu", "two layers", "same sign", "maxout", "prelu", "loss"])
@pytest.mark.usefixtures("backend")
def test_where_several_kinks_meet_nothing_is_called_wrong(name):
    net, loss, x, y = every_kink_at_once(name)
    before = x.copy(), net.parameters.copy()
    for seed in range(3):
        result = check_gradients(net, loss, x, y, samples=None, rng=seed)
        assert result.ok, str(result)
        assert result.skipped > 0
        assert result.checked > result.skipped
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(net.parameters, before[1])


def test_a_wrong_gradient_is_found_where_kinks_meet():
    x, y = values((4, 5), np.float64), values((4, 3), np.float64)
    x[1] = 0
    for layer in (Scaled(5, 20, "relu", bias=False), Flipped(5, 20, "relu")):
        net = fa.Sequential(layer, fa.Dense(20, 3), dtype="float64", rng=0)
        result = check_gradients(net, "squared_error", x, y, samples=None)
        wrong = [name for name, check in result.parameters.items() if check.error > 1e-5]
        assert wrong == ["0.weight" if isinstance(layer, Scaled) else "0.bias"]


class Squared(fa.layers.Layer):
    """x * x, whose gradient is wrong where x is exactly 0."""

    inputs = outputs = 5

    def forward(self, x, training=False):
        self.x = x.copy()
        return x * x

    def backward(self, grad, need_input_grad=True):
        return grad * np.where(self.x == 0, 1, 2 * self.x)


def test_a_gradient_that_is_wrong_at_one_point_is_no_kink():
    net = fa.Sequential(Squared(), fa.Dense(5, 3), dtype="float64", rng=0)
    x = values((4, 5), np.float64)
    x[1] = 0
    result = check_gradients(net, "squared_error", x, values((4, 3), np.float64), samples=None)
    assert result.verdict == "wrong"
    assert x[result.parameters["input"].index] == 0


def own_loss(outputs, y):
    return fa.squared_error(outputs, y)


@pytest.mark.parametrize(
    ("loss", "outputs", "given", "plain"),
    [
        ("squared_error", 1, [3, 1, 2, 5], np.array([[3.0], [1], [2], [5]])),
        ("squared_error", 2, [[3, 1], [2, 5], [0, 1], [1, 1]], np.array([[3.0, 1], [2, 5], [0, 1], [1, 1]])),
        ("bce_with_logits", 1, [True, False, False, True], np.array([[1.0], [0], [0], [1]])),
        ("softmax_cross_entropy", 3, [0.0, 2.0, 1.0, 1.0], np.array([0, 2, 1, 1])),
        ("softmax_cross_entropy", 3, np.array([[0], [2], [1], [1]], np.uint8), np.array([0, 2, 1, 1])),
        ("softmax_cross_entropy", 3, np.eye(3, dtype=int)[[0, 2, 1, 1]], np.eye(3)[[0, 2, 1, 1]]),
        (own_loss, 1, np.array([3.0, 1, 2, 5], np.float32), np.array([[3.0], [1], [2], [5]])),
    ],
)
def test_targets_are_converted_as_fit_does(loss, outputs, given, plain):
    net = fa.Sequential(fa.Dense(5, 4, "tanh"), fa.Dense(4, outputs), rng=0)
    x = values((4, 5), np.float32).tolist()
    result = check_gradients(net, loss, x, given)
    assert result.ok
    assert result == check_gradients(net, loss, np.array(x), plain)
    fa.fit(net, x, given, loss=loss, epochs=1, progress=False)


def test_a_function_of_ones_own_may_have_targets_of_its_own():
    net, x, y = small_network("float64"), values((4, 5), np.float64), values((4, 3), np.float64)
    expected = check_gradients(net, "squared_error", x, y)
    for loss, given in (
        (lambda z, _: fa.squared_error(z, y), None),
        (lambda z, pair: fa.squared_error(z, pair[0] + pair[1]), (y - 1.0, np.ones((4, 3)))),
        (lambda z, named: fa.squared_error(z, named["y"]), {"y": y}),
    ):
        assert check_gradients(net, loss, x, given).worst == pytest.approx(expected.worst, abs=1e-7)


def test_frozen_parameters_are_left_out():
    net = small_network("float32")
    net.freeze(0)
    result = check_gradients(net, "squared_error", values((4, 5), np.float64), values((4, 3), np.float64))
    assert result.ok
    assert list(result.parameters) == ["input", "1.weight", "2.weight", "1.bias", "2.bias"]


def test_loss_may_be_a_function_and_samples_may_be_all():
    net = small_network("float64")

    def loss(outputs, y):
        return fa.bce_with_logits(outputs, y, reduction="sum")

    result = check_gradients(net, loss, values((4, 5), np.float64), np.full((4, 3), 0.25), samples=None)
    assert result.ok
    assert result.checked + result.skipped == net.parameter_count + 20
    assert result.loss > 0


def test_check_gradients_refuses():
    net, x = small_network("float32"), np.ones((2, 5))
    with pytest.raises(TypeError, match="expected net to be a Sequential"):
        check_gradients(None, "squared_error", x, x)
    with pytest.raises(ValueError, match="expected loss to be one of"):
        check_gradients(net, "mse", x, np.ones((2, 3)))
    with pytest.raises(TypeError, match="expected loss to be a name or a function"):
        check_gradients(net, 3, x, np.ones((2, 3)))
    with pytest.raises(ValueError, match="samples"):
        check_gradients(net, "squared_error", x, np.ones((2, 3)), samples=0)


def test_other_kinds_of_layers():
    """Random numbers, statistics, learned slopes, and kinks that no slope shows."""
    net = fa.Sequential(
        fa.Dense(6, 8),
        fa.BatchNorm(),
        fa.PReLU(),
        fa.Dropout(0.4),
        fa.Dense(8, 10),
        fa.Maxout(2),
        fa.Residual(fa.Dense(5, 5, "relu"), fa.Swish()),
        fa.LayerNorm(),
        fa.Activation("softmax"),
        fa.Activation("gelu"),
        fa.Dense(5, 3),
        rng=0,
    )
    x, labels = values((9, 6), np.float32), np.arange(9) % 3
    before, statistics = net.random_state(), net.buffers.copy()
    result = check_gradients(net, "softmax_cross_entropy", x, labels, samples=20)
    assert result.ok, str(result)
    assert net.random_state() == before
    np.testing.assert_array_equal(net.buffers, statistics)
    with observe(net) as stats:
        loss = fa.softmax_cross_entropy(net.forward(x, training=True), labels)
        net.backward(loss.grad)
    seen = {type(layer).__name__: s for layer, s in zip(net.layers, stats.layers, strict=True)}
    assert seen["PReLU"].dead == 0
    assert 0.1 < seen["Dropout"].zeros < 0.9
    assert seen["Maxout"].dead is None
    assert seen["LayerNorm"].mean == pytest.approx(0, abs=1e-6)
    assert seen["Residual"].weight_gradient > 0
    assert seen["BatchNorm"].weight_gradient is None


def test_swish_rounds_its_slope_to_zero_and_prelu_does_not_die():
    for layer, kind in ((fa.Swish(), "saturated"), (fa.PReLU(), None), (fa.Activation("relu"), "dead")):
        net = fa.Sequential(fa.Dense(1, 2), layer, rng=0)
        net.layers[0].parameters["bias"][...] = -1000
        with observe(net) as stats:
            net.forward(values((5, 1), np.float32), training=True)
        got = stats.layers[1]
        assert (got.dead, got.saturated) == (float(kind == "dead"), float(kind == "saturated"))


def test_the_same_where_the_dense_layer_learns_the_activation():
    for name, kind in (("swish", "saturated"), ("prelu", None), ("relu", "dead")):
        net = fa.Sequential(fa.Dense(1, 2, name), rng=0)
        net.layers[0].parameters["bias"][...] = -1000
        with observe(net) as stats:
            net.forward(values((5, 1), np.float32), training=True)
        got = stats.layers[0]
        assert (got.dead, got.saturated) == (float(kind == "dead"), float(kind == "saturated"))


def test_the_example_of_the_package_runs(capsys):
    code = diagnostics.__doc__.partition("::\n")[2].partition("\n\nFor each layer")[0]
    exec(textwrap.dedent(code), {})
    assert "batches, one in 25" in capsys.readouterr().out
