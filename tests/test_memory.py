"""Memory: what is kept of batch sizes, and specifications of parameters."""

import numpy as np
import pytest
import support

import fastact as fa
from fastact import memory
from fastact.layers import chain


def networks():
    return (
        fa.Sequential(fa.Dense(4, 6, "gelu"), fa.Dense(6, 5, "relu"), fa.Dense(5, 3), rng=0),
        fa.Sequential(fa.Dense(4, 6), fa.LayerNorm(), fa.Residual(fa.Dense(6, 6), fa.Swish()), fa.Dense(6, 3), rng=0),
    )


def passed(net, rows):
    rng = np.random.default_rng(rows)
    x, grad = rng.normal(size=(rows, 4)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32)
    y = net.forward(x, training=True).copy()
    return y, net.backward(grad, need_input_grad=True).copy(), net.gradients.copy()


@pytest.mark.parametrize("which", [0, 1])
def test_many_batch_sizes_keep_few_views_and_change_nothing(backend, which):
    """Sizes that grow, shrink and return: what is kept of them is bounded, and passes are those of a new network."""
    net = networks()[which]
    sizes = [*range(1, 150), *range(149, 0, -1), *range(1, 300, 7), 299, 5, 299]
    for rows in sizes:
        passed(net, rows)
    for rows in (1, 5, 60, 149, 299, 300, 2):
        for _ in range(2):  # made, and then kept
            for got, expected in zip(passed(net, rows), passed(networks()[which], rows), strict=True):
                support.assert_same_bits(got, expected)
    kept = [len(w._views) for _, layer in chain.numbered(net.layers) for w in layer.workspaces.values()]
    if net._stack is not None:
        kept.append(len(net._stack.views))
    assert 1 < max(kept) <= memory.SIZES


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shape": (3,), "kind": "foo"}, ValueError, "expected kind to be one of weight, bias, norm, .*got 'foo'"),
        ({"shape": (3,), "kind": None}, ValueError, "expected kind to be one of"),
        ({"shape": 3}, TypeError, "expected shape to be a tuple, got int"),
        ({"shape": [3, 4]}, TypeError, "expected shape to be a tuple, got list"),
        ({"shape": (3, 4.5)}, TypeError, "expected shape to be a whole number, got float"),
        ({"shape": (-1,)}, ValueError, "expected shape to be at least 0, got -1"),
    ],
)
def test_specifications_are_checked(options, error, message):
    with pytest.raises(error, match=f"^ParameterSpec: {message}"):
        fa.ParameterSpec(**options)
