"""Steps: their phases, and losses and parameters that are not finite."""

import functools
import math

import numpy as np
import pytest
import support
from tasks import fit, network, table

import fastact as fa
from fastact.training.objectives import Objective
from fastact.training.step import Step


def test_a_loss_that_is_not_finite_names_epoch_and_layer(backend):
    x, _, targets = table()
    with (
        fa.use_backend(backend),
        pytest.raises(
            ValueError, match=r"fit: the loss became (inf|nan) in epoch \d+ \(step \d+\): .*layer 1 \(Dense\)"
        ),
    ):
        fit(
            network(activation="relu"), 1e3 * x, targets, loss="squared_error", optimizer=fa.optim.SGD(1e4), epochs=50,
            batch_size=64,
        )  # fmt: skip


def test_the_layer_of_a_parameter_that_is_not_finite_is_named():
    x, labels, _ = table()
    net = network()
    net.named_parameters()["1.bias"][1] = np.inf
    with pytest.raises(ValueError, match=r"epoch 1 \(step 1\): NaN or infinity in 1\.bias of layer 1 \(Dense\); lower"):
        fit(net, x, labels)


def test_parameters_are_looked_at_after_each_epoch():
    """A unit that nothing depends on may be spoilt without the loss showing it."""
    x, labels, _ = table()

    class Spoil(fa.Callback):
        def on_batch_end(self, run):
            if run.step == 8:
                run.net.named_parameters()["0.weight"][2, 3] = np.nan

    net = network(activation="relu")

    def loss(outputs, goal):
        return 1.0, np.zeros_like(outputs)

    ended = []

    class End(fa.Callback):
        def on_epoch_end(self, run):
            ended.append(run.epoch)

    with pytest.raises(ValueError, match=r"epoch 2 \(step 8\): NaN or infinity in 0\.weight of layer 0 \(Dense\)"):
        fit(net, x, labels, loss=loss, callbacks=[Spoil(), End()], epochs=4)
    assert ended == [1]


def test_huge_parameters_whose_sum_overflows_are_no_error():
    x, labels, _ = table()
    net = network(activation="hard_tanh")
    net.named_parameters()["0.weight"][...] = 3e38
    assert fit(net, x, labels, epochs=1).epochs == 1


def test_the_step_with_a_bad_loss_is_not_made():
    x, labels, _ = table()
    net, seen = network(), []

    def loss(outputs, goal):
        seen.append(net.parameters.copy())
        return (math.nan if len(seen) == 3 else 1.0), np.ones_like(outputs)

    optimizer = fa.optim.SGD(0.1)
    with pytest.raises(ValueError, match="the loss became nan in epoch 1"):
        fit(net, x, labels, loss=loss, optimizer=optimizer)
    assert optimizer.steps == 2
    support.assert_same_bits(net.parameters, seen[-1])


def test_batches_of_ignored_labels_alone_are_passed_over():
    x, labels, _ = table(rows=40)
    labels[10:] = -100
    history = fit(network(), x, labels, batch_size=4, epochs=3)
    assert np.isfinite(history.loss).all()
    assert history.steps < 30


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("how", ["weights", "labels", "both"])
def test_a_batch_that_counts_nothing_is_no_batch(how, reduction):
    """No step, no callback, no statistics: the training is that of the batches that count."""
    x, labels, _ = table(rows=40)
    empty = np.arange(40) // 4 % 3 == 1
    weights = np.where(empty, 0.0, 1.0) if how != "labels" else None
    labels[empty & (how != "weights")] = -100
    calls = []

    class Calls(fa.Callback):
        def on_batch_begin(self, run):
            calls.append("begin")

        def on_batch_end(self, run):
            calls.append("end")

    loss = functools.partial(fa.softmax_cross_entropy, reduction=reduction)
    nets = [fa.Sequential(fa.Dense(7, 5), fa.BatchNorm(), fa.Dropout(0.3), fa.Dense(5, 3), rng=0) for _ in range(2)]
    options = {"loss": loss, "batch_size": 4, "shuffle": False, "epochs": 2}
    history = fit(nets[0], x, labels, sample_weight=weights, callbacks=[Calls()], **options)
    assert calls == ["begin", "end"] * history.steps
    kept = ~empty
    other = fit(nets[1], x[kept], labels[kept], sample_weight=None if weights is None else weights[kept], **options)
    assert history.steps == other.steps == 14
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    support.assert_same_bits(nets[0].buffers, nets[1].buffers)
    assert history.loss == other.loss


def phases(size=25):
    """A step of a run, and the name of each of its phases as it is called."""
    x, labels, _ = table()
    run = fa.Run(network(), fa.optim.SGD(0.1), 1, 1)
    step, called = Step(run, Objective("test", "softmax_cross_entropy")), []

    def noted(name, phase):
        def call(*arguments, **keywords):
            called.append(name)
            return phase(*arguments, **keywords)

        return call

    for name in ("forward", "loss", "backward", "update"):
        setattr(step, name, noted(name, getattr(step, name)))
    return run, step, called, x[:size], labels[:size]


def test_the_phases_of_a_step():
    run, step, called, x, labels = phases()
    expected = fa.evaluate(run.net, x, labels)["loss"]
    assert step.make(x, labels, None, 25.0) == pytest.approx(expected)
    assert called == ["forward", "loss", "backward", "update"]
    assert run.step == run.optimizer.steps == 1


def test_gradients_are_reduced_between_backward_and_update():
    """As of two processes with halves of a batch: their gradients, weighed by their batches, are those of the whole."""
    x, labels, _ = table()
    weights = 10.0, 15.0
    halves = []
    for rows in (slice(0, 10), slice(10, 25)):
        net = network()
        net.backward(fa.softmax_cross_entropy(net.forward(x[rows], training=True), labels[rows]).grad)
        halves.append(net.gradients.copy())

    run, step, called, x, labels = phases(10)

    def reduce(batch_weight):
        called.append(f"reduce {batch_weight}")
        support.assert_same_bits(run.net.gradients, halves[0])
        run.net.gradients[...] = np.average(halves, axis=0, weights=weights)

    step.reduce = reduce
    step.make(x, labels, None, weights[0])
    assert called == ["forward", "loss", "backward", "reduce 10.0", "update"]
    run, whole, _, x, labels = phases(25)
    whole.make(x, labels, None, 25.0)
    np.testing.assert_allclose(step.net.parameters, run.net.parameters, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "huber", "sum", "own", "penalty"])
def test_accumulated_batches_are_one_large_one(name, weighted):
    """103 rows: 3 batches of 40 rows, or 4 * 10 rows a step and a rest of 23 in 3 batches."""
    x, labels, targets = table(dtype=np.float64)
    loss, y, options = name, targets, {}
    if name == "softmax_cross_entropy":
        y = labels
    elif name == "sum":
        loss = functools.partial(fa.squared_error, reduction="sum", factor=0.01)
    elif name == "own":

        def loss(outputs, goal, sample_weight=None):
            return fa.absolute_error(outputs, goal, sample_weight=sample_weight)

    elif name == "penalty":
        loss, options = "squared_error", {"penalty": fa.training.L2(0.1)}
    if weighted:
        options["sample_weight"] = np.random.default_rng(1).uniform(0, 2, len(x))
    runs = []
    for size, accumulate in ((40, 1), (10, 4)):
        net = network(dtype="float64")
        schedule = fa.optim.Cosine(0.01, 12)
        common = {"loss": loss, "optimizer": fa.optim.Adam(schedule, clip_norm=0.5), "epochs": 3, **options}
        runs.append((net, fit(net, x, y, batch_size=size, accumulate=accumulate, **common)))
    assert runs[0][1].steps == runs[1][1].steps == 9
    np.testing.assert_allclose(runs[1][0].parameters, runs[0][0].parameters, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(runs[1][1].loss, runs[0][1].loss, rtol=1e-9)
    assert runs[0][1].rate == runs[1][1].rate


def test_accumulating_more_than_an_epoch_has_is_one_step_an_epoch(tmp_path):
    x, labels, _ = table()
    seen = []

    class Steps(fa.Callback):
        def on_batch_end(self, run):
            seen.append((run.step, run.steps_per_epoch))

    path = tmp_path / "run.npz"
    history = fit(network(), x, labels, batch_size=50, accumulate=5, epochs=2, callbacks=[Steps()], checkpoint=path)
    assert history.steps == 2
    assert seen == [(0, 1), (0, 1), (0, 1), (1, 1), (1, 1), (1, 1)]
    with pytest.raises(ValueError, match="accumulate 5"):
        fit(network(), x, labels, batch_size=50, accumulate=4, epochs=3, resume=path)
    for wrong, error in ((0, ValueError), (1.5, TypeError)):
        with pytest.raises(error, match="accumulate"):
            fit(network(), x, labels, accumulate=wrong)
