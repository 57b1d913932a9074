"""The comparison of activations."""

import numpy as np
import pytest

import fastact as fa
from fastact.examples.comparison import ActivationResult, compare_activations, table

QUICK = {"seeds": 2, "epochs": 3, "hidden": (16,)}


@pytest.fixture(autouse=True)
def one_thread():
    """These products are small, and the machine may be busy."""
    with fa.num_threads(1):
        yield


def test_same_data_and_seeds_for_all_and_every_run():
    relu, tanh = fa.activation("relu"), fa.activation("tanh")
    together, alone = compare_activations([relu, tanh], **QUICK), compare_activations([tanh], **QUICK)
    assert [r.activation for r in together] == ["relu", "tanh"]
    assert together[1].training_error == alone[0].training_error
    assert together[1].test_accuracy == alone[0].test_accuracy
    for result in together:
        assert [len(errors) for errors in result.training_error] == [3, 3]
        assert all(0.5 < accuracy <= 1 for accuracy in result.test_accuracy)
        assert result.microseconds > 0
        assert result.training_error[0] != result.training_error[1]  # the seeds differ


def test_relu_has_zeros_and_tanh_has_none():
    relu, tanh, sigmoid = compare_activations([fa.activation(name) for name in ("relu", "tanh", "sigmoid")], **QUICK)
    assert 0.1 < relu.zeros < 0.9
    assert (tanh.zeros, sigmoid.zeros, tanh.dead, sigmoid.dead) == (0, 0, 0, 0)
    assert (relu.small_slopes, relu.saturated) == (0, 0)
    (driven,) = compare_activations([fa.activation("sigmoid")], **QUICK, lr=5.0)
    assert sigmoid.small_slopes < 0.01
    assert driven.small_slopes > 0.1
    assert sigmoid.accuracy_mean < relu.accuracy_mean  # three epochs: the logistic is slower


def test_dead_units_are_counted():
    (dead,) = compare_activations([fa.activation("hard_shrink", lambd=1000.0)], **QUICK)
    assert (dead.dead, dead.zeros, dead.saturated) == (1, 1, 0)
    assert dead.accuracy_mean < 0.2
    assert dead.epochs is None


def test_summary_numbers():
    result = ActivationResult("relu", [0.9, 0.96], [4, None], 0.0, 0.0, 0.0, 0.5, 10.0, [[0.1], [0.2]])
    assert result.accuracy_mean == pytest.approx(0.93)
    assert result.accuracy_spread == pytest.approx(np.std([0.9, 0.96], ddof=1))
    assert result.epochs is None
    assert ActivationResult("relu", [0.9], [4], 0, 0, 0, 0, 1, [[0.1]]).accuracy_spread == 0
    assert ActivationResult("relu", [0.9] * 3, [4, 6, None], 0, 0, 0, 0, 1, [[0.1]] * 3).epochs == 6
    assert "93.00 +- 4.24 %" in table([result])
