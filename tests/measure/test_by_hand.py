"""The training step by hand in NumPy, and timing in turns."""

import numpy as np
import pytest

import fastact as fa
from fastact import registry
from fastact.measure import by_hand


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*registry.ACTIVATIONS, *registry.LEARNED])
def test_step_by_hand_is_the_same_step(name, dtype):
    def network():
        layers = (fa.Dense(7, 5, activation=name), fa.Dense(5, 9, activation=name), fa.Dense(9, 3))
        return fa.Sequential(*layers, dtype=dtype, rng=1)

    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(11, 7)).astype(dtype), rng.integers(0, 3, 11)
    net = network()
    ours = by_hand.library_step(net, fa.optim.SGD(lr=0.1, momentum=0.9))
    numpy_step = by_hand.NumpyStep(network(), fa.activation(name), 11, 0.1, 0.9)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for _ in range(10):
        assert ours(x, labels) == pytest.approx(numpy_step(x, labels), rel=tolerance)
    np.testing.assert_allclose(numpy_step.parameters, net.parameters, rtol=tolerance, atol=tolerance)


def test_timing_takes_turns():
    calls = []
    first, second = by_hand.time_in_turns(lambda _: calls.append("a"), lambda _: calls.append("b"), [(0,)], 5, 1e-4)
    assert first > 0
    assert second > 0
    turns = "".join(calls).lstrip("a").lstrip("b")  # after the warm-up
    assert turns.count("ab") == 5
    assert turns.count("a") == turns.count("b")
