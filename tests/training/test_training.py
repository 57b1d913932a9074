"""fit: what it trains, what it records, and what it leaves behind."""

import functools
import io
import math
import re
import sys
import tracemalloc

import numpy as np
import pytest
import support

import fastact as fa
from fastact.measure import timing


def table(rows=103, inputs=7, outputs=3, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs)).astype(dtype)
    return x, rng.integers(0, outputs, rows), rng.normal(size=(rows, outputs)).astype(dtype)


def network(inputs=7, outputs=3, dtype="float32", activation="tanh", seed=1):
    return fa.Sequential(fa.Dense(inputs, 5, activation=activation), fa.Dense(5, outputs), dtype=dtype, rng=seed)


fit = functools.partial(fa.fit, progress=False, rng=3)

# -------------------------------------------------------------------------------------------------- the same as by hand


def by_hand(net, x, y, loss, optimizer, epochs, size, rng, **options):
    """The loop that fit is: shuffled batches, a short one at the end, forward, loss, backward, step."""
    generator, losses = np.random.default_rng(rng), []
    weights = options.pop("sample_weight", None)
    for _ in range(epochs):
        order, total = generator.permutation(len(x)), 0.0
        for start in range(0, len(x), size):
            chosen = order[start : start + size]
            extra = {} if weights is None else {"sample_weight": weights[chosen]}
            value, grad = loss(net.forward(x[chosen], training=True), y[chosen], **options, **extra)
            net.backward(grad)
            optimizer.step(net)
            total += value * (len(chosen) if weights is None else weights[chosen].sum())
        losses.append(total / (len(x) if weights is None else weights.sum()))
    return losses


@pytest.mark.parametrize("size", [1, 32, 103, 500])
def test_same_bits_as_the_loop_by_hand(backend, dtype, size):
    x, labels, _ = table(dtype=dtype)
    nets = [network(dtype=np.dtype(dtype).name) for _ in range(2)]
    history = fit(nets[0], x, labels, epochs=3, batch_size=size, optimizer=fa.optim.Adam(0.01))
    losses = by_hand(nets[1], x, labels, fa.softmax_cross_entropy, fa.optim.Adam(0.01), 3, size, 3)
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    assert history.loss == pytest.approx(losses, rel=1e-12)
    assert (history.epochs, history.steps) == (3, 3 * math.ceil(103 / size))
    assert history.rate == [0.01] * 3
    assert history.seconds > 0


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


def test_the_recorded_loss_is_that_of_the_counted_rows():
    """With a rate of next to nothing, the epoch's loss is the loss of all rows at once, whatever the batches are."""
    x, labels, _ = table()
    labels = np.where(np.arange(len(labels)) % 3 == 0, -100, labels)
    weights = np.random.default_rng(2).uniform(0, 3, len(x))
    for options in ({}, {"class_weight": [0.2, 3.0, 1.0]}, {"ignore_index": -100, "label_smoothing": 0.2}):
        loss = functools.partial(fa.softmax_cross_entropy, **options)
        for w in (None, weights):
            for size in (1, 10, 32):
                history = fit(
                    network(dtype="float64"), x, labels, loss=loss, sample_weight=w, epochs=1, batch_size=size,
                    optimizer=fa.optim.SGD(1e-300),
                )  # fmt: skip
                whole, _ = loss(network(dtype="float64")(x.astype(np.float64)), labels, sample_weight=w)
                assert history.loss[0] == pytest.approx(whole, rel=1e-12)


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


def test_a_loss_of_ones_own():
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


def test_a_loss_of_ones_own_is_given_a_column_for_one_output():
    x, _, targets = table()

    def loss(outputs, goal):
        assert outputs.shape == goal.shape
        return 0.0, np.zeros_like(outputs)

    fit(network(outputs=1), x, targets[:, 0], loss=loss, epochs=1)


def test_unshuffled_batches_are_in_order():
    x, labels, _ = table()
    nets = [network() for _ in range(2)]
    fit(nets[0], x, labels, shuffle=False, epochs=2, optimizer=fa.optim.SGD(0.1))
    optimizer = fa.optim.SGD(0.1)
    for _ in range(2):
        for start in range(0, len(x), 32):
            _, grad = fa.softmax_cross_entropy(
                nets[1].forward(x[start : start + 32], training=True), labels[start : start + 32]
            )
            nets[1].backward(grad)
            optimizer.step(nets[1])
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)


def test_the_data_are_left_alone():
    x, labels, _ = table()
    copies = x.copy(), labels.copy()
    x.flags.writeable = labels.flags.writeable = False
    fit(network(), x, labels, epochs=2)
    fit(network(), x, labels, epochs=2, shuffle=False)
    assert (x == copies[0]).all()
    assert (labels == copies[1]).all()


# ----------------------------------------------------------------------------------------------- validation and metrics


def test_validation_is_evaluated_after_each_epoch():
    x, labels, _ = table()
    net, seen = network(), []

    class Look(fa.Callback):
        def on_epoch_end(self, run):
            seen.append((fa.evaluate(run.net, x[:40], labels[:40]), dict(run.logs)))

    history = fit(net, x, labels, validation=(x[:40], labels[:40]), epochs=3, callbacks=[Look()])
    assert history.validation_loss == [result["loss"] for result, _ in seen]
    assert history.validation_accuracy == history["validation_accuracy"] == [r["accuracy"] for r, _ in seen]
    assert [logs["validation_loss"] for _, logs in seen] == history.validation_loss
    assert list(seen[0][1]) == ["loss", "validation_loss", "validation_accuracy", "rate"]
    outputs = fa.predict(net, x[:40])
    assert history.validation_accuracy[-1] == np.mean(outputs.argmax(1) == labels[:40])


def test_a_fraction_is_held_out_of_the_training():
    x, _, targets = table(rows=50)
    rows = np.repeat(np.arange(50.0)[:, None], 3, axis=1)
    trained, held_out = set(), set()

    def loss(outputs, goal):
        (held_out if len(goal) == 10 else trained).update(goal[:, 0].tolist())
        return fa.squared_error(outputs, goal)

    history = fit(network(), x, rows, loss=loss, validation=0.2, epochs=2, batch_size=8)
    assert history.steps == 10
    assert len(history.validation_loss) == 2
    assert (len(trained), len(held_out), trained & held_out) == (40, 10, set())
    for fraction in (0.0, 1.0, 0.001, 0.999, -0.5, 2.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="fraction that leaves rows on both sides"):
            fit(network(), x, targets, loss="squared_error", validation=fraction)


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


def test_metrics_of_ones_own():
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


def test_history_as_plain_numbers():
    x, labels, _ = table()
    history = fit(network(), x, labels, epochs=2, validation=0.3)
    content = history.to_dict()
    assert content["epochs"] == 2
    assert list(content["by_epoch"]) == ["loss", "validation_loss", "validation_accuracy", "rate"]
    assert fa.History.from_dict(content) == history
    for wrong in ({}, {**content, "epochs": 3}, {**content, "by_epoch": {"loss": ["x"]}}, {**content, "steps": -1}):
        with pytest.raises(ValueError, match=r"History\.from_dict"):
            fa.History.from_dict(wrong)


def test_predict_in_batches_is_the_network():
    x, _, _ = table(rows=70)
    net = network()
    for size in (1, 32, 70, 1000):
        support.assert_same_bits(fa.predict(net, x, batch_size=size), net(x))
    assert fa.predict(net, np.zeros((0, 7))).shape == (0, 3)


# ------------------------------------------------------------------------------------------------------------ callbacks


def test_callbacks_are_called_in_order_with_the_run():
    x, labels, _ = table(rows=40)
    calls = []

    class Note(fa.Callback):
        def on_train_begin(self, run):
            calls.append(("train", run.epoch, run.step))

        def on_epoch_begin(self, run):
            calls.append(("epoch", run.epoch, run.step, dict(run.logs)))

        def on_batch_begin(self, run):
            calls.append(("batch", run.epoch, run.step))

        def on_batch_end(self, run):
            assert run.optimizer.steps == run.step
            calls.append(("after batch", run.epoch, run.step, list(run.logs)))

        def on_epoch_end(self, run):
            assert run.history.loss[-1] == run.logs["loss"]
            calls.append(("after epoch", run.epoch, run.step))

        def on_train_end(self, run):
            calls.append(("end", run.epoch, run.step))

    fit(network(), x, labels, epochs=2, batch_size=25, callbacks=Note())
    expected = [("train", 0, 0)]
    for epoch in (1, 2):
        expected.append(("epoch", epoch, 2 * epoch - 2, {}))
        for step in (2 * epoch - 2, 2 * epoch - 1):
            expected += [("batch", epoch, step), ("after batch", epoch, step + 1, ["loss"])]
        expected.append(("after epoch", epoch, 2 * epoch))
    assert calls == [*expected, ("end", 2, 4)]


def test_a_callback_stops_the_training():
    x, labels, _ = table()

    class Stop(fa.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                run.stop()

    assert fit(network(), x, labels, epochs=9, callbacks=[Stop()]).epochs == 2


def test_on_train_end_is_called_after_an_error():
    x, labels, _ = table()
    ended = []

    class Break(fa.Callback):
        def on_batch_end(self, run):
            raise LookupError("broken")

        def on_train_end(self, run):
            ended.append(run.step)

    with pytest.raises(LookupError, match="broken"):
        fit(network(), x, labels, callbacks=[Break()])
    assert ended == [1]


def test_on_train_end_is_called_whatever_that_of_another_raises():
    x, labels, _ = table()
    ended = []

    class End(fa.Callback):
        def __init__(self, name):
            self.name = name

        def on_train_end(self, run):
            ended.append(self.name)
            if self.name == "b":
                raise LookupError(self.name)

    with pytest.raises(LookupError, match="b"):
        fit(network(), x, labels, epochs=1, callbacks=[End("a"), End("b"), End("c")])
    assert ended == ["a", "b", "c"]


def scripted(values, **options):
    """What EarlyStopping does when the monitored number takes these values: (epochs, best epoch, parameters)."""
    x, labels, _ = table(rows=20)
    numbers, kept = iter(values), []

    def number(outputs, goal):
        return next(numbers)

    class Keep(fa.Callback):
        def on_epoch_end(self, run):
            kept.append(run.net.parameters.copy())

    stopping = fa.EarlyStopping(monitor="number", **options)
    net = network()
    history = fit(net, x, labels, epochs=len(values), metrics={"number": number}, callbacks=[Keep(), stopping])
    same = [i + 1 for i, parameters in enumerate(kept) if (parameters == net.parameters).all()]
    return history.epochs, stopping.best_epoch, same, stopping


def test_early_stopping_restores_the_best_weights():
    epochs, best, same, stopping = scripted([5, 3, 4, 3, 3.5, 1, 1], patience=3)
    assert (epochs, best, same, stopping.stopped_epoch, stopping.best) == (5, 2, [2], 5, 3)
    epochs, best, same, stopping = scripted([5, 3, 4], patience=3)
    assert (epochs, best, same, stopping.stopped_epoch) == (3, 2, [2], None)
    assert scripted([5, 3, 4, 4], patience=2, restore_best=False)[:3] == (4, 2, [4])
    assert scripted([1, 3, 2, 2.5, 9], patience=2, mode="max")[:3] == (4, 2, [2])
    assert scripted([5, 4.5, 4.1, 3.9, 3.9], patience=2, min_delta=1.0)[:3] == (3, 1, [1])
    assert scripted([math.nan, 2, math.nan, math.nan, 1], patience=2)[:3] == (4, 2, [2])
    assert scripted([math.nan, math.nan, 1], patience=2)[:3] == (2, 0, [2])
    assert scripted([math.inf, 3, math.inf, 4, 1], patience=2)[:3] == (4, 2, [2])


def test_early_stopping_knows_where_more_is_better():
    assert fa.EarlyStopping(monitor="validation_accuracy").mode == "max"
    assert fa.EarlyStopping(monitor="r2").mode == "max"
    assert fa.EarlyStopping().mode == fa.EarlyStopping(monitor="number").mode == "min"


def test_early_stopping_can_be_used_again():
    x, labels, _ = table()
    stopping, lengths = fa.EarlyStopping(2), []
    for _ in range(2):
        net = network()
        lengths.append(
            fit(
                net, x, labels, epochs=60, validation=0.3, callbacks=[stopping], optimizer=fa.optim.SGD(0.5, 0.9)
            ).epochs
        )
    assert lengths[0] == lengths[1] < 60
    assert stopping.best_epoch == lengths[0] - 2


def test_patience_is_early_stopping():
    x, labels, _ = table()
    options = {"epochs": 60, "validation": 0.3, "optimizer": fa.optim.SGD(0.5, 0.9)}
    nets = [network() for _ in range(2)]
    histories = [
        fit(nets[0], x, labels, patience=2, **options),
        fit(nets[1], x, labels, callbacks=[fa.EarlyStopping(2)], **{**options, "optimizer": fa.optim.SGD(0.5, 0.9)}),
    ]
    assert histories[0].loss == histories[1].loss
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    fit(network(), x, labels, patience=2, epochs=2)  # the training loss, where there is no validation


# ------------------------------------------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, **options):
    x, labels, _ = table()
    monkeypatch.setattr(sys, "stderr", stream)
    fa.fit(network(), x, labels, epochs=3, rng=0, **options)
    return stream.getvalue()


def test_lines_where_there_is_no_terminal(monkeypatch):
    lines = shown(monkeypatch, io.StringIO(), validation=0.2).splitlines()
    assert len(lines) == 3
    for number, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"epoch {number}/3: loss [\d.]+, validation_loss [\d.]+, validation_accuracy [\d.]+, rate 0\.01, "
            r"3 steps in [\d.e-]+ s",
            line,
        )


def test_a_bar_on_a_terminal(monkeypatch):
    text = shown(monkeypatch, Terminal())
    assert "12/12" in text
    assert "epoch=3/3" in text
    assert "loss=" in text
    assert "rate=0.01" in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silence(monkeypatch, stream):
    assert shown(monkeypatch, stream(), progress=False, patience=1) == ""


def test_early_stopping_is_told(monkeypatch):
    text = shown(monkeypatch, io.StringIO(), callbacks=[fa.EarlyStopping(1, monitor="rate")])
    assert "stopped after epoch 2: rate no longer improves (best 0.01 in epoch 1, whose weights are restored)" in text


# --------------------------------------------------------------------------------------------------------- not a number


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


# --------------------------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
@pytest.mark.parametrize("layers", ["stack", "mixed"])
@pytest.mark.skipif("native" not in support.BACKENDS, reason="the NumPy twins allocate")
def test_no_array_is_allocated_after_the_first_epoch(loss, shuffle, layers):
    """The peak within an epoch stays below the size of any array of a batch, the short one of 33 rows included."""
    x, labels, targets = table(rows=333, inputs=64)
    used = []

    class Watch(fa.Callback):
        def on_epoch_begin(self, run):
            tracemalloc.reset_peak()
            self.before = tracemalloc.get_traced_memory()[0]

        def on_batch_end(self, run):
            if run.step % run.steps_per_epoch == 0:
                used.append(tracemalloc.get_traced_memory()[1] - self.before)

    stack = fa.Dense(64, 64, "gelu"), fa.Dense(64, 64, "relu"), fa.Dense(64, 3)
    mixed = (
        fa.Dense(64, 64), fa.BatchNorm(), fa.PReLU(), fa.Dropout(0.2),
        fa.Residual(fa.Dense(64, 64), fa.LayerNorm(), fa.Swish()), fa.Dense(64, 3),
    )  # fmt: skip
    net = fa.Sequential(*(stack if layers == "stack" else mixed), rng=0)
    tracemalloc.start()
    try:
        fit(
            net, x, labels if loss == "softmax_cross_entropy" else targets, loss=loss, epochs=4, shuffle=shuffle,
            batch_size=100, callbacks=[Watch()], optimizer=fa.optim.Adam(1e-3),
        )  # fmt: skip
    finally:
        tracemalloc.stop()
    assert used[0] > 33 * 64 * 4  # what the first epoch takes is seen
    assert max(used[1:]) < 33 * 64 * 4


def test_command_line_step_is_fit():
    """fastact train times ``library_step`` and trains with fit: they are the same step."""
    x, labels, _ = table(rows=64)
    nets = [network() for _ in range(2)]
    fit(nets[0], x, labels, epochs=1, shuffle=False, optimizer=fa.optim.SGD(0.1))
    step = timing.library_step(nets[1], fa.optim.SGD(0.1))
    for start in (0, 32):
        step(x[start : start + 32], labels[start : start + 32])
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
