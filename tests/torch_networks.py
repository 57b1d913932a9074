"""Networks of PyTorch that tests share, and how a converted one is compared with the plain one."""

import itertools
import random

import torch
from torch import nn

import fastact.torch as ft

ACTIVATIONS = [
    nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.Softplus, nn.LogSigmoid, nn.SiLU,
    nn.Mish, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.ReLU6, nn.Softsign, nn.Hardshrink, nn.Softshrink,
    nn.Tanhshrink, nn.Identity, nn.PReLU, lambda: nn.GELU("tanh"), lambda: nn.Threshold(0.1, -0.2), lambda: nn.ELU(0.5),
    lambda: nn.ReLU(inplace=True),
]  # fmt: skip


def mlp(*widths, after=nn.Tanh, dtype=torch.float32):
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, dtype=dtype), after()]
    return nn.Sequential(*layers[:-1])


def pair(net):
    return net, ft.convert(net)


def train_both(plain, fast, x, forwards=1):
    """Outputs and all gradients agree, over several forwards before one backward."""
    results = []
    for net in (plain, fast):
        net.zero_grad()
        inputs = [(x * (i + 1)).detach().requires_grad_() for i in range(forwards)]
        outputs = [net(one * 1) for one in inputs]  # which layers in place may overwrite
        sum((y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum() for y in outputs).backward()
        gradients = [p.grad for p in net.parameters()]
        results.append((outputs, [one.grad for one in inputs], gradients))
    single = x.dtype == torch.float32
    tolerance = (
        {"rtol": 1e-4, "atol": 2e-5} if single else {"rtol": 2e-7, "atol": 1e-8}
    )  # of Hardsigmoid: 1/6 is a float
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, **tolerance)


def random_network(seed):
    """Any nesting of everything that can be converted, but for dropout."""
    rng = random.Random(seed)

    def after(width):
        kind = rng.randrange(8)
        if kind == 0:
            return [nn.LayerNorm(width, elementwise_affine=rng.random() < 0.7)]
        if kind == 1:
            return [nn.BatchNorm1d(width, affine=rng.random() < 0.7, momentum=rng.choice([None, 0.3]),
                                   track_running_stats=rng.random() < 0.8)]  # fmt: skip
        if kind == 2:
            return [nn.PReLU(rng.choice([1, width]))]
        if kind == 3:
            return [rng.choice(ACTIVATIONS)(), nn.Dropout(0.0)]
        return [rng.choice(ACTIVATIONS)() for _ in range(rng.randrange(3))]

    def nested(layers):
        if len(layers) < 3 or rng.random() < 0.4:
            return layers
        cut = rng.randrange(1, len(layers))
        return [*layers[:cut], nn.Sequential(*nested(layers[cut:]))]

    widths = [rng.randrange(1, 20) for _ in range(rng.randrange(2, 6))]
    layers = after(widths[0]) if rng.random() < 0.3 else []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=rng.random() < 0.8), *after(b)]
    if rng.random() < 0.3:
        layers.append(rng.choice([nn.Softmax(-1), nn.LogSoftmax(1)]))
    dtype = rng.choice([torch.float32, torch.float64])
    return nn.Sequential(*nested(layers)).to(dtype), torch.randn(rng.choice([2, 3, 70]), widths[0], dtype=dtype)
