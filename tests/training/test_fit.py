"""fit, evaluate, predict: the same as by hand, validation, memory."""

import functools
import math
import tracemalloc

import numpy as np
import pytest
import support
from tasks import by_hand, fit, network, table

import fastact as fa
from fastact.measure.by_hand import library_step


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


def test_random_numbers_are_drawn_where_they_are_used_alone():
    x, labels, _ = table()
    for options, drawn in (({}, False), ({"batch_size": 50}, True), ({"validation": 0.2}, True)):
        for rng in (np.random.default_rng(5), np.random.Generator(np.random.MT19937(5))):
            before = repr(rng.bit_generator.state)
            fit(network(), x, labels, epochs=2, rng=rng, **{"batch_size": 200, **options})
            assert (repr(rng.bit_generator.state) != before) == drawn
    for wrong in (-1, 1.5, "seed", [-3]):
        with pytest.raises(TypeError, match="fit: expected rng to be a seed or a numpy Generator"):
            fit(network(), x, labels, batch_size=200, rng=wrong)


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


@pytest.mark.parametrize("kind", ["classes", "probabilities", "yes or no"])
def test_a_fraction_of_each_class_is_held_out(kind):
    """4 % of rare rows stay 4 % on both sides, whatever the seed; where all weights are on one class, of it too."""
    x, _, _ = table(rows=200)
    labels = np.zeros(200, int)
    labels[::25] = 1
    y, loss = labels, "softmax_cross_entropy"
    if kind == "probabilities":
        y = np.where(labels[:, None] == np.arange(3), 0.8, 0.1).astype(np.float32)
    elif kind == "yes or no":
        y, loss = labels, "bce_with_logits"
    for seed in range(5):
        rare = []

        def metric(outputs, goal, rare=rare):
            rare.append(((goal.argmax(1) if goal.ndim == 2 and goal.shape[1] > 1 else goal.ravel()) == 1).sum())
            return 0.0

        net = network(outputs=1 if kind == "yes or no" else 3)
        fa.fit(net, x, y, loss=loss, validation=0.25, epochs=1, rng=seed, progress=False, metrics={"rare": metric})
        assert rare == [2]


def test_validation_data_with_weights():
    x, labels, _ = table(rows=80)
    weight = np.random.default_rng(2).uniform(0, 1, 40)
    history = fit(network(), x[40:], labels[40:], epochs=1, validation=(x[:40], labels[:40], weight))
    net = network()
    fit(net, x[40:], labels[40:], epochs=1)
    each = fa.softmax_cross_entropy(net(x[:40]), labels[:40], reduction="none").loss
    assert history.validation_loss == [pytest.approx((each * weight).sum() / weight.sum(), rel=1e-5)]
    assert history.validation_accuracy == [np.mean(net(x[:40]).argmax(1) == labels[:40])]
    for wrong in (weight[:39], -weight, 0 * weight, weight + np.nan):
        with pytest.raises(ValueError, match=r"^fit \(validation\): "):
            fit(network(), x, labels, validation=(x[:40], labels[:40], wrong))


def test_a_memory_map_is_not_copied_by_a_validation_fraction(tmp_path):
    """Of 8 MB, which stay in the file."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(20_000, 100)).astype(np.float32))
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    y = rng.integers(0, 2, 20_000)
    tracemalloc.start()
    try:
        fit(fa.Sequential(fa.Dense(100, 2), rng=0), x, y, epochs=1, batch_size=1000, validation=0.5)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_predict_in_batches_is_the_network():
    x, _, _ = table(rows=70)
    net = network()
    for size in (1, 32, 70, 1000):
        support.assert_same_bits(fa.predict(net, x, batch_size=size), net(x))
    assert fa.predict(net, np.zeros((0, 7))).shape == (0, 3)


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
    step = library_step(nets[1], fa.optim.SGD(0.1))
    for start in (0, 32):
        step(x[start : start + 32], labels[start : start + 32])
    support.assert_same_bits(nets[0].parameters, nets[1].parameters)


def test_an_optimiser_by_its_name():
    x, labels, _ = table()
    for name, made in (("adam", fa.optim.Adam()), ("RMSprop", fa.optim.RMSprop())):
        nets = network(), network()
        fit(nets[0], x, labels, optimizer=name, epochs=2)
        fit(nets[1], x, labels, optimizer=made, epochs=2)
        np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
