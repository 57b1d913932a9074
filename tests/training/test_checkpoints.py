"""Checkpoints: a resumed training is the uninterrupted one, bit for bit."""

import functools
import json

import numpy as np
import pytest
import support

import fastact as fa
from fastact import files, persistence

X = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)
LABELS = np.random.default_rng(1).integers(0, 3, 70)


def network(dtype="float32"):
    return fa.Sequential(fa.Dense(6, 8, "tanh"), fa.Dense(8, 3), dtype=dtype, rng=0)


OPTIMIZERS = {
    "adam": lambda: fa.optim.Adam(fa.optim.Cosine(0.05, 18)),
    "adamw": lambda: fa.optim.AdamW(fa.optim.OneCycle(0.05, 18), clip_norm=0.5),
    "momentum": lambda: fa.optim.SGD(fa.optim.WarmUp(fa.optim.StepDecay(0.2, 5), 4), 0.9, nesterov=True),
    "rmsprop": lambda: fa.optim.RMSprop(centered=True, momentum=0.5),
    "adagrad": lambda: fa.optim.Adagrad(lr_decay=0.01, groups=[fa.optim.Group("1.*", lr=0.3)]),
}


class Halve(fa.Callback):
    """Changes the rate of an optimiser as it goes."""

    def on_epoch_end(self, run):
        if not callable(run.optimizer.lr):
            run.optimizer.lr /= 2


def options(name, **more):
    return {
        "optimizer": OPTIMIZERS[name](), "batch_size": 25, "rng": 5, "progress": False, "callbacks": [Halve()], **more,
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("validation", [None, 0.2])
def test_three_epochs_and_three_more_are_six(tmp_path, name, ending, validation):
    file = tmp_path / f"run{ending}"
    whole, first, second = network(), network(), fa.Sequential(fa.Dense(6, 8, "tanh"), fa.Dense(8, 3), rng=9)
    expected = fa.fit(whole, X, LABELS, epochs=6, **options(name, validation=validation))
    fa.fit(first, X, LABELS, epochs=3, checkpoint=file, **options(name, validation=validation))
    resumed = options(name, validation=validation)
    history = fa.fit(second, X, LABELS, epochs=6, resume=file, **resumed)
    assert whole.parameters.tobytes() == second.parameters.tobytes()
    assert history.to_dict()["by_epoch"] == expected.to_dict()["by_epoch"]
    assert (history.steps, resumed["optimizer"].steps) == (expected.steps, expected.steps)


def rich(dtype, seed):
    """Layers with statistics and random numbers of their own."""
    return fa.Sequential(
        fa.Dense(6, 8), fa.BatchNorm(), fa.Activation("relu"), fa.Dropout(0.3),
        fa.Residual(fa.Dense(8, 8, "selu"), fa.AlphaDropout(0.1)), fa.LayerNorm(), fa.Dense(8, 3),
        dtype=dtype, rng=seed,
    )  # fmt: skip


@pytest.mark.parametrize("engine", support.BACKENDS)
def test_dropout_and_batch_norm_go_on(tmp_path, engine, dtype):
    nets = [rich(dtype, seed) for seed in (0, 0, 7)]
    common = {"batch_size": 16, "rng": 5, "progress": False, "validation": 0.2, "callbacks": [fa.EarlyStopping(9)]}
    with fa.use_backend(engine):
        for net, more in zip(
            nets, ({}, {"checkpoint": tmp_path / "c.npz"}, {"resume": tmp_path / "c.npz"}), strict=True
        ):
            epochs = 3 if "checkpoint" in more else 6
            fa.fit(net, X, LABELS, epochs=epochs, optimizer=fa.optim.Adam(fa.optim.Cosine(0.01, 24)), **common, **more)
    assert nets[0].parameters.tobytes() == nets[2].parameters.tobytes()
    assert nets[0].buffers.tobytes() == nets[2].buffers.tobytes()
    assert nets[0].random_state() == nets[2].random_state()
    assert nets[0].parameters.tobytes() != nets[1].parameters.tobytes()


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_generator_goes_on(tmp_path, bits):
    nets = [network() for _ in range(3)]
    common = {"batch_size": 7, "progress": False, "validation": 0.1}
    fa.fit(nets[0], X, LABELS, epochs=4, rng=np.random.Generator(bits(3)), **common)
    fa.fit(nets[1], X, LABELS, epochs=2, rng=np.random.Generator(bits(3)), checkpoint=tmp_path / "c.npz", **common)
    fa.fit(nets[2], X, LABELS, epochs=4, rng=np.random.Generator(bits(8)), resume=tmp_path / "c.npz", **common)
    support.assert_same_bits(nets[0].parameters, nets[2].parameters)
    other = np.random.Generator(np.random.PCG64DXSM(3))
    with pytest.raises(ValueError, match="generator; pass rng as in the run"):
        fa.fit(network(), X, LABELS, rng=other, resume=tmp_path / "c.npz", **common)


def test_without_a_seed(tmp_path):
    """What the system's entropy gave is in the checkpoint."""
    net = network()
    kept = []

    class Keep(fa.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                run.save(tmp_path / "c.npz")
            kept.append(run.net.parameters.copy())

    fa.fit(net, X, LABELS, epochs=4, validation=0.3, progress=False, callbacks=[Keep()])
    again = network()
    fa.fit(again, X, LABELS, epochs=4, validation=0.3, progress=False, resume=tmp_path / "c.npz")
    support.assert_same_bits(again.parameters, kept[-1])


def stopped(file=None, resume=None, epochs=60, patience=4):
    net, stop = network(), fa.EarlyStopping(patience)
    callbacks = [stop] if file is None else [fa.Checkpoint(file), stop]  # checkpoints go last by themselves
    history = fa.fit(
        net, X, LABELS, epochs=epochs, validation=0.3, rng=1, progress=False, callbacks=callbacks, resume=resume,
        optimizer=fa.optim.Adam(0.1),
    )  # fmt: skip
    return net, history, stop


def test_early_stopping_goes_on(tmp_path):
    file = tmp_path / "run.safetensors"
    net, expected, stop = stopped()
    best, last = stop.best_epoch, expected.epochs
    assert last == best + 4 < 60
    for epochs in (1, best, best + 1, last):
        stopped(file, epochs=epochs)
        again, history, found = stopped(resume=file)
        support.assert_same_bits(again.parameters, net.parameters)
        assert history.to_dict()["by_epoch"] == expected.to_dict()["by_epoch"]
        assert (found.best_epoch, found.best, found.stopped_epoch) == (best, stop.best, last)
    _, history, _ = stopped(resume=file, patience=6)  # more patience than the run that stopped
    assert history.epochs > last


def test_a_checkpoint_is_a_network_too(tmp_path):
    file = tmp_path / "run.npz"
    net, optimizer = network(), fa.optim.Adam()
    net.freeze("0.bias")
    net.metadata["task"] = "some"
    fa.fit(net, X, LABELS, epochs=2, optimizer=optimizer, checkpoint=file, progress=False, rng=0)
    fresh = fa.optim.Adam()
    back = fa.load(file, optimizer=fresh)
    support.assert_same_bits(back.parameters, net.parameters)
    assert back.metadata == {"task": "some"}
    assert [s.name for s in back.segments if s.frozen] == ["0.bias"]
    assert fresh.state_dict()["segment_steps"] == optimizer.state_dict()["segment_steps"]


def test_when_checkpoints_are_written(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(fa.Run, "save", lambda run, path: written.append(run.epoch))
    common = {"progress": False, "batch_size": 70}
    fa.fit(network(), X, LABELS, epochs=7, callbacks=[fa.Checkpoint(tmp_path / "c.npz", every=3)], **common)
    assert written == [3, 6, 7]

    class Stop(fa.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 2:
                run.stop()

    written.clear()
    fa.fit(network(), X, LABELS, epochs=7, callbacks=[fa.Checkpoint(tmp_path / "c.npz", every=5), Stop()], **common)
    assert written == [2]


def test_only_between_epochs(tmp_path):
    class Save(fa.Callback):
        def on_batch_end(self, run):
            run.save(tmp_path / "c.npz")

    with pytest.raises(RuntimeError, match="expected to be called by on_epoch_end"):
        fa.fit(network(), X, LABELS, callbacks=[Save()], progress=False)
    assert not (tmp_path / "c.npz").exists()


def test_a_missing_folder_is_found_before_the_training(tmp_path):
    net, file = network(), tmp_path / "none" / "a.npz"
    before = net.parameters.copy()
    with pytest.raises(FileNotFoundError, match=r"Checkpoint: there is no folder '.*none' to write 'a.npz' to"):
        fa.fit(net, X, LABELS, checkpoint=file, progress=False)
    np.testing.assert_array_equal(net.parameters, before)
    with pytest.raises(FileNotFoundError, match=r"save: there is no folder"):
        net.save(file)


def test_a_finished_run_has_nothing_left(tmp_path):
    net = network()
    history = fa.fit(net, X, LABELS, epochs=2, checkpoint=tmp_path / "c.npz", progress=False, rng=0)
    again = network()
    assert fa.fit(again, X, LABELS, epochs=2, resume=tmp_path / "c.npz", progress=False).loss == history.loss
    support.assert_same_bits(net.parameters, again.parameters)


class Count(fa.Callback):
    """A callback with a state of its own."""

    def __init__(self):
        self.count, self.sums = 0, np.zeros(2)

    def on_batch_end(self, run):
        self.count += 1
        self.sums += run.logs["loss"]

    def state_dict(self):
        return {"count": self.count, "sums": self.sums}

    def load_state_dict(self, state):
        self.count, self.sums = state["count"], np.array(state["sums"])


def test_states_of_callbacks(tmp_path):
    common = {"rng": 2, "progress": False, "batch_size": 9}
    counts = [[Count(), Halve(), Count()] for _ in range(3)]
    fa.fit(network(), X, LABELS, epochs=4, callbacks=counts[0], **common)
    fa.fit(network(), X, LABELS, epochs=2, callbacks=counts[1], checkpoint=tmp_path / "c.npz", **common)
    fa.fit(network(), X, LABELS, epochs=4, callbacks=counts[2], resume=tmp_path / "c.npz", **common)
    for i in (0, 2):
        assert counts[2][i].count == counts[0][i].count == 32
        assert (counts[2][i].sums == counts[0][i].sums).all()
    with pytest.raises(ValueError, match="the state of the callback 'Count'; pass one like it in callbacks"):
        fa.fit(network(), X, LABELS, callbacks=counts[2][:1], resume=tmp_path / "c.npz", **common)

    class Numbers(fa.Callback):
        def state_dict(self):
            return {"a": np.arange(3)}

    with pytest.raises(TypeError, match="expected float32 or float64 arrays, got int64 for a"):
        fa.fit(network(), X, LABELS, callbacks=[Numbers()], checkpoint=tmp_path / "c.npz", **common)


def test_what_does_not_fit_a_checkpoint(tmp_path):
    file = tmp_path / "c.npz"
    common = {"progress": False, "rng": 1, "batch_size": 10}
    fa.fit(network(), X, LABELS, epochs=1, checkpoint=file, optimizer=fa.optim.Adam(), **common)

    def refused(message, net=None, x=X, y=LABELS, **changes):
        net = network() if net is None else net
        before = net.parameters.copy()
        given = {**common, "optimizer": fa.optim.Adam(), "resume": file, **changes}
        with pytest.raises(ValueError, match=message):
            fa.fit(net, x, y, **given)
        support.assert_same_bits(net.parameters, before)

    refused("expected batch_size 10 as in it, got 11", batch_size=11)
    refused("expected rows 70 as in it, got 69", x=X[1:], y=LABELS[1:])
    refused("expected rows 70 as in it, got 35", validation=0.5)
    refused("expected shuffle True as in it, got False", shuffle=False)
    refused("expected loss 'softmax_cross_entropy' as in it", loss="squared_error", y=np.ones((70, 3)))
    refused("expected optimizer {'name': 'Adam', .*} as in it, got {'name': 'SGD'", optimizer=fa.optim.SGD())
    for changed in ({"betas": (0.9, 0.99)}, {"eps": 1e-7}):
        refused(r"expected optimizer .*'betas': \[0.9, 0.999\].* as in it, got ", optimizer=fa.optim.Adam(**changed))
    smooth = functools.partial(fa.softmax_cross_entropy, label_smoothing=0.1)
    refused("expected loss options {} as in it, got {'label_smoothing': 0.1}", loss=smooth)
    other = [X + 0, np.where(np.arange(70) == 5, 1 - (LABELS == 1), LABELS), np.ones(70)]
    other[0][69, 5] += 1e-6
    refused("expected checksum of the data .* as in it, got", x=other[0])
    refused("expected checksum of the data .* as in it, got", y=other[1])
    refused("expected checksum of the data .* as in it, got", sample_weight=other[2])
    refused("it began with another rng; pass the same seed, or none", rng=2)
    refused("it began with another rng; pass the same seed, or none", rng=np.int64(2))
    refused("does not fit", net=network("float64"))
    refused("does not fit", net=fa.Sequential(fa.Dense(6, 8, "relu"), fa.Dense(8, 3), rng=0))
    network().save(tmp_path / "net.npz")
    refused("net.npz is a network, but no checkpoint to resume", resume=tmp_path / "net.npz")
    (tmp_path / "bad.npz").write_bytes(b"hello")
    refused("is not a whole fastact network", resume=tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match="fit: there is no file"):
        fa.fit(network(), X, LABELS, resume=tmp_path / "none.npz", **common)


def changed(training, *path, to):
    copy = json.loads(json.dumps(training))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return copy


def test_evil_checkpoints(tmp_path):
    """A right checksum, and states that no run can have had."""
    file, evil = tmp_path / "c.safetensors", tmp_path / "evil.safetensors"
    generator = np.random.Generator(np.random.MT19937(0))
    common = {"progress": False, "batch_size": 10, "epochs": 1}
    callbacks = [fa.EarlyStopping(3, monitor="loss")]
    net, optimizer = network(), fa.optim.Adam()
    fa.fit(net, X, LABELS, checkpoint=file, rng=generator, callbacks=callbacks, optimizer=optimizer, **common)
    content = persistence.Content("test", file)
    training = content.header["training"]
    arrays = {name: array for name, array in content.arrays.items() if name.startswith("callback.")}
    cases = [changed(training, key, to=to) for key in training for to in (None, 7, "x", [], {}, [1], {"a": 1})]
    for state in ("rng", "rng_start"):
        cases += [changed(training, state, "state", "pos", to=to) for to in (625, -1, 10**9, 1.5, None)]
        cases += [changed(training, state, "state", "key", to=to) for to in ([], [1], [2**32] * 624, ["x"] * 624, "x")]
        cases += [changed(training, state, "bit_generator", to="PCG64")]
    cases += [changed(training, "epoch", to=2), changed(training, "history", "steps", to=-1)]
    cases += [changed(training, "callbacks", 0, "state", to={}), changed(training, "callbacks", 0, "class", to="int")]
    cases += [changed(training, "callbacks", 0, "state", "best", to="x")]
    cases += [changed(training, "callbacks", 0, "arrays", to=["evil"])]
    cases += [changed(training, "settings", to={"lr": -1}), changed(training, "settings", to={"__class__": 1})]
    fine = [training, changed(training, "settings", to={}), changed(training, "callbacks", to=[])]
    for case in cases:
        if case in fine:
            continue
        persistence.save(net, evil, optimizer, training=(case, arrays))
        with pytest.raises(ValueError, match=r"evil\.safetensors|generator; pass rng"):
            fa.fit(
                network(), X, LABELS, resume=evil, rng=np.random.Generator(np.random.MT19937(1)),
                callbacks=[fa.EarlyStopping(3, monitor="loss")], **common,
            )  # fmt: skip
    persistence.save(net, evil, optimizer, training=(training, arrays))
    fa.fit(network(), X, LABELS, resume=evil, rng=generator, callbacks=callbacks, **common)
    short = {**arrays, "callback.0.parameters": arrays["callback.0.parameters"][:-1]}
    persistence.save(net, evil, optimizer, training=(training, short))
    with pytest.raises(ValueError, match=r"does not fit this run: .*EarlyStopping"):
        fa.fit(
            network(), X, LABELS, resume=evil, rng=generator, callbacks=[fa.EarlyStopping(3, monitor="loss")], **common
        )


class Sets(fa.Callback):
    """Sets the rate after the second epoch, to a number or to a schedule."""

    def __init__(self, lr):
        self.lr = lr

    def on_epoch_end(self, run):
        if run.epoch == 2:
            run.optimizer.lr = self.lr


@pytest.mark.parametrize("begins", [0.1, fa.optim.Cosine(0.1, 30)])
@pytest.mark.parametrize("goes_on", [0.05, fa.optim.StepDecay(0.2, 3)])
def test_rates_and_schedules_take_each_others_place(tmp_path, begins, goes_on):
    file = tmp_path / "a.npz"

    def trained(lr, epochs, **more):
        net, optimizer = network(), fa.optim.SGD(lr, 0.9)
        fa.fit(
            net, X, LABELS, optimizer=optimizer, callbacks=[Sets(goes_on)], epochs=epochs, rng=3, progress=False, **more
        )
        return net

    whole = trained(begins, 5)
    trained(begins, 3, checkpoint=file)
    if callable(goes_on):
        if not callable(begins):
            with pytest.raises(ValueError, match="pass an optimizer with that schedule"):
                trained(begins, 5, resume=file)
        begins = goes_on
    assert trained(begins, 5, resume=file).parameters.tobytes() == whole.parameters.tobytes()


def test_an_infinite_best_goes_on(tmp_path):
    def metric(outputs, targets):
        return -np.inf

    def options():
        return {
            "validation": (X, LABELS), "metrics": {"m": metric}, "rng": 1, "progress": False,
            "callbacks": [fa.EarlyStopping(9, "validation_m", mode="min")],
        }  # fmt: skip

    file = tmp_path / "a.npz"
    fa.fit(network(), X, LABELS, epochs=2, checkpoint=file, **options())
    resumed = options()
    fa.fit(network(), X, LABELS, epochs=3, resume=file, **resumed)
    assert (resumed["callbacks"][0].best, resumed["callbacks"][0].best_epoch) == (-np.inf, 1)


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    file = tmp_path / "a.npz"
    fa.fit(rich("float32", 0), X, LABELS, epochs=2, checkpoint=file, **options("adam"))
    changes = {
        "random_state": lambda now: [*now[:3], {"seed": 1, "counter": -1}, *now[4:]],
        "frozen": lambda now: ["9.weight"],
        "metadata": lambda now: {"a": 1},
    }
    for key, change in changes.items():
        content = persistence.Content("test", file)
        texts = {**content.texts, key: json.dumps(change(content.header[key]))}
        files.write(tmp_path / "evil.npz", texts, content.arrays)
        net, given, generator = rich("float32", 3), options("adam"), np.random.default_rng(7)
        given["rng"] = generator
        before = net.parameters.tobytes(), net.random_state(), generator.bit_generator.state
        with pytest.raises(ValueError, match="does not fit the network"):
            fa.fit(net, X, LABELS, epochs=3, resume=tmp_path / "evil.npz", **given)
        assert (net.parameters.tobytes(), net.random_state(), generator.bit_generator.state) == before
        assert (given["optimizer"].steps, given["optimizer"].state) == (0, {})


def test_a_run_that_a_checkpoint_does_not_fit_leaves_the_generator(tmp_path):
    file, generator = tmp_path / "a.npz", np.random.default_rng(7)
    fa.fit(network(), X, LABELS, epochs=2, checkpoint=file, **options("adam"))
    before = generator.bit_generator.state
    for wrong in ({"batch_size": 10}, {"validation": 2.0}, {"callbacks": []}, {"shuffle": False}):
        given = {**options("adam"), "rng": generator, **wrong}
        if wrong == {"callbacks": []}:
            given["optimizer"] = fa.optim.SGD()
        with pytest.raises(ValueError, match="fit: "):
            fa.fit(network(), X, LABELS, epochs=3, resume=file, **given)
        assert generator.bit_generator.state == before


class Numbers(fa.Callback):
    """Keeps what NumPy's functions give."""

    def __init__(self):
        self.state = {}

    def on_epoch_end(self, run):
        whole = np.arange(3)
        self.state = {
            "loss": np.float32(run.logs["loss"]), "wide": np.float64(0.1), "epoch": np.int64(run.epoch),
            "better": np.bool_(True), "counts": [whole, {"of": whole.sum()}], "half": np.float16(0.5),
        }  # fmt: skip

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = dict(state)


def float32_loss(outputs, targets):
    loss, grad = fa.softmax_cross_entropy(outputs, targets)
    return np.float32(loss), grad


def test_numpys_numbers_reach_a_checkpoint(tmp_path):
    """From a loss, from metrics, from the state of a callback."""
    file = tmp_path / "c.safetensors"
    nets, histories, watched = [network(), network()], [], Numbers()
    given = {"loss": float32_loss, "metrics": {"low": lambda z, t: z.min()}, "rng": 5, "progress": False}
    histories.append(fa.fit(nets[0], X, LABELS, epochs=4, **given))
    fa.fit(nets[1], X, LABELS, epochs=2, checkpoint=file, callbacks=[watched], **given)
    again = Numbers()
    fa.fit(nets[1], X, LABELS, epochs=2, resume=file, callbacks=[again], **given)
    assert again.state == {
        "loss": float(watched.state["loss"]), "wide": 0.1, "epoch": 2, "better": True,
        "counts": [[0, 1, 2], {"of": 3}], "half": 0.5,
    }  # fmt: skip
    histories.append(fa.fit(nets[1], X, LABELS, epochs=4, resume=file, callbacks=[Numbers()], **given))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert histories[0].loss == histories[1].loss
    assert all(type(value) is float for values in histories[0].to_dict()["by_epoch"].values() for value in values)


def test_the_mean_of_a_float32_loss_is_taken_in_double():
    def loss(outputs, targets):
        return np.float32(0.1), np.zeros_like(outputs)

    x, y = np.ones((4096, 6), np.float32), np.zeros((4096, 3))
    history = fa.fit(network(), x, y, loss=loss, epochs=1, batch_size=1, progress=False)
    assert history.loss[0] == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_what_is_no_number_is_refused_in_words(tmp_path):
    class Bad(fa.Callback):
        def state_dict(self):
            return {"what": {1, 2}}

    with pytest.raises(TypeError, match="expected numbers, texts, lists and dictionaries of these, got set"):
        fa.fit(network(), X, LABELS, epochs=1, checkpoint=tmp_path / "c.npz", callbacks=[Bad()], progress=False)


class EverySecond(fa.Callback):
    """Measures something in every second epoch."""

    def on_epoch_end(self, run):
        if run.epoch % 2 == 0:
            run.history.append({"second": float(run.epoch)})


def test_what_is_measured_may_change_from_run_to_run(tmp_path):
    """Validation, metrics and callbacks that come and go: each checkpoint is read, and says NaN for what was not."""
    file, expected = tmp_path / "c.npz", network()
    common = {"rng": 1, "progress": False, "batch_size": 20}
    fa.fit(expected, X, LABELS, epochs=7, **common)
    stages = (
        (1, {}),
        (2, {"validation": (X, LABELS)}),
        (4, {"callbacks": [EverySecond()]}),
        (5, {"validation": (X, LABELS), "metrics": {"own": lambda *_: 3.0}}),
        (6, {"metrics": "accuracy"}),
        (7, {}),
    )
    for number, (epochs, options) in enumerate(stages):
        net = network()
        history = fa.fit(
            net, X, LABELS, epochs=epochs, checkpoint=file, resume=file if number else None, **options, **common
        )
    support.assert_same_bits(net.parameters, expected.parameters)
    lists = history.to_dict()["by_epoch"]
    assert {len(values) for values in lists.values()} == {7}
    measured = {
        name: [i + 1 for i, value in enumerate(values) if not np.isnan(value)] for name, values in lists.items()
    }
    every = [1, 2, 3, 4, 5, 6, 7]
    assert measured == {
        "loss": every, "rate": every, "validation_loss": [2, 5], "validation_accuracy": [2], "second": [4],
        "validation_own": [5], "accuracy": [6],
    }  # fmt: skip
    assert lists["second"][3] == 4
    assert str(fa.History.from_dict(history.to_dict()).to_dict()) == str(history.to_dict())


def test_lists_that_a_callback_fills_as_it_likes(tmp_path):
    class Own(fa.Callback):
        def on_batch_end(self, run):
            run.history.metrics.setdefault("each step", []).append(run.logs["loss"])

        def on_epoch_end(self, run):
            if run.epoch % 2 == 0:
                run.history.metrics.setdefault("second", []).append(1.0)

    file, common = tmp_path / "c.npz", {"rng": 1, "progress": False, "batch_size": 20}
    fa.fit(network(), X, LABELS, epochs=3, checkpoint=file, callbacks=[Own()], **common)
    history = fa.fit(network(), X, LABELS, epochs=5, resume=file, checkpoint=file, callbacks=[Own()], **common)
    assert len(history["each step"]) == history.steps == 20
    assert len(fa.fit(network(), X, LABELS, epochs=6, resume=file, **common)["each step"]) == 20


def test_what_may_change_when_a_training_is_resumed(tmp_path):
    """The rate, decay and clipping; a Generator, whose state is replaced, or no rng at all."""
    file = tmp_path / "c.npz"
    common = {"progress": False, "batch_size": 20}
    fa.fit(network(), X, LABELS, epochs=1, checkpoint=file, optimizer=fa.optim.AdamW(1e-3), rng=4, **common)
    results = []
    for rng in (4, None, np.random.default_rng(9)):
        optimizer, net = fa.optim.AdamW(0.5, weight_decay=0.3, clip_norm=0.1), network()
        fa.fit(net, X, LABELS, epochs=2, resume=file, optimizer=optimizer, rng=rng, **common)
        assert (optimizer.lr, optimizer.weight_decay, optimizer.clip_norm) == (0.5, 0.3, 0.1)
        results.append(net.parameters)
    support.assert_same_bits(results[0], results[1])
    support.assert_same_bits(results[0], results[2])


def test_data_are_read_for_their_checksum_only_where_it_is_asked_for(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("fastact.training.loop.checksum", lambda *_: calls.append(1) or 5)
    fa.fit(network(), X, LABELS, epochs=3, progress=False)
    assert calls == []
    fa.fit(network(), X, LABELS, epochs=3, progress=False, checkpoint=tmp_path / "c.npz")
    assert calls == [1]
