"""``convert``: the same numbers and the same manners as PyTorch's own modules."""

import copy
import io
import pickle

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_networks import ACTIVATIONS, mlp, pair, random_network, train_both  # noqa: E402

import fastact as fa  # noqa: E402
import fastact.torch as ft  # noqa: E402


@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    torch.manual_seed(seed)
    net, x = random_network(seed)
    x = x.to(torch.float64)  # kinks and small variances would tell float32 networks apart
    plain, fast = pair(net.to(torch.float64))
    for backend in ("native", "numpy"):
        with fa.use_backend(backend):
            for training in (True, False):
                train_both(plain.train(training), fast.train(training), x, forwards=1 + seed % 3)
    torch.testing.assert_close(dict(fast.named_buffers()), dict(plain.named_buffers()))


@pytest.mark.parametrize("after", ACTIVATIONS)
def test_activations(after):
    plain, fast = pair(mlp(5, 9, 33, 3, after=after))
    train_both(plain, fast, torch.randn(17, 5))
    plain, fast = pair(nn.Sequential(*mlp(5, 9, 3, after=after), after()).double())
    train_both(plain, fast, torch.randn(17, 5, dtype=torch.float64), forwards=2)


def test_names_and_memory():
    plain, fast = pair(nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 3, bias=False))))
    assert isinstance(fast, nn.Sequential)
    assert isinstance(fast[1][1], nn.Linear)
    shapes = {name: (p.shape, p.stride()) for name, p in plain.named_parameters()}
    assert {name: (p.shape, p.stride()) for name, p in fast.named_parameters()} == shapes
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert len({p.untyped_storage().data_ptr() for p in fast.parameters()}) == 1
    assert all(p.data_ptr() % 64 == 0 and type(p) is nn.Parameter for p in fast.parameters())
    assert all(p.data_ptr() != q.data_ptr() for p, q in zip(fast.parameters(), plain.parameters(), strict=True))
    assert ft.convert(plain, inplace=True) is plain
    assert isinstance(plain, ft.Sequential)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "RMSprop"])
@pytest.mark.parametrize("how", [{}, {"fused": True}, {"foreach": True}])
def test_optimisers(kind, how):
    if kind == "RMSprop" and "fused" in how:
        pytest.skip("there is none")
    plain, fast = pair(mlp(4, 16, 16, 2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    optimisers = [getattr(torch.optim, kind)(net.parameters(), lr=0.01, **options, **how) for net in (plain, fast)]
    x, y = torch.randn(32, 4), torch.randn(32, 2)
    for _ in range(20):
        for net, optimiser in zip((plain, fast), optimisers, strict=True):
            optimiser.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimiser.step()
    torch.testing.assert_close(fast.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-4)


def test_accumulation_and_grad_of():
    plain, fast = pair(mlp(4, 16, 2))
    x = torch.randn(8, 4)
    for net in (plain, fast):
        net(x).sum().backward()
        net(2 * x).square().sum().backward()
        for p in net.parameters():
            p.grad.mul_(0.5)
        optimiser = torch.optim.SGD(net.parameters())
        optimiser.zero_grad(set_to_none=False)
        net(x).sum().backward()
    for p, q in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)
    ours, theirs = (torch.autograd.grad(net(x).square().sum(), list(net.parameters())) for net in (fast, plain))
    torch.testing.assert_close(ours, theirs)


def test_one_forward_with_several_backwards():
    _, fast = pair(mlp(4, 16, 16, 2, after=nn.GELU))
    y = fast(torch.randn(8, 4))
    first = torch.autograd.grad(y[:, 0].sum(), list(fast.parameters()), retain_graph=True)
    again = torch.autograd.grad(y[:, 0].sum(), list(fast.parameters()))
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


@pytest.mark.parametrize("frozen", [["0.weight"], ["0.weight", "0.bias"], ["2.bias"], ["2.weight", "2.bias"], None])
@pytest.mark.parametrize("after", [nn.Tanh, nn.PReLU, lambda: nn.LayerNorm(16)])
def test_frozen(frozen, after):
    plain, fast = pair(mlp(4, 16, 2, after=after))
    x = torch.randn(8, 4)
    for need_x in (True, False):
        found = []
        for net in (plain, fast):
            for name, p in net.named_parameters():
                p.requires_grad_(frozen is not None and name not in frozen)
                p.grad = None
            inputs = x.clone().requires_grad_(need_x)
            y = net(inputs)
            assert y.requires_grad == (need_x or frozen is not None)
            if y.requires_grad:
                y.square().sum().backward()
            found.append([inputs.grad, *(p.grad for p in net.parameters())])
        for ours, theirs in zip(*found, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradcheck():
    for after in (nn.Tanh, nn.GELU, nn.PReLU, lambda: nn.LayerNorm(6), lambda: nn.BatchNorm1d(6)):
        fast = ft.convert(mlp(3, 6, 2, after=after).double())
        x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        names = [name for name, _ in fast.named_parameters()]
        parameters = [p.detach().clone().requires_grad_() for p in fast.parameters()]

        def call(x, *values, fast=fast, names=names):
            return torch.func.functional_call(fast, dict(zip(names, values, strict=True)), (x,))

        assert torch.autograd.gradcheck(call, (x, *parameters))


def test_copies():
    plain, fast = pair(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)))
    x = torch.randn(6, 4)
    fast(x)
    plain(x)
    buffer = io.BytesIO()
    torch.save(fast, buffer)
    buffer.seek(0)
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast)), torch.load(buffer, weights_only=False)):
        assert isinstance(other, ft.Sequential)
        assert len({p.untyped_storage().data_ptr() for p in other.parameters()}) == 1
        train_both(plain.eval(), other.eval(), x)
        with torch.no_grad():
            next(other.parameters()).add_(1)
        assert not torch.equal(other(x), fast.eval()(x))
    again = mlp(4, 8, 2)
    ft.convert(again).load_state_dict(again.state_dict())
    buffer = io.BytesIO()
    torch.save(fast.state_dict(), buffer)
    buffer.seek(0)
    plain.load_state_dict(torch.load(buffer))
    fast.load_state_dict(plain.state_dict(), assign=True)
    train_both(plain, fast, x)


def test_values_changed_every_way():
    plain, fast = pair(mlp(3, 5, 2))
    x = torch.randn(4, 3)
    for net in (plain, fast):
        net(x)
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(0.9)
        net[0].weight.data.copy_(torch.ones(5, 3))
        net[0].bias.data = torch.full((5,), 0.5)
        net[2].weight = nn.Parameter(torch.full((2, 5), 0.3))
        nn.init.constant_(net[2].bias, 2.0)
    train_both(plain, fast, x)
    target, source = ft.convert(plain), mlp(3, 5, 2)
    with torch.no_grad():
        for p, q in zip(target.parameters(), source.parameters(), strict=True):
            p.lerp_(q, 0.25)
    expected = {name: torch.lerp(plain.state_dict()[name], q, 0.25) for name, q in source.state_dict().items()}
    torch.testing.assert_close(target.state_dict(), expected)
    source.load_state_dict(expected)
    train_both(source, target, x)
    flat = nn.utils.parameters_to_vector(target.parameters())
    nn.utils.vector_to_parameters(flat * 2, target.parameters())
    nn.utils.vector_to_parameters(flat * 2, source.parameters())
    train_both(source, target, x)
    fast[0].weight.data = torch.ones(7, 3)
    with pytest.raises(ValueError, match="weight of shape"):
        fast(x)


def test_one_layer_in_two_places():
    layer, act = nn.Linear(5, 5), nn.Tanh()
    other = nn.Linear(5, 5)
    other.bias = layer.bias
    plain, fast = pair(nn.Sequential(layer, act, layer, act, other))
    assert list(fast.state_dict()) == list(plain.state_dict())
    train_both(plain, fast, torch.randn(4, 5), forwards=2)


def test_in_place_changes_are_noticed():
    _, fast = pair(mlp(3, 5, 2))
    y = fast(torch.randn(4, 3))
    with torch.no_grad():
        fast[2].weight.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_dtypes_and_devices():
    plain, fast = pair(mlp(3, 5, 2))
    x = torch.randn(4, 3)
    assert fast.double() is fast
    assert fast[0].weight.dtype == torch.float64
    train_both(plain.double(), fast, x.double(), forwards=2)
    assert len({p.untyped_storage().data_ptr() for p in fast.parameters()}) == 1
    fast.float().to("cpu").share_memory()
    assert all(p.is_shared() for p in fast.parameters())
    train_both(plain.float(), fast, x)
    parent = nn.ModuleDict({"net": fast})
    for change in (fast.half, fast.bfloat16, lambda: fast.to("meta"), fast.cuda, parent.half, lambda: fast.to("cuda")):
        with pytest.raises(TypeError, match="computes on the CPU"):
            change()
    assert fast[0].weight.dtype == torch.float32
    with pytest.raises(TypeError, match=r"x\.to\(torch\.float32\)"):
        fast(x.double())
    with pytest.raises(TypeError, match=r"x\.cpu\(\)"):
        fast(x.to("meta"))
    with pytest.raises(TypeError, match="tensor"):
        fast([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="3 features"):
        fast(torch.randn(4, 5))
    with pytest.raises(TypeError, match="float"):
        ft.convert(mlp(3, 5, 2).half())


@pytest.mark.parametrize("after", [nn.Tanh, nn.PReLU])
@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 3), (2, 5, 3), (2, 0, 3)])
def test_shapes(shape, after):
    plain, fast = pair(mlp(3, 5, 2, after=after))
    train_both(plain, fast, torch.randn(*shape), forwards=2)
    assert fast(torch.randn(*shape)).shape == (*shape[:-1], 2)


def test_batch_norm_of_three_dimensions_is_pytorchs_own():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(5, 2))
    with pytest.raises(ValueError, match="3 features"):
        ft.convert(net)
    plain, fast = pair(nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)))
    train_both(plain, fast, torch.randn(6, 4, 4))


def test_layouts_of_x():
    plain, fast = pair(mlp(3, 5, 2))
    x = torch.randn(3, 8)
    for given in (x.T, x.T[::2], x[:, 0].expand(4, 3), torch._neg_view(x.T.contiguous())):
        torch.testing.assert_close(fast(given), plain(given))
    y = fast(x.T)
    y.backward(torch.ones(()).expand_as(y))


def test_modes():
    plain, fast = pair(mlp(3, 5, 2))
    x = torch.randn(4, 3, requires_grad=True)
    with torch.no_grad():
        y = fast(x)
    assert not y.requires_grad
    with torch.inference_mode():
        z = fast(x)
    assert z.is_inference()
    torch.testing.assert_close(y, plain(x).detach())
    assert torch.equal(fast(x), y)
    assert torch.equal(z, y)


def test_dropout():
    net = nn.Sequential(nn.Linear(50, 400), nn.ReLU(), nn.Dropout(0.3), nn.Linear(400, 300), nn.AlphaDropout(0.2))
    fast = ft.convert(net)
    x = torch.randn(40, 50)
    torch.manual_seed(3)
    first, second = fast(x), fast(x)
    torch.manual_seed(3)
    assert torch.equal(fast(x), first)
    assert not torch.equal(first, second)
    only = ft.convert(nn.Sequential(nn.Linear(50, 400), nn.Dropout(0.3)))
    h = only.eval()(x)
    y = only.train()(x)
    kept = y != 0
    assert abs(kept.float().mean().item() - 0.7) < 0.02
    torch.testing.assert_close(y[kept], (h / 0.7)[kept])
    y.sum().backward()
    torch.testing.assert_close(only[0].bias.grad, kept.sum(0) / 0.7)
    only[1].p = 0.0
    torch.testing.assert_close(only(x), h)
    only[1].p = 1.0
    assert not only(x).any()
    alpha = ft.convert(nn.Sequential(nn.Linear(50, 4000), nn.SELU(), nn.AlphaDropout(0.25)))
    h, y = alpha.eval()(x), alpha.train()(x)
    assert abs(y.mean() - h.mean()) < 0.05
    torch.testing.assert_close(fast.eval()(x), net.eval()(x))


def test_part_of_a_module_in_eval():
    plain, fast = pair(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)))
    x = torch.randn(6, 4)
    for net in (plain, fast):
        net.train()
        net(x)
        net[1].eval()
    train_both(plain, fast, x)
    torch.testing.assert_close(dict(fast.named_buffers()), dict(plain.named_buffers()))
    with pytest.raises(ValueError, match="more than 1"):
        fast.train()(x[:1])


def test_hooks():
    _, fast = pair(mlp(3, 5, 2))
    x, seen = torch.randn(4, 3), []
    outer = fast.register_forward_hook(lambda *_: seen.append("outer"))
    inner = fast[1].register_forward_hook(lambda module, given, result: seen.append(result))
    y = fast(x)
    assert seen[1] == "outer"
    assert torch.equal(seen[0], torch.tanh(fast[0](x)))
    inner.remove()
    assert len(seen) == 2
    torch.testing.assert_close(fast(x), y)
    assert seen[2:] == ["outer"]
    outer.remove()
    grads = []
    fast[0].weight.register_hook(grads.append)
    fast[0].weight.register_post_accumulate_grad_hook(lambda p: grads.append(p.grad))
    fast(x).sum().backward()
    assert torch.equal(*grads)


def test_double_backward_is_refused():
    for after in (nn.Tanh, nn.PReLU):
        _, fast = pair(mlp(3, 5, 2, after=after))
        x = torch.randn(4, 3, requires_grad=True)
        (dx,) = torch.autograd.grad(fast(x).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="gradient of a gradient"):
            dx.square().sum().backward()


def test_transforms_take_pytorchs_own_modules():
    plain, fast = pair(mlp(3, 5, 2))
    x = torch.randn(4, 3)
    torch.testing.assert_close(torch.vmap(fast)(x), plain(x))
    torch.testing.assert_close(torch.func.jacrev(fast)(x[0]), torch.func.jacrev(plain)(x[0]))
    values = dict(fast.named_parameters())
    for net in (plain, fast):
        loss = lambda v, net=net: torch.func.functional_call(net, v, (x,)).square().sum()  # noqa: E731
        results = torch.func.grad(loss)({name: v.detach() for name, v in values.items()})
    assert set(results) == set(values)


def test_policy_with_two_heads():
    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
            self.pi, self.v = nn.Linear(16, 2), nn.Linear(16, 1)

        def forward(self, x):
            h = self.trunk(x)
            return torch.cat([self.pi(h), self.v(h)], 1)

    plain = Policy()
    fast = copy.deepcopy(plain)
    with pytest.raises(TypeError, match=r"module.trunk = convert\(module.trunk\)"):
        ft.convert(fast)
    fast.trunk, fast.pi, fast.v = map(ft.convert, (fast.trunk, fast.pi, fast.v))
    assert list(fast.state_dict()) == list(plain.state_dict())
    train_both(plain, fast, torch.randn(9, 4), forwards=3)


@pytest.mark.parametrize(("layer", "words"), [
    (nn.Conv1d(3, 3, 1), r"1\.0 \(Conv1d"),
    (nn.RReLU(), r"1\.0 \(RReLU"),
    (nn.Softmax(0), r"1\.0 \(Softmax\)"),
    (nn.Softplus(threshold=1), r"1\.0 \(Softplus\)"),
    (nn.ELU(float("nan")), r"1\.0 \(ELU\)"),
    (nn.LayerNorm((5, 5)), r"1\.0 \(LayerNorm"),
    (nn.Linear(6, 2), r"1\.0 \(Linear\) to take 5"),
    (nn.utils.parametrizations.weight_norm(nn.Linear(5, 5)), r"1\.0 \(Parametrized"),
])  # fmt: skip
def test_what_cannot_be_converted(layer, words):
    with pytest.raises((TypeError, ValueError), match=words):
        ft.convert(nn.Sequential(nn.Linear(3, 5), nn.Sequential(layer)))


def test_what_is_no_network():
    for given, words in ((nn.ReLU(), "Sequential"), (nn.Sequential(nn.ReLU()), "nn.Linear"), (3, "int")):
        with pytest.raises((TypeError, ValueError), match=words):
            ft.convert(given)
