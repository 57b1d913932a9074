"""Callbacks: when they are called; early stopping."""

import math

import numpy as np
import pytest
import support
from tasks import fit, network, table

import fastact as fa
from fastact.training import AverageWeights, CSVLogger, ReduceOnPlateau
from fastact.training.metrics import METRICS


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


def test_callbacks_are_called_by_their_order(tmp_path):
    x, labels, _ = table()
    calls = []

    class Note(fa.Callback):
        def __init__(self, name, order):
            self.name, self.order = name, order

        def on_epoch_end(self, run):
            calls.append((self.name, (tmp_path / "c.npz").exists()))

    callbacks = [Note("d", 2), fa.Checkpoint(tmp_path / "c.npz"), Note("b", 0), Note("c", 0), Note("a", -1)]
    fit(network(), x, labels, epochs=1, callbacks=callbacks)
    assert calls == [("a", False), ("b", False), ("c", False), ("d", True)]


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


def test_early_stopping_restores_statistics_too():
    x, labels, _ = table()
    net, kept = fa.Sequential(fa.Dense(7, 8), fa.BatchNorm(), fa.Residual(fa.BatchNorm()), fa.Dense(8, 3), rng=0), []

    class Keep(fa.Callback):
        def on_epoch_end(self, run):
            kept.append(run.net.buffers.copy())

    numbers = iter([3.0, 1.0, 2.0, 2.0])
    fit(
        net, x, labels, metrics={"number": lambda outputs, y: next(numbers)},
        callbacks=[fa.EarlyStopping(2, monitor="number"), Keep()],
    )  # fmt: skip
    support.assert_same_bits(net.buffers, kept[1])
    assert (kept[1] != kept[3]).any()


def test_early_stopping_knows_where_more_is_better():
    assert fa.EarlyStopping(monitor="validation_accuracy").mode == "max"
    assert fa.EarlyStopping(monitor="r2").mode == "max"
    for name, metric in METRICS.items():
        if metric.rises is None:
            continue
        assert fa.EarlyStopping(monitor=f"validation_{name}").mode == ("max" if metric.rises else "min")
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


@pytest.mark.parametrize(
    ("monitor", "options", "names"),
    [
        ("val_loss", {"validation": 0.2}, "loss, validation_loss, validation_accuracy, rate"),
        ("validation_loss", {}, "loss, rate"),
        ("accuracy", {}, "loss, rate"),
        ("validation_accuracy", {"metrics": "accuracy"}, "loss, accuracy, rate"),
        ("accuracy", {"validation": 0.2, "metrics": ()}, "loss, validation_loss, rate"),
    ],
)
def test_a_monitor_that_is_not_measured_is_refused_before_the_first_epoch(monitor, options, names):
    x, labels, _ = table()
    net = network()
    with pytest.raises(ValueError, match=f"expected monitor to be one of {names}, got '{monitor}'"):
        fit(net, x, labels, callbacks=[fa.Monitor(warn=False), fa.EarlyStopping(monitor=monitor)], **options)
    support.assert_same_bits(net.parameters, network().parameters)


def test_a_monitor_may_be_what_a_callback_adds():
    x, labels, _ = table()

    class Largest(fa.Callback):
        def on_epoch_end(self, run):
            run.logs["largest"] = float(np.abs(run.net.parameters).max())

    class Own(fa.EarlyStopping):
        def on_epoch_end(self, run):
            run.logs["own"] = 1.0
            super().on_epoch_end(run)

    stopping = fa.EarlyStopping(monitor="largest")
    fit(network(), x, labels, epochs=2, callbacks=[Largest(), stopping])
    assert stopping.best_epoch > 0
    fit(network(), x, labels, epochs=2, callbacks=[Own(monitor="own")])
    with pytest.raises(ValueError, match="expected monitor to be one of loss, rate, largest, got 'lagest'"):
        fit(network(), x, labels, epochs=2, callbacks=[Largest(), fa.EarlyStopping(monitor="lagest")])


def test_the_names_that_fit_announces_are_those_it_measures():
    x, labels, targets = table()

    class Names(fa.Callback):
        def on_epoch_end(self, run):
            assert run.names == tuple(run.logs)

    for options in (
        {},
        {"validation": 0.2},
        {"metrics": "accuracy"},
        {"metrics": ()},
        {"metrics": (), "validation": 0.2},
    ):
        fit(network(), x, labels, epochs=1, callbacks=[Names()], **options)
    fit(
        network(),
        x,
        targets,
        loss="squared_error",
        metrics={"a": lambda *_: 1.0, "b": lambda *_: 2.0},
        callbacks=[Names()],
    )


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_first_epoch(tmp_path):
    x, labels, _ = table()
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").write_text("")
    for path, error in (
        (tmp_path / "folder.npz", IsADirectoryError),
        (tmp_path / "missing" / "run.npz", FileNotFoundError),
        (tmp_path / "file" / "run.npz", FileNotFoundError),
        (tmp_path / ("n" * 250 + ".safetensors"), OSError),
    ):
        net = network()
        with pytest.raises(error, match=r"^Checkpoint: "):
            fit(net, x, labels, checkpoint=path)
        support.assert_same_bits(net.parameters, network().parameters)
        with pytest.raises(error, match=r"^save: "):
            net.save(path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.npz"]


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


@pytest.mark.parametrize("mode", ["min", "max"])
def test_reduce_on_plateau(mode, tmp_path):
    """The rates that follow from the numbers, counted by hand; resumed in the middle, the same."""
    x, labels, _ = table()
    numbers = [5.0, 4.0, 4.0, 3.9, 3.0, 3.0, 3.0, 3.0, 3.0, float("nan"), 3.0, 3.0, 2.0, 2.0, 2.0]
    #          best best  1    2*   best  1   2*  cool  1    2*              cool 1    best  1    2*
    rates = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    sign = 1 if mode == "min" else -1

    def train(epochs, **options):
        optimizer = fa.optim.SGD(1.0)
        seen = []

        class Numbers(fa.Callback):
            def on_epoch_end(self, run):
                run.logs["number"] = sign * numbers[run.epoch - 1]

        class Rates(fa.Callback):
            order = 1

            def on_epoch_end(self, run):
                seen.append(run.optimizer.lr)

        lowering = ReduceOnPlateau(0.5, 2, "number", min_delta=0.2, cooldown=1, min_lr=0.2, mode=mode)
        fit(
            network(),
            x,
            labels,
            epochs=epochs,
            optimizer=optimizer,
            callbacks=[Numbers(), lowering, Rates()],
            **options,
        )
        return seen

    assert train(15) == rates
    for stop in (6, 7, 9):
        path = tmp_path / f"{stop}.npz"
        assert train(stop, checkpoint=path) == rates[:stop]
        assert train(15, resume=path) == rates[stop:]


def test_reduce_on_plateau_refuses():
    x, labels, _ = table()
    with pytest.raises(TypeError, match="number as lr, got a schedule"):
        fit(network(), x, labels, optimizer=fa.optim.SGD(lambda step: 0.1), callbacks=[ReduceOnPlateau(monitor="loss")])
    with pytest.raises(ValueError, match=r"^ReduceOnPlateau: expected monitor to be one of loss, rate"):
        fit(network(), x, labels, callbacks=[ReduceOnPlateau()])
    for options, message in (
        ({"factor": 1.0}, "factor below 1"),
        ({"factor": 0}, "factor"),
        ({"patience": 0}, "patience"),
        ({"cooldown": -1}, "cooldown"),
        ({"min_lr": -1.0}, "min_lr"),
        ({"mode": "most"}, "mode"),
    ):
        with pytest.raises(ValueError, match=f"^ReduceOnPlateau: expected {message}"):
            ReduceOnPlateau(**options)


def test_csv_logger(tmp_path):
    """What is in the file after each epoch is what the history holds, also of a run that resumes."""
    x, labels, _ = table()
    path, seen = tmp_path / "log.csv", []

    class Look(fa.Callback):
        order = 2

        def on_epoch_end(self, run):
            seen.append(path.read_text().splitlines())

    def train(epochs, **options):
        callbacks = [CSVLogger(path), Look()]
        return fit(network(), x, labels, epochs=epochs, validation=0.2, callbacks=callbacks, **options)

    train(2, checkpoint=tmp_path / "run.npz")
    history = train(4, resume=tmp_path / "run.npz")
    assert [len(lines) for lines in seen] == [2, 3, 4, 5]
    assert seen[-1][0] == "epoch,loss,validation_loss,validation_accuracy,rate"
    rows = np.loadtxt(path, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(rows, np.column_stack([[1, 2, 3, 4], *(history[name] for name in history)]))
    assert {entry.name for entry in tmp_path.iterdir()} == {"log.csv", "run.npz"}
    net = network()
    with pytest.raises(FileNotFoundError, match=r"^CSVLogger: "):
        fit(net, x, labels, callbacks=[CSVLogger(tmp_path / "missing" / "log.csv")])
    support.assert_same_bits(net.parameters, network().parameters)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    ("decay", "start", "each"), [(0.9, 1, "step"), (None, 2, "step"), (None, 1, "epoch"), (0.5, 2, "epoch")]
)
def test_weights_are_averaged(decay, start, each, accumulate, tmp_path):
    """Against the averages of the weights of a run without; also of one that resumes in the middle."""
    x, labels, _ = table()
    options = {"batch_size": 20, "accumulate": accumulate, "optimizer": "adam"}

    def make():
        return fa.Sequential(fa.Dense(7, 5, "tanh"), fa.BatchNorm(), fa.Dense(5, 3), rng=1)

    trail = []  # (epoch, weights) after each step

    class Keep(fa.Callback):
        def __init__(self):
            self.step = 0

        def keep(self, run):
            if run.step > self.step:
                self.step = run.step
                trail.append((run.epoch, run.net.parameters.copy(), run.net.buffers.copy()))

        on_batch_end = on_steps_end = keep

    plain = make()
    fit(plain, x, labels, epochs=4, callbacks=[Keep()], **options)
    if each == "epoch":
        trail = [entry for entry, after in zip(trail, [*trail[1:], (0,)], strict=True) if entry[0] != after[0]]
    taken = [(parameters, buffers) for epoch, parameters, buffers in trail if epoch >= start]
    expected = [taken[0][i].astype(np.float64) for i in (0, 1)]
    for count, entry in enumerate(taken[1:], 1):
        for i in (0, 1):
            keep = count / (count + 1) if decay is None else decay
            expected[i] = keep * expected[i] + (1 - keep) * entry[i]

    nets, measured = [make() for _ in range(3)], []

    class Measure(fa.Callback):
        def on_epoch_end(self, run):
            measured.append(fa.evaluate(run.net, x, labels)["loss"])

    average = AverageWeights(decay, start, each)
    history = fit(nets[0], x, labels, epochs=4, callbacks=[Measure(), average], validation=(x, labels), **options)
    assert history.validation_loss == measured
    np.testing.assert_allclose(nets[0].parameters, expected[0], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(nets[0].buffers, expected[1], rtol=2e-5, atol=1e-6)
    assert (nets[0].parameters != plain.parameters).any()

    path = tmp_path / "run.npz"
    validated = {"validation": (x, labels), **options}
    fit(nets[1], x, labels, epochs=3, callbacks=[AverageWeights(decay, start, each)], checkpoint=path, **validated)
    np.testing.assert_array_equal(fa.load(path).parameters, nets[1].parameters)  # the average is what is saved
    fit(nets[2], x, labels, epochs=4, callbacks=[AverageWeights(decay, start, each)], resume=path, **validated)
    support.assert_same_bits(nets[2].parameters, nets[0].parameters)
    support.assert_same_bits(nets[2].buffers, nets[0].buffers)


def test_the_best_average_is_restored():
    x, labels, _ = table()
    numbers = iter([3.0, 1.0, 2.0, 2.0])
    kept = []

    class Keep(fa.Callback):
        def on_epoch_end(self, run):
            kept.append(run.net.parameters.copy())

    net = network()
    fit(
        net, x, labels, metrics={"number": lambda outputs, y: next(numbers)},
        callbacks=[fa.EarlyStopping(2, monitor="number"), Keep(), AverageWeights(0.5)],
    )  # fmt: skip
    support.assert_same_bits(net.parameters, kept[1])


@pytest.mark.parametrize("each", ["step", "epoch"])
def test_until_averaging_begins_the_weights_are_themselves(each):
    x, labels, _ = table()
    nets = [network() for _ in range(2)]
    far = {"epochs": 3, "optimizer": fa.optim.SGD(5.0)}  # so that a weight is not its neighbour and a small difference
    fit(nets[0], x, labels, **far)
    far["optimizer"] = fa.optim.SGD(5.0)
    fit(nets[1], x, labels, **far, callbacks=[AverageWeights(start=4, each=each)])
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)


def test_average_weights_refuses():
    for options, error in (({"decay": 1.0}, ValueError), ({"decay": -0.1}, ValueError), ({"start": 0}, ValueError),
                           ({"each": "batch"}, ValueError), ({"decay": "0.9"}, TypeError)):  # fmt: skip
        with pytest.raises(error, match=r"^AverageWeights: expected"):
            AverageWeights(**options)
