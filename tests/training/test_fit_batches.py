"""Batches of any source, and losses that may diverge."""

import numpy as np
import pytest
import support
from tasks import fit, network, table

import fastact as fa
from fastact.training import fit_batches


class Rows:
    """Batches of eight rows, in order."""

    def __init__(self, x, labels):
        self.x, self.labels = x, labels
        self.rows, self.steps, self.sizes = len(x), -(-len(x) // 8), {8, len(x) % 8} - {0}

    def epoch(self):
        for start in range(0, self.rows, 8):
            x = self.x[start : start + 8]
            yield x, self.labels[start : start + 8], None, len(x)


def test_it_trains_as_fit_does():
    x, labels, _ = table(rows=44)
    net, other = network(), network()
    history = fit_batches(net, Rows(x, labels), optimizer=fa.optim.Adam(0.01), epochs=3, progress=False)
    expected = fit(other, x, labels, optimizer=fa.optim.Adam(0.01), epochs=3, batch_size=8, shuffle=False)
    support.assert_same_bits(net.parameters, other.parameters)
    assert history.loss == expected.loss
    assert history.steps == 18


def test_what_is_measured_after_each_epoch_is_recorded():
    x, labels, _ = table(rows=44)
    seen = []

    def validate(net):
        seen.append(fa.evaluate(net, x, labels))
        return {"validation_loss": seen[-1]["loss"], "right": seen[-1]["accuracy"]}

    stopping = fa.EarlyStopping(50, "right", mode="max")
    history = fit_batches(network(), Rows(x, labels), epochs=4, validate=validate, callbacks=[stopping], progress=False)
    assert history.validation_loss == [row["loss"] for row in seen]
    assert history["right"] == [row["accuracy"] for row in seen]
    assert stopping.best == max(history["right"])


def test_what_is_no_network_or_optimiser():
    x, labels, _ = table(rows=44)
    with pytest.raises(TypeError, match="fit_batches: expected net to be a Sequential"):
        fit_batches(None, Rows(x, labels))
    with pytest.raises(TypeError, match="fit_batches: expected optimizer to be an Optimizer"):
        fit_batches(network(), Rows(x, labels), optimizer=3)


def test_going_on_where_the_loss_is_no_number():
    x, _, targets = table()
    options = {"loss": "squared_error", "optimizer": fa.optim.SGD(1e4), "epochs": 6, "validation": 0.2}
    history = fit(network(activation="relu"), 1e3 * x, targets, check_finite=False, **options)
    assert history.epochs == 6
    assert not np.isfinite(history.loss[-1])
    options["optimizer"] = fa.optim.SGD(1e4)
    with pytest.raises(ValueError, match="became"):
        fit(network(activation="relu"), 1e3 * x, targets, **options)
