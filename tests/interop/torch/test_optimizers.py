"""Compiled optimisers: each step is PyTorch's own, and the state can go either way."""

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.optim.optimizer import register_optimizer_step_pre_hook  # noqa: E402
from torch_networks import mlp  # noqa: E402

import fastact as fa  # noqa: E402
import fastact.torch as ft  # noqa: E402

KINDS = {"Adam": (torch.optim.Adam, ft.Adam), "AdamW": (torch.optim.AdamW, ft.AdamW)}


def steps(net, optimiser, count=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    dtype = next(net.parameters()).dtype
    for _ in range(count):
        x = torch.randn(16, 4, generator=generator, dtype=dtype)
        optimiser.zero_grad()
        net(x).square().mean().backward()
        optimiser.step()


def twins(kind, net=None, **options):
    net = mlp(4, 16, 2).double() if net is None else net
    nets = net, copy.deepcopy(net)
    return nets, [cls(one.parameters(), **options) for cls, one in zip(KINDS[kind], nets, strict=True)]


def same(nets):
    torch.testing.assert_close(nets[1].state_dict(), nets[0].state_dict(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [
    {}, {"lr": 0.1, "weight_decay": 0.3}, {"betas": (0.5, 0.7), "eps": 1e-3}, {"amsgrad": True}, {"maximize": True},
    {"lr": torch.tensor(0.01)}, {"fused": True}, {"foreach": True},
])  # fmt: skip
def test_steps(kind, options):
    nets, optimisers = twins(kind, **options)
    for net, optimiser in zip(nets, optimisers, strict=True):
        steps(net, optimiser)
    same(nets)


@pytest.mark.parametrize("kind", KINDS)
def test_states_go_either_way(kind):
    nets, optimisers = twins(kind, lr=0.05)
    for turn in range(4):
        for net, optimiser in zip(nets, optimisers, strict=True):
            steps(net, optimiser, 3, turn)
        states = [optimiser.state_dict() for optimiser in optimisers]
        torch.testing.assert_close(states[1]["state"], states[0]["state"], rtol=1e-9, atol=1e-12)
        if turn == 1:
            for optimiser, state in zip(optimisers, reversed(states), strict=True):
                optimiser.load_state_dict(copy.deepcopy(state))
        if turn == 2:
            buffer = io.BytesIO()
            torch.save(states[0], buffer)
            buffer.seek(0)
            optimisers[1].load_state_dict(torch.load(buffer))
    same(nets)
    assert pickle.loads(pickle.dumps(optimisers[1])).param_groups[0]["lr"] == 0.05


def test_what_scripts_do():
    nets, optimisers = twins("Adam", lr=0.1)
    for net, optimiser in zip(nets, optimisers, strict=True):
        net[0].bias.requires_grad_(False)
        scheduler = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)
        seen = []
        optimiser.register_step_post_hook(lambda *_, seen=seen: seen.append(1))
        everyones = register_optimizer_step_pre_hook(lambda *_, seen=seen: seen.append(2))
        scaler_free = [optimiser.step(lambda net=net: net(torch.ones(1, 4).double()).sum()) for _ in range(2)]
        assert torch.is_tensor(scaler_free[0])
        for turn in range(4):
            steps(net, optimiser, 1, turn)
            scheduler.step()
        optimiser.zero_grad(set_to_none=False)
        assert not net[0].weight.grad.any()
        optimiser.add_param_group({"params": [nn.Parameter(torch.ones(3, dtype=torch.float64))], "lr": 1.0})
        steps(net, optimiser, 2)
        everyones.remove()
        assert seen == [2, 1] * 8
    same(nets)


def test_networks_of_ours():
    net = fa.Sequential(fa.Dense(4, 16, "tanh"), fa.Dense(16, 2), rng=0, dtype="float64")
    nets = ft.to_torch(net), ft.Module(net)
    for one, kind in zip(nets, KINDS["AdamW"], strict=True):
        steps(one, kind(one.parameters(), lr=0.05))
    for p, q in zip(*(one.parameters() for one in nets), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-12)
    fast = ft.convert(mlp(4, 16, 2))
    steps(fast, ft.Adam(fast.parameters()))
    with fa.use_backend("numpy"):
        steps(fast, ft.Adam(fast.parameters()))


def test_a_step_between_forward_and_backward_is_noticed():
    fast = ft.convert(mlp(4, 16, 2))
    optimiser = ft.Adam(fast.parameters())
    steps(fast, optimiser, 1)
    y = fast(torch.ones(2, 4))
    optimiser.step()
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()
