"""fit, evaluate and predict from sources: the numbers of arrays in memory, resuming, Ctrl-C, bad data."""

import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import support
from tasks import network, table

import fastact as fa
from fastact.data import Arrays, Stream
from fastact.training import progress

fit = functools.partial(fa.fit, progress=False, rng=3)
X, LABELS, TARGETS = table(rows=503)
BATCHES = [(X[i : i + 50], LABELS[i : i + 50]) for i in range(0, 503, 50)]


class OnDisk:
    """What h5py and zarr give, as far as it matters."""

    chunks = None

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, part):
        return self.array[part].copy()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "fastact reader"]


def trained(*arguments, **options):
    net = network(activation="tanh")
    history = fit(net, *arguments, **{"epochs": 3, **options})
    return net, history


def same(one, other):
    support.assert_same_bits(one[0].parameters, other[0].parameters)
    assert one[1].loss == pytest.approx(other[1].loss, rel=1e-12)


def test_what_fits_into_the_window_is_trained_on_as_arrays_are(tmp_path):
    np.save(tmp_path / "x.npy", X)
    expected = trained(X, LABELS, validation=0.2, batch_size=20)
    for x in (np.load(tmp_path / "x.npy", mmap_mode="r"), OnDisk(X), OnDisk(X.astype(np.float64))):
        same(trained(x, LABELS, validation=0.2, batch_size=20), expected)
    same(trained(OnDisk(X), OnDisk(LABELS), validation=0.2, batch_size=20), expected)
    assert not np.array_equal(trained(OnDisk(X), LABELS, window=100)[0].parameters, expected[0].parameters)


@pytest.mark.parametrize("window", [32, 100, "3 kB"])
def test_in_the_datas_order_the_window_does_not_matter(window):
    weights = np.linspace(0, 2, 503)
    expected = trained(X, LABELS, shuffle=False, sample_weight=weights)
    same(trained(OnDisk(X), LABELS, shuffle=False, window=window, sample_weight=weights), expected)
    same(trained(OnDisk(X), OnDisk(LABELS), shuffle=False, window=window, sample_weight=OnDisk(weights)), expected)
    batches = [(x, y, w) for (x, y), w in zip(BATCHES, np.split(weights, range(50, 503, 50)), strict=True)]
    same(trained(Stream(batches), shuffle=False, window=window, batch_size=32), expected)


def test_batches_are_taken_as_they_come():
    expected = trained(X, LABELS, shuffle=False, batch_size=50)

    class Loader:
        def __iter__(self):
            return iter(BATCHES)

    def reusing():
        buffer = np.empty((50, 7), np.float32)
        for x, y in BATCHES:
            buffer[: len(x)] = x
            yield buffer[: len(x)], y

    for source in (BATCHES, lambda: iter(BATCHES), Loader(), Stream(BATCHES), Stream(BATCHES, ahead=False), reusing):
        found = trained(source)
        same(found, expected)
        assert found[1].steps == 33


def test_batches_of_ones_own_are_shuffled_where_a_size_is_asked_for():
    nets = [trained(BATCHES, batch_size=32, shuffle=shuffle)[0] for shuffle in (True, True, False)]
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)
    assert not np.array_equal(nets[0].parameters, nets[2].parameters)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_at_any_number_of_threads(threads):
    with fa.num_threads(threads):
        found = trained(OnDisk(X), LABELS, window=100)
    same(found, trained(Arrays(X, LABELS), window=100))
    same(
        trained(fa.data.Stream(BATCHES, rows=503), window=100, batch_size=20, shuffle=False),
        trained(X, LABELS, batch_size=20, shuffle=False),
    )


def test_it_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 7)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    order = np.argsort(y)  # in order of the classes: what a window without mixed blocks could not learn
    net = fa.Sequential(fa.Dense(7, 32, "relu"), fa.Dense(32, 2), rng=0)
    fit(net, OnDisk(x[order]), y[order], epochs=20, window=500, optimizer=fa.optim.Adam(0.01))
    assert fa.evaluate(net, x, y)["accuracy"] > 0.95


def test_raw_columns_are_measured_in_one_pass():
    raw = X * np.geomspace(1, 1e4, 7) + 1e3
    nets = [trained(x, LABELS, standardize=True, shuffle=False, window=100)[0] for x in (raw, OnDisk(raw))]
    for name in ("0.mean", "0.scale"):
        exact = (
            raw.astype(np.float32).astype(np.float64).mean(0)
            if name == "0.mean"
            else raw.astype(np.float32).astype(np.float64).std(0)
        )
        for net in nets:
            np.testing.assert_allclose(net.named_buffers()[name], exact, rtol=1e-6)


def test_moments_are_sound_where_the_mean_is_large():
    rng = np.random.default_rng(0)
    x = 1e8 + rng.normal(size=(20_000, 3)) * [1, 1e-3, 0]
    net = fa.Sequential(fa.Dense(3, 2), dtype="float64", rng=0)
    net.standardize(iter(np.array_split(x, 7)))
    exact = np.array([np.std(x[:, j].astype(np.longdouble)) for j in range(2)])
    np.testing.assert_allclose(net.named_buffers()["0.scale"][:2], exact.astype(float), rtol=1e-9)
    assert net.named_buffers()["0.scale"][2] == 1
    with pytest.raises(ValueError, match="standardize: expected at least one row"):
        net.standardize(iter(()))


@pytest.mark.parametrize(
    "metrics", [None, ["accuracy"], {"sum": lambda outputs, targets: outputs.sum() + targets.sum()}]
)
def test_evaluate(metrics, tmp_path):
    net, weights = network(), np.linspace(0, 2, 503)
    expected = fa.evaluate(net, X, LABELS, metrics=metrics, sample_weight=weights)
    batches = [(X[i : i + 50], LABELS[i : i + 50], weights[i : i + 50]) for i in range(0, 503, 50)]
    for batch_size in (1024, 20):
        assert fa.evaluate(net, batches, metrics=metrics, batch_size=batch_size) == pytest.approx(expected, rel=1e-6)
        assert fa.evaluate(net, (b for b in batches), metrics=metrics) == pytest.approx(expected, rel=1e-6)
    labels = np.where(np.arange(503) % 3, LABELS, -100)
    assert fa.evaluate(net, OnDisk(X), labels) == pytest.approx(fa.evaluate(net, X, labels), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        "squared_error",
        "huber",
        functools.partial(fa.squared_error, reduction="sum"),
        functools.partial(fa.quantile, q=[0.1, 0.5, 0.9]),
    ],
)
def test_evaluate_values(loss):
    net = network()
    targets = TARGETS.copy()
    targets[:, 1] = 7.1  # constant, and not met
    assert fa.evaluate(
        net, [(X[:100], targets[:100]), (X[100:], targets[100:])], loss=loss, batch_size=64
    ) == pytest.approx(fa.evaluate(net, X, targets, loss=loss), rel=1e-5)


def test_predict(tmp_path):
    net = network()
    expected = fa.predict(net, X)
    for source in (
        OnDisk(X),
        BATCHES,
        [(X,)] and Stream([X[:200], X[200:]]),
        lambda: iter(BATCHES),
        Stream(BATCHES, rows=503),
    ):
        if source is not BATCHES:
            np.testing.assert_array_equal(fa.predict(net, source, 60), expected)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (503, 3))
    for given in (OnDisk(X), X, Stream(BATCHES)):
        out[...] = 0
        assert fa.predict(net, given, 60, out=out) is out
        np.testing.assert_array_equal(out, expected)
    for given in (OnDisk(X), X, Stream(BATCHES)):
        blocks = list(fa.training.predictions(net, given, 60))
        assert [len(block) for block in blocks] == [60] * 8 + [23]
        np.testing.assert_array_equal(np.concatenate(blocks), expected)
    with pytest.raises(ValueError, match=r"predict: expected out of shape \(503, 3\), got \(502, 3\)"):
        fa.predict(net, X, out=out[1:])
    for rows in (500, 510):
        with pytest.raises(ValueError, match="predict: expected out to have"):
            fa.predict(net, Stream(BATCHES), out=np.empty((rows, 3), np.float32))


def test_validation_data_of_a_source():
    expected = trained(X, LABELS, validation=(X[:200], LABELS[:200]), metrics="accuracy")[1]
    given = OnDisk(X[:200]), LABELS[:200]
    for validation in (given, Arrays(*given), Stream([(X[:150], LABELS[:150]), (X[150:200], LABELS[150:200])])):
        found = trained(X, LABELS, validation=validation, metrics="accuracy")[1]
        assert found.validation_loss == pytest.approx(expected.validation_loss, rel=1e-6)
        assert found["validation_accuracy"] == expected["validation_accuracy"]
    streamed = trained(OnDisk(X), LABELS, window=100, shuffle=False, metrics="accuracy")[1]
    assert streamed["accuracy"] == trained(X, LABELS, shuffle=False, metrics="accuracy")[1]["accuracy"]


def test_a_fraction_of_a_source_is_held_out():
    seen = []

    class Watched(OnDisk):
        def __getitem__(self, part):
            if self.shape[0] == 503 and len(self.shape) == 2:
                seen.append((part.start, part.stop))
            return super().__getitem__(part)

    _, history = trained(Watched(X), LABELS, validation=0.25, window=128, epochs=1)
    assert len(history.validation_loss) == 1
    assert sorted(seen) == [
        (i, min(i + 16, 503)) for i in range(0, 503, 16)
    ]  # each read once: trained on or validated on
    assert -(-(503 - 128) // 32) <= history.steps <= -(-(503 - 119) // 32)
    most = trained(OnDisk(X), LABELS, validation=0.999, window=128, epochs=1, batch_size=16)[1]
    assert most.steps == 1  # a piece is left to train on
    with pytest.raises(
        ValueError, match=r"fit: expected validation to be .x, y. or another source, got 0.1 of a source"
    ):
        trained(BATCHES, validation=0.1)


@pytest.mark.parametrize("source", ["array", "stream"])
def test_resuming(tmp_path, source):
    def data():
        return (OnDisk(X), LABELS) if source == "array" else (lambda: iter(BATCHES),)

    options = {"window": 100, "batch_size": 20, "standardize": True, "optimizer": "adam"}
    whole = trained(*data(), epochs=5, **options)
    trained(*data(), epochs=2, checkpoint=tmp_path / "c.safetensors", **options)
    for rng in (3, None):
        resumed = trained(*data(), epochs=5, resume=tmp_path / "c.safetensors", **{**options, "rng": rng})
        support.assert_same_bits(resumed[0].parameters, whole[0].parameters)
        support.assert_same_bits(resumed[0].buffers, whole[0].buffers)
        assert resumed[1].loss == whole[1].loss
    for other in ({"window": 60}, {"batch_size": 10}, {"shuffle": False}):
        with pytest.raises(ValueError, match="does not fit this run"):
            trained(*data(), epochs=5, resume=tmp_path / "c.safetensors", **{**options, **other})
    if source == "array":
        with pytest.raises(ValueError, match="expected source"):
            trained(OnDisk(X), LABELS[::-1].copy(), epochs=5, resume=tmp_path / "c.safetensors", **options)


@pytest.mark.parametrize("window", [100, 10**6])
def test_bad_rows_are_named(window):
    x = X.astype(np.float64)
    x[300, 2] = np.nan
    for epochs in (1, 2):
        with pytest.raises(
            ValueError, match=r"fit: x holds NaN or infinity at row 300, column 2; clean it first \(in x\)"
        ):
            trained(OnDisk(x), LABELS, window=window, epochs=epochs, batch_size=10)
    labels = LABELS.copy()
    labels[400] = 7
    with pytest.raises(ValueError, match=r"fit: expected labels from 0 to 2 .* \(in x(, from row \d+ on)?\)"):
        trained(OnDisk(X), OnDisk(labels), window=window)
    with pytest.raises(ValueError, match="fit: expected x of shape"):
        trained(OnDisk(X[:, :5].copy()), LABELS, window=window)
    with pytest.raises(
        ValueError, match=r"fit: x holds NaN or infinity at row 1, column 0; clean it first \(in batch 3\)"
    ):
        trained([*BATCHES[:2], (np.where(np.arange(50)[:, None] == 1, np.nan, X[:50]), LABELS[:50])])


def test_targets_are_missing():
    with pytest.raises(ValueError, match="fit: expected targets beside the features, got none; name their column"):
        trained(OnDisk(X), window=100)
    with pytest.raises(TypeError, match="fit: expected y beside x, got None"):
        trained(X)


def test_an_error_of_a_callback_ends_the_reader():
    class Fails(fa.Callback):
        def on_batch_end(self, run):
            if run.step == 3:
                raise RuntimeError("mine")

    for source in ((OnDisk(X), LABELS), (lambda: (b for _ in range(10**9) for b in BATCHES),)):
        with pytest.raises(RuntimeError, match="mine") as caught:
            trained(*source, window=100, callbacks=[Fails()])
        assert not [t for t in threading.enumerate() if t.name == "fastact reader"]
        del caught


def test_columns_of_other_scales_are_noticed():
    with pytest.warns(
        fa.training.TrainingWarning if hasattr(fa.training, "TrainingWarning") else UserWarning, match="differ in scale"
    ):
        trained(OnDisk(X * np.geomspace(1, 1e5, 7)), LABELS, window=100, check_finite=False)


def test_batch_norm_says_what_to_do_about_a_last_row():
    net = fa.Sequential(fa.Dense(7, 5), fa.BatchNorm(), fa.Dense(5, 3), rng=0)
    with pytest.raises(ValueError, match="expected batches of at least 2 rows for BatchNorm"):
        fit(net, OnDisk(X), LABELS, window=100, batch_size=251)
    with pytest.raises(ValueError, match="BatchNorm"):
        fit(net, [(X[:1], LABELS[:1])])


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_counts_up_where_the_length_is_unknown(monkeypatch):
    monkeypatch.setattr(progress, "SHOW_EVERY", 0.0)
    for source, pattern in ((lambda: iter(BATCHES), "22step"), (Stream(BATCHES, rows=503), "22step")):
        with contextlib.redirect_stderr(Terminal()) as text:
            fa.fit(network(), source, epochs=2, rng=0)
        assert pattern in text.getvalue()
        assert "rows/s=" in text.getvalue()
    with contextlib.redirect_stderr(Terminal()) as text:
        fa.fit(network(), OnDisk(X), LABELS, window=100, epochs=2, rng=0)
    assert "32/32" in text.getvalue()


PROGRAM = """
    import queue, signal, sys, threading, time
    import numpy as np
    import fastact as fa

    x, y = np.zeros((50, 4), np.float32), np.zeros(50, int)
    steps = queue.Queue()

    def batches():
        yield x, y
        yield x, y
        print("waiting", flush=True)
        yield steps.get()

    signal.signal(signal.SIGINT, signal.default_int_handler)  # which background jobs of a shell ignore
    optimizer = fa.optim.Adam()
    net = fa.Sequential(fa.Dense(4, 2), rng=0)
    try:
        fa.fit(net, {source}, optimizer=optimizer, epochs=3, progress=False, check_finite=False)
    except KeyboardInterrupt as stop:
        print(stop.history.interrupted, stop.history.steps, optimizer.steps, flush=True)
"""


@pytest.mark.parametrize("source", ["batches", "fa.data.Stream(batches, ahead=False)"])
def test_ctrl_c_while_the_reader_waits(tmp_path, source):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM).replace("{source}", source))
    environment = {**os.environ, "PYTHONPATH": str(Path(fa.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-P", str(program)], stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20)[0].split() == ["True", "2", "2"]
        assert process.returncode == 0
        assert time.monotonic() - began < 10
