"""A network of dense layers runs whole passes in one call; its bits are those of one layer after another."""

import threading

import numpy as np
import pytest

import fastact as fa
from fastact import backends

pytestmark = pytest.mark.skipif(not backends.compiled, reason="needs the compiled core")

NETWORKS = {
    "relu": lambda: [fa.Dense(7, 33, "relu"), fa.Dense(33, 5, "tanh"), fa.Dense(5, 3)],
    "slopes": lambda: [fa.Dense(4, 19, "gelu"), fa.Dense(19, 6, "silu", bias=False), fa.Dense(6, 2, "softsign")],
    "parameters": lambda: [fa.Dense(6, 9, fa.activation("elu", alpha=0.5)), fa.Dense(9, 1, "sigmoid")],
    "widening": lambda: [fa.Dense(4, 5, "relu"), fa.Dense(5, 40, "gelu"), fa.Dense(40, 60, "relu"), fa.Dense(60, 2)],
    "one layer": lambda: [fa.Dense(5, 4, "softplus")],
    "identities": lambda: [fa.Dense(3, 8, bias=False), fa.Dense(8, 4)],
}


class Watcher:
    """An observer, which makes the network go layer by layer."""

    def forward(self, i, layer, x, y):
        pass

    def backward(self, i, layer, grad):
        pass


def pair(layers, dtype="float32"):
    """The same network twice, the second one layer by layer."""
    net, slow = (fa.Sequential(*layers(), dtype=dtype, rng=3) for _ in range(2))
    slow.observer = Watcher()
    assert net.parameters.tobytes() == slow.parameters.tobytes()
    return net, slow


def samples(net, rows, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, net.inputs)).astype(net.dtype)
    return x, rng.standard_normal((rows, net.outputs)).astype(net.dtype)


def taken(net, monkeypatch):
    """Counts how often the stack ran."""
    calls = []
    stack = net._stack

    class Counting:
        def __getattr__(self, name):
            def method(*arguments):
                result = getattr(stack, name)(*arguments)
                calls.append((name, result is not None))
                return result

            return method if callable(getattr(stack, name)) else getattr(stack, name)

    monkeypatch.setattr(net, "_stack", Counting())
    return calls


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_bits_of_layer_by_layer(name, dtype):
    net, slow = pair(NETWORKS[name], dtype)
    for step, rows in enumerate((8, 3, 8, 70, 3, 1, 70)):
        x, grad = samples(net, rows, step)
        y = slow.forward(x, training=True).copy()
        assert net.forward(x, training=True).tobytes() == y.tobytes()
        dx, expected = net.backward(grad, need_input_grad=True), slow.backward(grad, need_input_grad=True)
        assert dx.tobytes() == expected.tobytes()
        assert net.gradients.tobytes() == slow.gradients.tobytes()
        assert net(x).tobytes() == y.tobytes()  # slow(x) would go the same way


def test_the_stack_is_what_runs(monkeypatch):
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 6)
    net.forward(x, training=True)  # the first pass with so many rows lays out the views
    net.backward(grad)
    calls = taken(net, monkeypatch)
    net.forward(x, training=True)
    net.backward(grad)
    net(x)
    assert calls == [("forward", True), ("backward", True), ("infer", True)]


def test_gradients_accumulate():
    net, slow = pair(NETWORKS["relu"])
    for rows in (9, 6):  # from now on the stack knows both sizes
        net.forward(samples(net, rows)[0], training=True)
    total = np.zeros_like(net.gradients)
    for step, rows in enumerate((6, 9, 6)):
        x, grad = samples(net, rows, 10 + step)
        for n in (net, slow):
            n.forward(x, training=True)
            n.backward(grad, accumulate=step > 0)
        single, _ = pair(NETWORKS["relu"])
        single.forward(x, training=True)
        single.backward(grad)
        total += single.gradients
    np.testing.assert_allclose(net.gradients, total, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slow.gradients, total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["numpy", "observer"])
def test_backward_belongs_to_the_last_forward_whoever_made_it(way):
    """The stack went forward first, then the layers one by one with other data of the same size."""
    net, slow = pair(NETWORKS["relu"], "float64")
    (x, grad), (other, _) = samples(net, 6), samples(net, 6, 1)
    net.forward(x, training=True)
    net.backward(grad)
    net.forward(other, training=True)  # by the stack, and never taken back
    if way == "numpy":
        with fa.use_backend("numpy"):
            net.forward(x, training=True)
    else:
        net.observer = Watcher()
        net.forward(x, training=True)
        net.observer = None
    net.backward(grad)
    slow.forward(x, training=True)
    slow.backward(grad)
    np.testing.assert_allclose(net.gradients, slow.gradients, rtol=1e-12, atol=1e-14)


def test_gradient_of_the_input_only_when_asked():
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 6)
    net.forward(x, training=True)
    assert net.backward(grad) is None


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a.astype(a.dtype.newbyteorder()),
    ],
    ids=["Fortran", "strided", "other byte order"],
)
def test_arrays_of_any_layout(change):
    net, slow = pair(NETWORKS["relu"])
    x, grad = samples(net, 9)
    assert net(change(x)).tobytes() == slow(x).tobytes()
    net.forward(change(x), training=True)
    net.backward(change(grad))
    slow.forward(x, training=True)
    slow.backward(grad)
    assert net.gradients.tobytes() == slow.gradients.tobytes()


@pytest.mark.parametrize("forward", backends.BACKENDS)
@pytest.mark.parametrize("backward", backends.BACKENDS)
def test_backends_may_change_between_forward_and_backward(forward, backward):
    net, slow = pair(NETWORKS["slopes"], "float64")
    x, grad = samples(net, 9)
    for _ in range(2):
        with fa.use_backend(forward):
            net.forward(x, training=True)
        with fa.use_backend(backward):
            net.backward(grad)
    slow.forward(x, training=True)
    slow.backward(grad)
    np.testing.assert_allclose(net.gradients, slow.gradients, rtol=1e-12, atol=1e-14)


def test_a_layer_knows_its_slope_and_can_go_back_alone():
    net, slow = pair(NETWORKS["relu"])
    x, grad = samples(net, 9)
    for n in (net, slow):
        n.forward(x, training=True)
    for layer, other in zip(net.layers[:2], slow.layers[:2], strict=True):
        assert layer.slope().tobytes() == other.slope().tobytes()
    assert net.layers[2].backward(grad).tobytes() == slow.layers[2].backward(grad).tobytes()


def test_each_backward_needs_its_own_forward():
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 4)
    for _ in range(2):
        net.forward(x, training=True)
        net.backward(grad)
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(grad)
    net.forward(x, training=True)
    with pytest.raises(ValueError, match="shape"):
        net.backward(grad[:3])
    net.backward(grad)


def test_inference_in_blocks_of_rows():
    net, slow = pair(lambda: [fa.Dense(3, 1024, "relu"), fa.Dense(1024, 2, "tanh")])
    x, _ = samples(net, 2500)  # 1024 rows of 4 KB fill a block
    whole = net(x)
    assert whole.tobytes() == slow.forward(x, training=True).tobytes()
    assert whole[2000:2100].tobytes() == net(x[2000:2100]).tobytes()


def test_workspaces_that_were_outgrown_are_let_go():
    net, _ = pair(NETWORKS["relu"])
    for rows in (3, 5, 9):
        net.forward(samples(net, rows)[0], training=True)
        assert list(net._stack.views) == [rows]
    net.forward(samples(net, 4)[0], training=True)
    assert sorted(net._stack.views) == [4, 9]


def test_empty_batches():
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 0)
    assert net(x).shape == (0, 3)
    for _ in range(2):
        assert net.forward(x, training=True).shape == (0, 3)
        net.gradients[...] = 1
        net.backward(grad)
        assert not any(np.any(layer.gradients[name]) for layer in net.layers for name in layer.gradients)


def test_inference_from_many_threads():
    net, slow = pair(NETWORKS["slopes"])
    inputs = [samples(net, rows, rows)[0] for rows in (1, 5, 64, 300)]
    expected = [slow(x).tobytes() for x in inputs]
    wrong = []

    def work(k):
        for turn in range(200):
            i = (k + turn) % len(inputs)
            if net(inputs[i]).tobytes() != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_frozen_layers_stay_right():
    net, slow = pair(NETWORKS["relu"])
    x, grad = samples(net, 5)
    for n in (net, slow):
        n.forward(x, training=True)
        n.backward(grad)
        n.freeze(0)
        n.layers[0].gradients["weight"][...] = 7
        for _ in range(2):
            n.forward(x, training=True)
            n.backward(grad)
        assert (n.layers[0].gradients["weight"] == 7).all()  # nothing was computed for it
    assert net.gradients.tobytes() == slow.gradients.tobytes()
    net.unfreeze()
    slow.unfreeze()
    for n in (net, slow):
        n.forward(x, training=True)
        n.backward(grad)
    assert net.gradients.tobytes() == slow.gradients.tobytes()


def test_a_pass_is_used_up_where_all_is_frozen():
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 6)
    net.forward(x, training=True)
    net.backward(grad)
    net.forward(x, training=True)
    net.freeze()
    net.backward(grad)
    net.unfreeze()
    with pytest.raises(RuntimeError, match="each backward needs its own"):
        net.backward(grad)


@pytest.mark.parametrize("frozen", [(0,), (1,), ("*.bias",), ("0.weight",), (0, 1), ("*",)])
@pytest.mark.parametrize("need_input_grad", [False, True])
def test_frozen_layers_stay_in_the_compiled_pass(monkeypatch, frozen, need_input_grad):
    net, _ = pair(NETWORKS["relu"])
    x, grad = samples(net, 6)
    net.forward(x, training=True)
    dx = net.backward(grad, need_input_grad=True).copy()
    full, y = net.gradients.copy(), net(x)
    net.freeze(*frozen)
    calls = taken(net, monkeypatch)
    net.gradients[...] = 7
    assert net.forward(x, training=True).tobytes() == y.tobytes()
    found = net.backward(grad, need_input_grad=need_input_grad)
    assert net(x).tobytes() == y.tobytes()
    assert calls == [("forward", True), ("backward", True), ("infer", True)]
    assert found.tobytes() == dx.tobytes() if need_input_grad else found is None
    for i in range(len(net.layers)):
        segments = [s for s in net.segments if s.name.startswith(f"{i}.")]
        for s in segments:
            expected = np.full(s.stop - s.start, 7) if all(t.frozen for t in segments) else full[s.start : s.stop]
            np.testing.assert_array_equal(net.gradients[s.start : s.stop], expected)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("compiled", [True, False])
def test_the_gradient_of_the_input_alone(name, compiled):
    net = pair(NETWORKS[name])[0 if compiled else 1]
    x, grad = samples(net, 6)
    net.forward(x, training=True)
    dx = net.backward(grad, need_input_grad=True).copy()
    net.gradients[...] = 7
    for _ in range(2):
        net.forward(x, training=True)
        assert net.backward(grad, parameters=False).tobytes() == dx.tobytes()
        assert (net.gradients == 7).all()
