"""Functions of tensors: gradcheck, PyTorch's own functions, layouts, and what is refused."""

import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

import fastact as fa  # noqa: E402
import fastact.torch as ft  # noqa: E402
from fastact.registry import ACTIVATIONS  # noqa: E402

PEERS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "silu": F.silu,
    "mish": F.mish,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "hard_tanh": F.hardtanh,
    "relu6": F.relu6,
    "softsign": F.softsign,
    "threshold": lambda x: F.threshold(x, 0, 0),
    "hard_shrink": F.hardshrink,
    "soft_shrink": F.softshrink,
    "tanh_shrink": F.tanhshrink,
    "relu_squared": lambda x: F.relu(x) ** 2,
    "identity": lambda x: x * 1,
}


def points(*shape, dtype=torch.float64):
    """Away from kinks, of both signs."""
    x = torch.randn(*shape, dtype=dtype) * 2
    for kink in (-3, -1, -0.5, 0, 0.5, 1, 3, 6):
        x = torch.where((x - kink).abs() < 0.01, x + 0.05, x)
    return x.requires_grad_()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_elementwise(name):
    function = getattr(ft, name)
    assert torch.autograd.gradcheck(function, points(3, 5))
    assert torch.autograd.gradcheck(function, points(5, 3).T)
    x = points(7, 9, dtype=torch.float32)
    y, peer = function(x), PEERS[name](x)
    torch.testing.assert_close(y, peer)
    g = torch.randn(7, 9)
    torch.testing.assert_close(*(torch.autograd.grad(z, x, g)[0] for z in (y, peer)))


def test_parameters():
    x = points(4, 5)
    torch.testing.assert_close(ft.elu(x, 0.5), F.elu(x, 0.5))
    torch.testing.assert_close(ft.gelu(x, approximate="tanh"), F.gelu(x, approximate="tanh"))
    torch.testing.assert_close(ft.hard_tanh(x, min_val=-0.5, max_val=2), F.hardtanh(x, -0.5, 2))
    assert torch.autograd.gradcheck(lambda x: ft.softplus(x, beta=3), x)
    with pytest.raises(ValueError, match="alpha"):
        ft.elu(x, alpha=float("nan"))
    with pytest.raises(TypeError, match="slope"):
        ft.relu(x, slope=1)


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows(name, dim):
    x = points(3, 4, 5)
    assert torch.autograd.gradcheck(lambda x: getattr(ft, name)(x, dim), x)
    torch.testing.assert_close(getattr(ft, name)(x, dim), getattr(torch, name)(x, dim))


@pytest.mark.parametrize("count", [1, 5])
def test_learned(count):
    x, weight = points(6, 5), torch.linspace(-0.4, 1.3, count, dtype=torch.float64).requires_grad_()
    for name in ("prelu", "swish"):
        assert torch.autograd.gradcheck(getattr(ft, name), (x, weight))
    torch.testing.assert_close(ft.prelu(x, weight), F.prelu(x, weight))
    torch.testing.assert_close(ft.swish(x, weight), x * torch.sigmoid(weight * x))
    torch.testing.assert_close(ft.swish(x), F.silu(x))


def test_maxout():
    x = points(4, 6)
    assert torch.autograd.gradcheck(lambda x: ft.maxout(x, 3), x)
    torch.testing.assert_close(ft.maxout(x, 3), x.reshape(4, 2, 3).amax(-1))
    with pytest.raises(ValueError, match="pieces"):
        ft.maxout(x, 0)


@pytest.mark.parametrize("after", [None, "tanh", "gelu", "leaky_relu", fa.activation("maxout", pieces=2)])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
def test_dense(after, shape):
    x, weight, bias = points(*shape), points(3, 4), points(4)
    assert torch.autograd.gradcheck(lambda *a: ft.dense(*a, after), (x, weight, bias))
    linear = torch.nn.Linear(3, 4, dtype=torch.float64)
    torch.testing.assert_close(ft.dense(x, linear.weight.T, linear.bias), linear(x))
    ft.dense(x, linear.weight.T, linear.bias, after).sum().backward()
    assert linear.weight.grad.shape == (4, 3)
    with pytest.raises(TypeError, match="prelu"):
        ft.dense(x, weight, None, "prelu")


def test_frozen_operands():
    x, weight = points(5, 3), points(3, 4)
    assert torch.autograd.gradcheck(lambda x: ft.dense(x, weight.detach(), None, "tanh"), x)
    assert torch.autograd.gradcheck(lambda w: ft.dense(x.detach(), w, None, "gelu"), weight)


def test_no_copies_and_layouts():
    x = torch.randn(6, 4)
    y = ft.relu(x)
    assert y.is_contiguous()
    assert not y.requires_grad
    torch.testing.assert_close(ft.tanh(x[::2, 1:]), torch.tanh(x[::2, 1:]))
    torch.testing.assert_close(ft.tanh(x.T.expand(2, 4, 6)), torch.tanh(x.T.expand(2, 4, 6)))
    torch.testing.assert_close(ft.sigmoid(torch.tensor(0.5)), torch.sigmoid(torch.tensor(0.5)))
    assert ft.gelu(torch.empty(0, 3)).shape == (0, 3)
    minus = torch._neg_view(x)  # a tensor whose sign is a flag
    torch.testing.assert_close(ft.tanh(minus), torch.tanh(-x))


@pytest.mark.parametrize("call", [
    ft.gelu, ft.softmax, ft.prelu, lambda x: ft.maxout(x, 2),
    lambda x: ft.dense(x, torch.ones(4, 2, dtype=torch.float64)),
])  # fmt: skip
def test_refused(call):
    for x, word in (
        (torch.ones(2, 4, dtype=torch.int64), "float"),
        (torch.ones(2, 4, dtype=torch.bfloat16), r"x\.float\(\)"),
        (torch.ones(2, 4, device="meta"), r"x\.cpu\(\)"),
        (torch.ones(2, 4).to_sparse(), "to_dense"),
        ([[1.0, 2.0]], "tensor"),
    ):
        with pytest.raises(TypeError, match=word):
            call(x)
    x = points(2, 4)
    (dx,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)  # it can be used,
    assert torch.isfinite(dx).all()
    with pytest.raises(RuntimeError, match="gradient of a gradient"):  # but not differentiated
        dx.sum().backward()
    with pytest.raises(RuntimeError, match="PyTorch's own"):
        torch.func.grad(lambda x: call(x).sum())(x.detach())
    with pytest.raises(RuntimeError, match="PyTorch's own"):
        torch.vmap(call)(x.detach()[None])


def test_changed_in_place_before_backward():
    x = points(3, 4)
    y = ft.tanh(x)
    y.data.add_(0)
    y2 = ft.tanh(x)
    with torch.no_grad():
        y2.add_(1)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="inplace"):
        y2.sum().backward()


def test_backwards_of_one_forward():
    x = points(3, 4)
    y = ft.gelu(x)
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), x)
