"""Schedules against formulas written out, values worked out by hand, and PyTorch's."""

import math
import pickle

import numpy as np
import pytest

from fastact import optim


def rates(schedule, steps):
    return [schedule(i) for i in range(steps)]


def test_schedules():
    assert rates(optim.Constant(0.1), 3) == [0.1] * 3
    np.testing.assert_allclose(rates(optim.StepDecay(1.0, 2, 0.5), 6), [1, 1, 0.5, 0.5, 0.25, 0.25])
    np.testing.assert_allclose(rates(optim.Cosine(1.0, 4, 0.2), 6), [1, 0.882842712, 0.6, 0.317157288, 0.2, 0.2])
    np.testing.assert_allclose(rates(optim.WarmUp(0.4, 3), 5), [0.1, 0.2, 0.3, 0.4, 0.4])
    np.testing.assert_allclose(rates(optim.WarmUp(optim.StepDecay(0.4, 1, 0.5), 1), 4), [0.2, 0.4, 0.2, 0.1])
    cycle = rates(optim.OneCycle(1.0, 100), 103)
    assert cycle[0] == pytest.approx(1 / 25)
    assert max(cycle) == pytest.approx(1.0)
    assert cycle.index(max(cycle)) == 29
    assert cycle[99] == cycle[102] == pytest.approx(1 / 25 / 1e4)


def test_schedules_by_hand():
    """Each over its whole length and beyond; those of other libraries' documentation."""
    for schedule, expected in (
        (optim.Exponential(1.0, 0.5), [1, 0.5, 0.25, 0.125]),
        (optim.Exponential(1.0, 0.25, 2, final=0.1), [1, 0.5, 0.25, 0.125, 0.1, 0.1]),
        (optim.Polynomial(1.0, 4), [1, 0.75, 0.5, 0.25, 0, 0]),
        (optim.Polynomial(1.0, 4, 2.0, 0.2), [1, 0.65, 0.4, 0.25, 0.2, 0.2]),
        (optim.Piecewise([0.4, 0.2, 0.0], [2, 3]), [0.4, 0.4, 0.2, 0, 0]),
        (optim.Piecewise((0.5,), ()), [0.5, 0.5]),
        (optim.InverseTime(1.0, 0.5), [1, 2 / 3, 0.5, 0.4]),
        (optim.InverseTime(0.6, 1.0, 2), [0.6, 0.4, 0.3, 0.24]),
        (optim.CosineRestarts(1.0, 2), [1, 0.5, 1, 0.5, 1]),
        (optim.CosineRestarts(1.0, 2, lower=0.5, final=0.2), [1, 0.6, 0.5, 0.35, 0.25, 0.225, 0.2, 0.2]),
        (optim.CosineRestarts(1.0, 1, longer=2), [1, 1, 0.5, 1, 0.853553391, 0.5, 0.146446609, 1]),
        (optim.WarmUp(0.4, 4, start=0.0), [0, 0.1, 0.2, 0.3, 0.4, 0.4]),
        (optim.WarmUp(optim.StepDecay(0.4, 1, 0.5), 2, start=0.2), [0.2, 0.3, 0.4, 0.2, 0.1]),
        (optim.WarmUp(0.1, 2, start=0.3), [0.3, 0.2, 0.1, 0.1]),
        (optim.Joined([0.3, optim.StepDecay(0.4, 1, 0.5), 0.1], [2, 4]), [0.3, 0.3, 0.4, 0.2, 0.1, 0.1]),
    ):  # fmt: skip
        np.testing.assert_allclose(rates(schedule, len(expected)), expected, atol=1e-9, err_msg=repr(schedule))
        far = schedule(10**9)
        assert 0 <= far <= 1
        again = pickle.loads(pickle.dumps(schedule))
        assert again == schedule
        assert again(3) == schedule(3)


def test_what_a_schedule_was_given_does_not_change():
    values, steps = [0.4, 0.2], [3]
    schedule = optim.Piecewise(values, steps)
    values[0] = 9.0
    steps[0] = 0
    assert rates(schedule, 4) == [0.4, 0.4, 0.4, 0.2]


@pytest.mark.parametrize("up", [0.1, 0.3, 0.5])
def test_schedules_are_pytorchs(up):
    torch = pytest.importorskip("torch")
    schedulers = torch.optim.lr_scheduler

    def warm(optimizer):
        linear = schedulers.LinearLR(optimizer, up, 1.0, 10)
        return schedulers.SequentialLR(optimizer, [linear, schedulers.ExponentialLR(optimizer, 0.9)], [10])

    for ours, theirs in (
        (optim.StepDecay(0.3, 7, 0.4), lambda o: schedulers.StepLR(o, 7, 0.4)),
        (optim.Cosine(0.3, 40, 0.01), lambda o: schedulers.CosineAnnealingLR(o, 40, 0.01)),
        (optim.OneCycle(0.3, 40, up), lambda o: schedulers.OneCycleLR(o, 0.3, 40, pct_start=up)),
        (optim.Exponential(0.3, 1 - up), lambda o: schedulers.ExponentialLR(o, 1 - up)),
        (optim.Polynomial(0.3, 30, 1 + up), lambda o: schedulers.PolynomialLR(o, 30, 1 + up)),
        (optim.Piecewise([0.3, 0.3 * up, 0.3 * up * up], [5, 22]), lambda o: schedulers.MultiStepLR(o, [5, 22], up)),
        (
            optim.CosineRestarts(0.3, 5, 2, final=0.01),
            lambda o: schedulers.CosineAnnealingWarmRestarts(o, 5, 2, eta_min=0.01),
        ),
        (optim.WarmUp(optim.Exponential(0.3, 0.9), 10, start=0.3 * up), warm),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.3, momentum=0.9)
        scheduler = theirs(optimizer)
        for step in range(40):
            assert ours(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15)
            optimizer.step()
            if step < 39:
                scheduler.step()


@pytest.mark.parametrize(
    ("kind", "message", "call"),
    [
        (ValueError, "every", lambda: optim.StepDecay(0.1, 0)),
        (TypeError, "steps", lambda: optim.Cosine(0.1, 2.5)),
        (ValueError, "up", lambda: optim.OneCycle(0.1, 10, 1.5)),
        (ValueError, "then", lambda: optim.WarmUp(-0.1, 3)),
        (ValueError, "start", lambda: optim.WarmUp(0.1, 3, -1.0)),
        (ValueError, "gamma", lambda: optim.Exponential(0.1, 0.0)),
        (ValueError, "final", lambda: optim.Exponential(0.1, 0.5, final=math.nan)),
        (ValueError, "power", lambda: optim.Polynomial(0.1, 5, 0.0)),
        (ValueError, "one of rates more", lambda: optim.Piecewise([0.1, 0.2], [3, 4])),
        (ValueError, "boundaries that rise", lambda: optim.Piecewise([0.1, 0.2, 0.3], [4, 4])),
        (ValueError, "boundaries", lambda: optim.Piecewise([0.1, 0.2], [0])),
        (TypeError, "boundaries", lambda: optim.Piecewise([0.1, 0.2], [1.5])),
        (TypeError, "rates", lambda: optim.Piecewise(0.1, [1])),
        (TypeError, "rates", lambda: optim.Piecewise(["a", 0.1], [1])),
        (ValueError, "rate", lambda: optim.InverseTime(0.1, -1.0)),
        (ValueError, "longer", lambda: optim.CosineRestarts(0.1, 5, 0)),
        (ValueError, "lower", lambda: optim.CosineRestarts(0.1, 5, 1, 0.0)),
        (ValueError, "one of schedules more", lambda: optim.Joined([0.1], [3])),
        (TypeError, "schedules", lambda: optim.Joined(["x"], [])),
    ],
)
def test_errors(kind, message, call):
    with pytest.raises(kind, match=rf"^\w+: expected .*{message}"):
        call()
