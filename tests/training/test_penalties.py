"""Penalties: L2 against its formula, with frozen parameters, in ``fit``."""

import numpy as np
import pytest
from tasks import fit, network, table

import fastact as fa
from fastact.training import L2


def test_the_value_and_the_gradient(backend):
    with fa.use_backend(backend):
        net = network()
        net.freeze("1.weight")
        before = np.random.default_rng(0).normal(size=net.gradients.shape).astype(np.float32)
        net.gradients[...] = before
        value = L2(3.0)(net, 8.0)
    weight = net.named_parameters()["0.weight"].astype(np.float64)
    assert value == pytest.approx(3.0 / 2 * (weight**2).sum() / 8.0)
    for segment in net.segments:
        added = net.gradients[segment.start : segment.stop] - before[segment.start : segment.stop]
        w = net.parameters[segment.start : segment.stop]
        expected = 3.0 / 8.0 * w if segment.name == "0.weight" else np.zeros_like(w)
        np.testing.assert_allclose(added, expected, atol=1e-6, err_msg=segment.name)
    net.unfreeze()
    weight2 = net.named_parameters()["1.weight"].astype(np.float64)
    assert L2(3.0)(net, 8.0) == pytest.approx(3.0 / 16 * ((weight**2).sum() + (weight2**2).sum()))


def test_it_is_weight_decay_that_shows_in_the_loss():
    x, labels, _ = table(rows=64)
    nets = [network() for _ in range(3)]
    options = {"batch_size": 16, "epochs": 3, "rng": 0}
    plain = fit(nets[0], x, labels, optimizer=fa.optim.SGD(0.1, weight_decay=0.5 / 16), **options)
    both = fit(nets[1], x, labels, optimizer=fa.optim.SGD(0.1), penalty=L2(0.5), **options)
    np.testing.assert_allclose(nets[1].parameters, nets[0].parameters, rtol=1e-4, atol=1e-6)
    assert all(b > a for a, b in zip(plain.loss, both.loss, strict=True))
    none = fit(nets[2], x, labels, optimizer=fa.optim.SGD(0.1), penalty=lambda net, weight: 1.0, **options)
    assert none.loss[0] > 1.0


def test_it_is_for_the_rows_of_each_batch():
    """By hand, a short last batch included."""
    x, labels, _ = table(rows=10)
    net, hand = network(), network()
    fit(net, x, labels, optimizer=fa.optim.SGD(0.1), penalty=L2(2.0), batch_size=8, epochs=1, shuffle=False)
    optimizer = fa.optim.SGD(0.1)
    for part in (slice(0, 8), slice(8, 10)):
        hand.backward(fa.softmax_cross_entropy(hand.forward(x[part], training=True), labels[part]).grad)
        for name, array in hand.named_parameters().items():
            if name.endswith("weight"):
                hand.named_gradients()[name] += 2.0 / len(x[part]) * array
        optimizer.step(hand)
    np.testing.assert_allclose(net.parameters, hand.parameters, rtol=1e-5, atol=1e-7)


def test_a_wrong_strength():
    with pytest.raises(ValueError, match="L2: expected strength to be a finite number >= 0"):
        L2(-1)


def test_a_run_goes_on_with_the_same_penalty_alone(tmp_path):
    x, labels, _ = table()
    whole, net, path = network(), network(), tmp_path / "run.npz"
    fit(whole, x, labels, epochs=4, penalty=L2(0.5))
    fit(net, x, labels, epochs=2, penalty=L2(0.5), checkpoint=path)
    with pytest.raises(ValueError, match=r"expected penalty 'L2\(0\.5\)'"):
        fit(network(), x, labels, epochs=4, penalty=L2(0.25), resume=path)
    fit(net, x, labels, epochs=4, penalty=L2(0.5), resume=path)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
