"""``Module``, ``to_torch`` and ``from_torch``: the same numbers here and there."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_networks import mlp, random_network, train_both  # noqa: E402

import fastact as fa  # noqa: E402
import fastact.torch as ft  # noqa: E402

ACTIVATIONS = [name for name in fa.registry.ACTIVATIONS if name != "identity"]


def everything(dtype="float64"):
    return fa.Sequential(
        fa.Standardize(5),
        fa.Dense(5, 8, fa.activation("elu", alpha=0.5)),
        fa.BatchNorm(momentum=None),
        fa.Dense(8, 7, fa.activation("swish", beta=np.linspace(0.5, 1.5, 7))),
        fa.Residual(
            fa.Dense(7, 4, "gelu"), fa.LayerNorm(bias=False), fa.Residual(fa.Dense(4, 4)), fa.Dense(4, 7, "prelu")
        ),
        fa.Dense(7, 6, fa.activation("maxout", pieces=3), bias=False),
        fa.PReLU(per_channel=True),
        fa.Swish(),
        fa.Maxout(2),
        fa.Dropout(0.0),
        fa.Activation("log_softmax"),
        dtype=dtype,
        rng=3,
    )  # fmt: skip


def trained(net, x):
    """After some passes, so that statistics are other than at the start."""
    net.standardize(x)
    for _ in range(3):
        net.forward(x, training=True)
    net.parameters += np.random.default_rng(1).normal(0, 0.1, net.parameters.shape)
    return net


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(0.3, 1, (9, 5))


def test_to_torch_and_back(x):
    net = trained(everything(), x)
    net.freeze(1, "4.0.*")
    plain = ft.to_torch(net).eval()
    np.testing.assert_allclose(plain(torch.from_numpy(x)).detach(), net(x), rtol=1e-6, atol=1e-9)
    frozen = [p.requires_grad for p in plain.parameters()]
    assert frozen.count(False) == len([name for name in net.frozen if name in net.named_parameters()])
    back = ft.from_torch(plain)
    np.testing.assert_allclose(back(x), net(x), rtol=1e-12)
    assert back.parameter_count == net.parameter_count
    assert len(back.frozen) == frozen.count(False)
    plain[1].weight.data.zero_()
    assert net.named_parameters()["1.weight"].any()
    assert back.named_parameters()["1.weight"].any()


def test_gradients_against_pytorch(x):
    net = trained(everything(), x)
    plain, module = ft.to_torch(net), ft.Module(net)
    g = np.random.default_rng(2).normal(size=(9, 1))
    for training in (True, False):
        inputs = [torch.from_numpy(x).requires_grad_() for _ in range(2)]
        outputs = [m.train(training)(i) for m, i in zip((plain, module), inputs, strict=True)]
        torch.testing.assert_close(*outputs, rtol=1e-7, atol=1e-9)
        for y in outputs:
            y.backward(torch.from_numpy(g).expand(9, y.shape[1]))
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-6, atol=1e-9)
    for p, q in zip(plain.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-9)


def test_module_is_the_network():
    net = fa.Sequential(fa.Dense(5, 16, "tanh"), fa.BatchNorm(), fa.Dense(16, 3, "gelu"), fa.Dense(3, 2), rng=0)
    module = ft.Module(net)
    ours = net.state_dict()
    assert set(module.state_dict()) == set(ours)
    for name, tensor in module.state_dict().items():
        assert tuple(tensor.shape) == ours[name].shape
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01, fused=True)
    before = net(x)
    for _ in range(10):
        optimiser.zero_grad()
        module(torch.from_numpy(x)).square().mean().backward()
        optimiser.step()
    assert np.abs(net(x) - before).max() > 1e-2
    np.testing.assert_allclose(module.eval()(torch.from_numpy(x)).detach(), net(x), rtol=1e-5, atol=1e-6)
    fa.fit(net, x, np.zeros((20, 2), np.float32), loss="squared_error", epochs=1, progress=False)
    np.testing.assert_allclose(module(torch.from_numpy(x)).detach(), net(x), rtol=1e-5, atol=1e-6)
    assert module.net is net


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_both_ways(name):
    net = fa.Sequential(fa.Dense(4, 6, name), fa.Activation(name), dtype="float64", rng=0)
    x = np.random.default_rng(0).normal(size=(5, 4))
    plain, module = ft.to_torch(net), ft.Module(net)
    for one in (plain, module):
        np.testing.assert_allclose(one(torch.from_numpy(x)).detach(), net(x), rtol=1e-7, atol=1e-9)
    assert repr(ft.from_torch(plain)) == repr(net)
    inputs = torch.from_numpy(x).requires_grad_()
    assert torch.autograd.gradcheck(module, inputs)


def test_copies_of_a_module():
    net = fa.Sequential(fa.Dense(5, 8, "tanh"), fa.BatchNorm(), fa.Dense(8, 2), rng=0)
    net.freeze("0.bias")
    module = ft.Module(net)
    module[1].eval()
    module[2].weight.requires_grad_(False)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert [p.requires_grad for p in other.parameters()] == [p.requires_grad for p in module.parameters()]
        assert [m.training for m in other.modules()] == [m.training for m in module.modules()]
        with torch.no_grad():
            other[0].weight.zero_()
        assert not other.net.named_parameters()["0.weight"].any()
        assert net.named_parameters()["0.weight"].any()


def test_module_refuses():
    net = fa.Sequential(fa.Dense(5, 2), rng=0)
    module = ft.Module(net)
    for change in (module.double, module.half, module.cuda, module.share_memory, nn.ModuleList([module]).half):
        with pytest.raises(TypeError, match="to_torch"):
            change()
    assert module.float().cpu() is module
    assert torch.from_numpy(net.parameters).data_ptr() == module[0].weight.data_ptr()

    class Own(fa.Layer):
        pass

    custom = fa.custom_activation("square", lambda x: x * x, lambda x: 2 * x)
    own = Own()
    own.inputs = own.outputs = 2
    for net in (fa.Sequential(fa.Dense(5, 2, custom)), fa.Sequential(fa.Dense(5, 2), own)):
        for function in (ft.Module, ft.to_torch):
            with pytest.raises(TypeError, match="PyTorch has no"):
                function(net)
    with pytest.raises(TypeError, match="from_torch"):
        ft.to_torch(mlp(3, 2))
    with pytest.raises(TypeError, match="Sequential"):
        ft.from_torch(3)
    with pytest.raises(ValueError, match="track_running_stats"):
        ft.from_torch(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False)))
    with pytest.raises(TypeError, match="Conv1d"):
        ft.from_torch(nn.Sequential(nn.Conv1d(2, 2, 1)))
    with pytest.raises(TypeError, match="dtype"):
        ft.from_torch(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()))


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_as_ours(seed):
    torch.manual_seed(seed)
    plain, x = random_network(100 + seed)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is None:
            return
    plain(x)
    net = ft.from_torch(plain)
    np.testing.assert_allclose(net(x.numpy()), plain.eval()(x).detach(), rtol=1e-4, atol=1e-5)
    train_both(plain.double().train(), ft.Module(ft.from_torch(plain)), x.double())


def test_a_linear_alone():
    linear = nn.Linear(3, 2)
    x = torch.randn(4, 3)
    np.testing.assert_allclose(ft.from_torch(linear)(x.numpy()), linear(x).detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ft.from_torch(ft.convert(linear))(x.numpy()), linear(x).detach(), rtol=1e-5, atol=1e-6)
