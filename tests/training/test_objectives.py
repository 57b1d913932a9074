"""Losses by name, bound and custom; metrics."""

import functools
import inspect
import math

import numpy as np
import pytest
import support
from tasks import by_hand, fit, network, table

import fastact as fa
from fastact import losses
from fastact.data import conversion
from fastact.training.metrics import METRICS

LOSSES = {
    "bce_with_logits": fa.bce_with_logits,
    "squared_error": fa.squared_error,
    "absolute_error": fa.absolute_error,
    "huber": functools.partial(fa.huber, delta=0.25),
    "quantile": functools.partial(fa.quantile, q=0.9),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_loss_of_values_by_name_and_bound(name, weighted):
    x, _, targets = table()
    if name == "bce_with_logits":
        targets = (targets > 0).astype(np.float32)
    weights = np.random.default_rng(5).uniform(0, 2, len(x)) if weighted else None
    by_name = LOSSES[name] if isinstance(LOSSES[name], functools.partial) else name
    nets = [network() for _ in range(2)]
    history = fit(nets[0], x, targets, loss=by_name, epochs=2, sample_weight=weights, optimizer=fa.optim.SGD(0.1))
    losses = by_hand(nets[1], x, targets, LOSSES[name], fa.optim.SGD(0.1), 2, 32, 3, sample_weight=weights)
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    assert history.loss == pytest.approx(losses, rel=1e-6)


@pytest.mark.parametrize("size", [1e-170, 1.0, 1e150])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "squared_error", "class_weight"])
def test_weights_beyond_float32(name, size):
    """Of rows (down to 1e-170 times the size) and classes: float32 trains on them as float64 does."""
    x, labels, targets = table()
    weights = size * np.exp(-(np.linspace(-19.8, 19.8, len(x)) ** 2))
    loss, y = (fa.squared_error, targets) if name == "squared_error" else (fa.softmax_cross_entropy, labels)
    if name == "class_weight":
        loss = functools.partial(loss, class_weight=np.array([1e-150, 2e-150, 5e-150]))
    histories, results = [], []
    for dtype in ("float32", "float64"):
        net = network(dtype=dtype)
        histories.append(fit(net, x, y, loss=loss, epochs=3, batch_size=16, sample_weight=weights).loss)
        results.append(fa.evaluate(net, x, y, loss, sample_weight=weights)["loss"])
    assert histories[0] == pytest.approx(histories[1], rel=1e-4)
    assert results[0] == pytest.approx(results[1], rel=1e-4)
    assert results[0] > 0.01


def test_a_summed_loss_is_summed_over_the_epoch():
    x, _, targets = table()
    loss = functools.partial(fa.squared_error, reduction="sum")
    history = fit(network(), x, targets, loss=loss, epochs=1, optimizer=fa.optim.SGD(1e-30))
    assert history.loss[0] == pytest.approx(fa.evaluate(network(), x, targets, loss)["loss"], rel=1e-5)


def test_rows_of_probabilities_and_one_output():
    x, labels, targets = table()
    nets = [network() for _ in range(2)]
    fit(nets[0], x, labels, epochs=2)
    fit(nets[1], x, np.eye(3)[labels], epochs=2)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-4, atol=1e-6)
    nets = [network(outputs=1) for _ in range(2)]
    fit(nets[0], x, targets[:, 0], loss="squared_error", epochs=2)
    fit(nets[1], x, targets[:, :1], loss="squared_error", epochs=2)
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)


def test_a_custom_loss():
    x, labels, targets = table()
    seen = []

    def plain(outputs, goal):
        seen.append(goal.dtype)
        d = outputs - goal
        return float(np.mean(d * d)), 2 * d / d.size

    def with_out(outputs, goal, out):
        np.subtract(outputs, goal, out=out)
        value = float(np.mean(out * out))
        out *= 2 / out.size
        return value, out

    nets = [network() for _ in range(3)]
    for net, loss in zip(nets, (plain, with_out, "squared_error"), strict=True):
        fit(net, x, targets, loss=loss, epochs=2)
    np.testing.assert_allclose(nets[0].parameters, nets[2].parameters, rtol=1e-5)
    np.testing.assert_allclose(nets[1].parameters, nets[2].parameters, rtol=1e-5)
    assert set(seen) == {np.dtype(np.float32)}

    def numbers(outputs, goal):
        assert goal.dtype == np.int64
        return fa.softmax_cross_entropy(outputs, goal)

    other = [network() for _ in range(2)]
    fit(other[0], x, labels, loss=numbers, epochs=1)
    fit(other[1], x, labels, epochs=1)
    support.assert_same_bits(other[0].parameters, other[1].parameters)
    assert fa.evaluate(network(), x, labels, numbers, ["accuracy"]).keys() == {"loss", "accuracy"}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.uint8, bool])
def test_a_custom_loss_is_given_a_column_for_one_output(kind):
    x, _, _ = table()
    y = (np.arange(len(x)) % 2).astype(kind)

    def loss(outputs, goal):
        assert (goal.shape, goal.dtype) == (outputs.shape, np.float32)
        return fa.squared_error(outputs, goal)

    nets = [network(outputs=1) for _ in range(2)]
    options = {"epochs": 2, "metrics": "r2"}
    for given in (y, y.tolist(), y[:, None]):
        nets = [network(outputs=1) for _ in range(2)]
        histories = [fit(nets[0], x, given, loss=loss, **options), fit(nets[1], x, y, loss="squared_error", **options)]
        assert histories[0].metrics == histories[1].metrics
        support.assert_same_bits(nets[0].parameters, nets[1].parameters)
        results = [fa.evaluate(nets[0], x, given, each, "r2") for each in (loss, "squared_error")]
        assert results[0] == results[1]


def test_r2_against_its_definition():
    x, _, targets = table(rows=60)
    net = network()
    history = fit(net, x, targets, loss="huber", validation=(x, targets), epochs=1)
    y = fa.predict(net, x).astype(np.float64)
    each = 1 - ((targets - y) ** 2).sum(0) / ((targets - targets.mean(0, dtype=np.float64)) ** 2).sum(0)
    assert history["validation_r2"] == pytest.approx([each.mean()])
    constant = np.column_stack([targets[:, 0], np.ones(60), y[:, 2]])
    result = fa.evaluate(net, x, constant, "squared_error")
    first = 1 - ((targets[:, 0] - y[:, 0]) ** 2).sum() / ((targets[:, 0] - targets[:, 0].mean()) ** 2).sum()
    assert result["r2"] == pytest.approx((first + 0 + 1) / 3, rel=1e-5)


@pytest.mark.parametrize("given", [lambda y: y, lambda y: y[:, None], lambda y: np.repeat(y[:, None], 3, axis=1)])
def test_several_quantiles_are_trained_and_measured(given):
    """Of skewed noise, whose quantiles are known; in the history are pinball loss and coverage, not R2."""
    rng = np.random.default_rng(8)
    x = rng.uniform(-1, 1, (3000, 1))
    y = (1 + x[:, 0] ** 2) * rng.exponential(size=3000)
    net = fa.Sequential(fa.Dense(1, 16, "tanh"), fa.Dense(16, 3), rng=0)
    levels = [0.1, 0.5, 0.9]
    history = fa.fit(
        net, x, given(y), loss=functools.partial(fa.quantile, q=levels), epochs=40, batch_size=64, rng=0,
        optimizer=fa.optim.Adam(0.01), validation=(x[:500], given(y[:500])), progress=False,
    )  # fmt: skip
    grid = np.linspace(-0.9, 0.9, 7)
    expected = -np.log(1 - np.array(levels)) * (1 + grid[:, None] ** 2)  # the exponential distribution's
    np.testing.assert_allclose(fa.predict(net, grid[:, None]), expected, atol=0.35, rtol=0.15)
    found = fa.predict(net, x[:500])
    inside = np.mean((found[:, 0] <= y[:500]) & (y[:500] <= found[:, 2]))
    assert history.validation_coverage[-1] == pytest.approx(inside, abs=1e-3)
    assert 0.75 < inside < 0.85
    assert history.validation_pinball[-1] == pytest.approx(history.validation_loss[-1], rel=1e-5)
    assert "validation_r2" not in history


def test_one_quantile_is_measured_by_pinball_and_coverage():
    x, _, targets = table()
    net = network()
    history = fit(net, x, targets, loss=LOSSES["quantile"], epochs=1, validation=(x, targets))
    outputs = fa.predict(net, x)
    above = targets - outputs
    assert history.validation_coverage == [pytest.approx(np.mean(above <= 0))]
    assert history.validation_pinball == [
        pytest.approx(np.mean(np.where(above > 0, 0.9 * above, -0.1 * above)), rel=1e-5)
    ]
    default = fit(network(), x, targets, loss="quantile", epochs=1, validation=(x, targets))
    assert default.validation_pinball == [pytest.approx(default.validation_loss[0], rel=1e-5)]
    with pytest.raises(ValueError, match="EarlyStopping: neither more nor less validation_coverage is better"):
        fa.training.EarlyStopping(monitor="validation_coverage")
    assert fa.training.EarlyStopping(monitor="validation_coverage", mode="max").mode == "max"
    assert fa.training.EarlyStopping(monitor="validation_pinball").mode == "min"


def test_accuracy_of_every_kind_of_target():
    net = fa.Sequential(fa.Dense(2, 2), rng=0)
    net.set_parameters({"0.weight": np.eye(2, dtype=np.float32), "0.bias": np.zeros(2, np.float32)})
    x = np.array([[1, -1], [-2, 3], [0.5, 0.25], [-1, -2]], np.float32)
    assert fa.evaluate(net, x, [0, 1, 1, 1])["accuracy"] == 0.5
    assert fa.evaluate(net, x, [0, 1, -100, -100])["accuracy"] == 1
    assert fa.evaluate(net, x, [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [1, 0]])["accuracy"] == 0.75
    several = fa.evaluate(net, x, [[1, 0], [0, 1], [0, 1], [1, 0]], "bce_with_logits")
    assert several["accuracy"] == 6 / 8
    one = fa.Sequential(fa.Dense(1, 1), rng=0)
    one.set_parameters({"0.weight": np.ones((1, 1), np.float32), "0.bias": np.zeros(1, np.float32)})
    assert fa.evaluate(one, x[:, :1], [1, 0, 1, 1], "bce_with_logits")["accuracy"] == 0.75
    empty = fa.evaluate(net, np.zeros((0, 2)), np.zeros(0, int))
    assert math.isnan(empty["loss"])
    assert math.isnan(empty["accuracy"])


def test_signs_and_probabilities_are_trained_and_counted():
    """hinge takes -1 and 1, or 0 and 1; probabilities say yes above one half."""
    x, _, _ = table(rows=200)
    yes = (x[:, 0] > 0).astype(int)
    nets = [network(outputs=1) for _ in range(2)]
    for net, y in zip(nets, (yes, 2 * yes - 1), strict=True):
        history = fit(net, x, y, loss="hinge", epochs=30, optimizer=fa.optim.Adam(0.01), validation=(x, y))
        said = fa.predict(net, x)[:, 0] > 0
        assert history.validation_accuracy[-1] == pytest.approx(np.mean(said == yes), abs=1e-9)
        assert history.validation_accuracy[-1] > 0.9
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    with pytest.raises(ValueError, match=r"expected y of -1 and 1, or of 0 and 1, got \[2.0\] at row 5"):
        fit(network(outputs=1), x, np.where(np.arange(200) == 5, 2, np.arange(200) % 2), loss="hinge")
    with pytest.raises(ValueError, match=r"expected y >= 0 for poisson, got \[-1.0\] at row 7"):
        fit(network(outputs=1), x, np.where(np.arange(200) == 7, -1, 3), loss="poisson")
    with pytest.raises(ValueError, match=r"expected y of -1 and 1, or of 0 and 1, got \[2.0\] at row 3"):
        fit(network(outputs=1), x, np.where(np.arange(200) == 3, 2, 1), loss="hinge")
    net = fa.Sequential(fa.Dense(7, 1, "sigmoid"), rng=0)
    history = fit(
        net, x, yes, loss="binary_cross_entropy", epochs=60, optimizer=fa.optim.Adam(0.05), validation=(x, yes)
    )
    assert history.validation_accuracy[-1] == pytest.approx(np.mean((fa.predict(net, x)[:, 0] > 0.5) == yes), abs=1e-9)


def test_custom_metrics():
    x, labels, targets = table()

    def largest(outputs, goal):
        return np.max(np.abs(outputs - goal))

    net = network()
    history = fit(net, x, targets, loss="squared_error", metrics=["r2", largest], epochs=2)
    assert history["largest"][-1] == pytest.approx(np.abs(fa.predict(net, x) - targets).max())
    assert set(history.metrics) == {"r2", "largest"}  # without validation data: of the training data
    history = fit(net, x, targets, loss="squared_error", metrics={"worst": largest}, validation=0.5, epochs=1)
    assert set(history.metrics) == {"validation_worst"}
    assert fit(net, x, labels, epochs=1, metrics="accuracy")["accuracy"]
    assert fit(net, x, labels, epochs=1, validation=0.2, metrics=())["validation_loss"]
    assert fit(net, x, labels, epochs=1).metrics == {}
    assert history.validation_accuracy == []


def test_every_loss_has_its_facts():
    functions = {name for name in losses.__all__ if name != "LossAndGradient"}
    assert {loss.__name__ for loss in losses.FACTS} == functions
    for loss, facts in losses.FACTS.items():
        assert facts.targets in conversion.TARGETS
        assert set(facts.measured) <= set(facts.metrics) <= set(METRICS)
        default = inspect.signature(loss).parameters.get("ignore_index")
        assert facts.ignore_index == (None if default is None else default.default)


def test_labels_ignored_by_a_custom_loss():
    x, labels, _ = table()

    def loss(outputs, goal, ignore_index=-100):
        return fa.softmax_cross_entropy(outputs, goal, ignore_index=ignore_index)

    right = network()(x).argmax(1) == labels
    for number, options in ((-100, {}), (9, {"ignore_index": 9})):
        goal = np.where(np.arange(103) < 50, number, labels)
        result = fa.evaluate(network(), x, goal, functools.partial(loss, **options), "accuracy")
        assert result["accuracy"] == right[50:].mean()


def test_probabilities_have_no_label_to_ignore():
    x, labels, _ = table()
    loss = functools.partial(fa.softmax_cross_entropy, ignore_index=1)
    fit(network(), x, labels, loss=loss, epochs=1)
    for call in (fit, fa.evaluate):
        with pytest.raises(ValueError, match="no ignore_index with rows of probabilities, got 1"):
            call(network(), x, np.eye(3)[labels], loss=loss)
