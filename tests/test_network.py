"""Sequential: which parameters are meant, and which forward a backward belongs to."""

import numpy as np
import pytest

import fastact as fa


def network(*extra, rng=0):
    return fa.Sequential(fa.Dense(3, 4, "gelu"), *extra, fa.Dense(4, 4, "relu"), fa.Dense(4, 2), rng=rng)


def frozen(net):
    return {segment.name for segment in net.segments if segment.frozen}


BOTH = {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize(
    "which",
    [
        lambda net: ([0, 2],),
        lambda net: ((0, -1),),
        lambda net: (np.array([0, 2]),),
        lambda net: (range(0, 3, 2),),
        lambda net: (net.layers[0], -1),
        lambda net: ([net.layers[0], net.layers[2]],),
        lambda net: (["0.weight", "0.bias", "2.*"],),
        lambda net: ([0, ["2.weight"]], "2.bias"),
        lambda net: ({0, 2},),
    ],
)
def test_freeze_takes_sequences_of_what_it_takes(which):
    net = network()
    net.freeze(*which(net))
    assert frozen(net) == BOTH
    net.unfreeze(*which(net))
    assert not frozen(net)


def test_ten_is_neither_one_nor_zero():
    net = fa.Sequential(*(fa.Dense(2, 2) for _ in range(12)))
    net.freeze([10, 11])
    assert frozen(net) == {"10.weight", "10.bias", "11.weight", "11.bias"}


@pytest.mark.parametrize(
    ("which", "kind"),
    [
        (3, ValueError),
        (-4, ValueError),
        ([0, 7], ValueError),
        ("3.*", ValueError),
        (fa.Dense(2, 2), ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ([0, None], TypeError),
        (fa.Dense, TypeError),
    ],
)
def test_freeze_refuses(which, kind):
    net = network()
    with pytest.raises(kind, match=r"^freeze: expected layers"):
        net.freeze(which)
    assert not frozen(net)


def test_parameters_can_change_places():
    net = fa.Sequential(fa.Dense(3, 3), fa.Dense(3, 3), rng=0)
    views = net.named_parameters()
    first, second = views["0.weight"].copy(), views["1.weight"].copy()
    net.set_parameters({**views, "0.weight": views["1.weight"], "1.weight": views["0.weight"]})
    np.testing.assert_array_equal(views["0.weight"], second)
    np.testing.assert_array_equal(views["1.weight"], first)
    before = net.parameters.copy()
    net.set_parameters({name: array[::-1][::-1] for name, array in net.named_parameters().items()})
    np.testing.assert_array_equal(net.parameters, before)


class Refusing(fa.Layer):
    """Refuses some batches."""

    refusing = False

    def forward(self, x, training=False):
        if self.refusing:
            raise KeyboardInterrupt
        return x * 1

    def backward(self, grad, need_input_grad=True):
        return grad * 1


@pytest.mark.parametrize("extra", [fa.BatchNorm, Refusing])
def test_no_backward_after_a_forward_that_failed(extra):
    """Backward would read rows of the first batch from the second."""
    net = network(extra())
    x = np.ones((200, 3), np.float32)
    grad = np.ones_like(net.forward(x, training=True))
    net.layers[1].refusing = True
    with pytest.raises((ValueError, KeyboardInterrupt)):
        net.forward(x[:1], training=True)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)
    net.layers[1].refusing = False
    net.forward(x, training=True)
    net.backward(grad)


@pytest.mark.parametrize("turns", [1, 3])  # a compiled stack runs the later ones
@pytest.mark.parametrize("extra", [(), (fa.LayerNorm,)])
def test_no_backward_after_a_layer_went_forward_alone(extra, turns):
    net = network(*(make() for make in extra))
    x = np.ones((6, 3), np.float32)
    for _ in range(turns):
        grad = np.ones_like(net.forward(x, training=True))
        net.backward(grad)
    net.forward(x, training=True)
    net.layers[0].forward(x[:2], training=True)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)
    net.forward(x, training=True)
    net.backward(grad)
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)
