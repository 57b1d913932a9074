"""Optimisers against formulas in float64 and PyTorch; groups, freezing, clipping, state."""

import copy
import inspect
import math
import pickle

import numpy as np
import pytest
from support import INSTRUCTION_SETS, using_instruction_set

import fastact as fa
from fastact import optim

MAKERS = {
    "sgd": lambda **k: optim.SGD(0.1, **k),
    "momentum": lambda **k: optim.SGD(0.1, 0.9, **k),
    "dampened": lambda **k: optim.SGD(0.1, 0.9, 0.5, **k),
    "nesterov": lambda **k: optim.SGD(0.1, 0.9, nesterov=True, **k),
    "rmsprop": optim.RMSprop,
    "rmsprop centred": lambda **k: optim.RMSprop(centered=True, **k),
    "rmsprop momentum": lambda **k: optim.RMSprop(momentum=0.9, **k),
    "rmsprop both": lambda **k: optim.RMSprop(0.02, 0.9, 1e-7, momentum=0.8, centered=True, **k),
    "adagrad": optim.Adagrad,
    "adagrad decay": lambda **k: optim.Adagrad(0.1, lr_decay=0.1, initial_accumulator_value=0.2, **k),
    "adam": optim.Adam,
    "adam betas": lambda **k: optim.Adam(0.02, (0.8, 0.95), 1e-6, **k),
    "adamw": optim.AdamW,
    "amsgrad": lambda **k: optim.Adam(0.02, (0.8, 0.7), amsgrad=True, **k),
    "amsgradw": lambda **k: optim.AdamW(amsgrad=True, **k),
    "nadam": optim.NAdam,
    "nadam betas": lambda **k: optim.NAdam(0.02, (0.8, 0.95), 1e-6, momentum_decay=0.3, **k),
    "adadelta": optim.Adadelta,
    "adadelta rho": lambda **k: optim.Adadelta(0.5, 0.6, 1e-3, **k),
    "lion": optim.Lion,
    "lion betas": lambda **k: optim.Lion(0.01, (0.6, 0.8), **k),
    "adam root": lambda **k: optim.Adam(eps_root=0.3, **k),
    "rmsprop root": lambda **k: optim.RMSprop(eps_root=0.2, centered=True, **k),
    "adagrad root": lambda **k: optim.Adagrad(eps_root=0.1, **k),
    **{
        f"{name} decoupled": lambda name=name, **k: getattr(optim, name)(0.05, decoupled_weight_decay=True, **k)
        for name in ("SGD", "RMSprop", "Adagrad", "Adam", "NAdam", "Adadelta")
    },
}


#: One of each kernel's branches, where the numbers make no difference.
RULES = [name for name in MAKERS if not name.endswith((" root", " decoupled", " betas", " rho"))]


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def network(dtype="float64", rng=1):
    return fa.Sequential(fa.Dense(5, 7, activation="tanh"), fa.Dense(7, 3), dtype=dtype, rng=rng)


def fill_gradients(net, rng, size=1.0):
    """Random gradients; padding stays 0."""
    for s in net.segments:
        net.gradients[s.start : s.stop] = rng.normal(0, size, s.stop - s.start)


def padding(net):
    free = np.ones(net.parameters.size, bool)
    for s in net.segments:
        free[s.start : s.stop] = False
    return free


# ------------------------------------------------------------------------------------ independent float64 formulas


def reference(o, gradients, p, decay):
    """Parameters after a step for each gradient, by the formulas of the papers, element by element in float64."""
    p = p.astype(np.float64)
    b = m = v = np.zeros_like(p)
    for t, gradient in enumerate(gradients, 1):
        g = gradient.astype(np.float64)
        if isinstance(o, optim.AdamW | optim.Lion) or o.decoupled_weight_decay:
            p = p - o.lr * decay * p
        else:
            g = g + decay * p
        root = getattr(o, "eps_root", 0.0)
        if isinstance(o, optim.SGD):
            b = g if t == 1 else o.momentum * b + (1 - o.dampening) * g
            p = p - o.lr * (g + o.momentum * b if o.nesterov else b)
        elif isinstance(o, optim.RMSprop):
            v = o.alpha * v + (1 - o.alpha) * g**2
            m = o.alpha * m + (1 - o.alpha) * g
            b = o.momentum * b + g / (np.sqrt((v - m**2 if o.centered else v) + root) + o.eps)
            p = p - o.lr * b
        elif isinstance(o, optim.Adagrad):
            v = v + g**2 + (o.initial_accumulator_value if t == 1 else 0)
            p = p - o.lr / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(v + root) + o.eps)
        elif isinstance(o, optim.Adadelta):
            v = o.rho * v + (1 - o.rho) * g**2
            d = np.sqrt((b + o.eps) / (v + o.eps)) * g
            b = o.rho * b + (1 - o.rho) * d**2
            p = p - o.lr * d
        elif isinstance(o, optim.Lion):
            p = p - o.lr * np.sign(o.betas[0] * m + (1 - o.betas[0]) * g)
            m = o.betas[1] * m + (1 - o.betas[1]) * g
        else:
            first, second = o.betas
            m, v = first * m + (1 - first) * g, second * v + (1 - second) * g**2
            b = np.maximum(b, v) if getattr(o, "amsgrad", False) else v
            denominator = np.sqrt(b / (1 - second**t) + root) + o.eps
            if isinstance(o, optim.NAdam):
                u = [first * (1 - 0.96 ** (i * o.momentum_decay) / 2) for i in range(1, t + 2)]
                p = p - o.lr * u[t] * m / (1 - np.prod(u)) / denominator
                p = p - o.lr * (1 - u[t - 1]) * g / (1 - np.prod(u[:t])) / denominator
            else:
                p = p - o.lr * (m / (1 - first**t)) / denominator
    return p


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_against_formula(engine, dtype, name, decay):
    net, rng = network(dtype), np.random.default_rng(3)
    optimizer = MAKERS[name](weight_decay=decay)
    start, seen = net.parameters.copy(), []
    for _ in range(12):
        fill_gradients(net, rng)
        before = net.gradients.copy()
        optimizer.step(net)
        np.testing.assert_array_equal(net.gradients, before)
        seen.append(before)
    for s in net.segments:
        part = slice(s.start, s.stop)
        expected = reference(optimizer, [g[part] for g in seen], start[part], decay if s.decayed else 0.0)
        tolerance = 1e-12 if dtype == "float64" else 3e-5
        np.testing.assert_allclose(net.parameters[part], expected, rtol=tolerance, atol=tolerance)
    assert padding(net).any()
    assert not net.parameters[padding(net)].any()
    assert optimizer.steps == 12


# Lion's steps are all of one size and Adadelta's much smaller: a weight's roundings are then the same at every step.
@pytest.mark.parametrize("name", [name for name in RULES if name not in ("lion", "adadelta")])
@pytest.mark.parametrize("rate", [1e-5, 3e-6, 1e-6])
def test_a_small_rate_decays_as_told(engine, name, rate):
    """In float32, where 1 - rate * decay is rounded to a neighbour of 1 or to 1: the mean decay of many weights is
    that of float64, though each step's is below the weights' rounding."""
    decay, rng = 0.01, np.random.default_rng(4)
    net = fa.Sequential(fa.Dense(64, 64, bias=False), rng=0)
    start = (rng.uniform(0.5, 1.0, net.parameters.size) * rng.choice([-1, 1], net.parameters.size)).astype(np.float32)
    net.parameters[...] = start
    optimizer = MAKERS[name](weight_decay=decay)
    optimizer.lr = rate
    gradients = [rng.normal(size=start.size).astype(np.float32) for _ in range(300)]
    for gradient in gradients:
        net.gradients[...] = gradient
        optimizer.step(net)
    right, without = (reference(optimizer, gradients, start, each) for each in (decay, 0.0))
    signs = np.sign(start)
    told, got = np.mean((without - right) * signs), np.mean((without - net.parameters) * signs)
    assert told > 0
    assert got == pytest.approx(told, rel=0.02, abs=2e-8)  # a third of float32's step at 0.5: chance of 300 roundings


@pytest.mark.parametrize("name", MAKERS)
def test_against_pytorch(name):
    torch = pytest.importorskip("torch")
    net, rng, ours = network(), np.random.default_rng(3), MAKERS[name](weight_decay=0.05)
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in net.named_parameters().items()}
    tensors = {k: v.detach().clone().requires_grad_(True) for k, v in tensors.items()}
    options = {k: v for k, v in vars(ours).items() if k in ("momentum", "dampening", "nesterov", "alpha", "eps")}
    names = ("centered", "betas", "lr_decay", "amsgrad", "momentum_decay", "rho")
    options |= {k: v for k, v in vars(ours).items() if k in names}
    if ours.decoupled_weight_decay and name not in ("adamw", "amsgradw"):
        if type(ours).__name__ not in ("Adam", "NAdam"):
            pytest.skip("is always coupled there")
        options["decoupled_weight_decay"] = True
    if isinstance(ours, optim.Lion) or getattr(ours, "eps_root", 0.0):
        pytest.skip("PyTorch has no such")
    if name.startswith("adagrad"):
        options["initial_accumulator_value"] = ours.initial_accumulator_value
    theirs = getattr(torch.optim, type(ours).__name__)(
        [
            {"params": [v for k, v in tensors.items() if "weight" in k], "weight_decay": 0.05},
            {"params": [v for k, v in tensors.items() if "bias" in k], "weight_decay": 0.0},
        ],
        lr=ours.lr,
        **options,
    )
    for _ in range(20):
        fill_gradients(net, rng)
        for s in net.segments:
            tensors[s.name].grad = torch.tensor(net.gradients[s.start : s.stop].reshape(s.shape))
        ours.step(net)
        theirs.step()
    for key, value in net.named_parameters().items():
        rtol = 1e-6 if isinstance(ours, optim.NAdam) else 1e-11  # there the product of the momenta is a float32
        np.testing.assert_allclose(value, tensors[key].detach().numpy(), rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize("kind", ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "AdamW", "NAdam"])
def test_defaults_are_pytorchs(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, kind)([torch.zeros(1, requires_grad=True)]).defaults
    ours = getattr(optim, kind)()
    for key in (
        "lr",
        "momentum",
        "dampening",
        "nesterov",
        "weight_decay",
        "alpha",
        "eps",
        "centered",
        "betas",
        "lr_decay",
        "rho",
        "momentum_decay",
        "amsgrad",
        "decoupled_weight_decay",
    ):
        if key in theirs:
            assert getattr(ours, key) == theirs[key], key


@pytest.mark.parametrize("name", RULES)
def test_no_gradient_leaves_parameters_alone(engine, dtype, name):
    net = network(dtype)
    before = net.parameters.copy()
    optimizer = MAKERS[name](weight_decay=0.0)
    for _ in range(3):
        optimizer.step(net)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("name", RULES)
def test_nan_reaches_its_own_parameter_only(engine, dtype, name):
    net = network(dtype)
    fill_gradients(net, np.random.default_rng(0))
    net.gradients[3] = np.nan
    MAKERS[name](clip_value=0.5).step(net)
    assert np.isnan(net.parameters[3])
    assert np.isnan(net.parameters).sum() == 1


def test_centred_rmsprop_of_a_steady_gradient(engine, dtype):
    """Its variance is 0, or by rounding just below: the step is that of epsilon, not the root of a negative number."""
    net = network(dtype)
    optimizer = fa.optim.RMSprop(lr=1e-9, alpha=0.5, eps=1e-3, centered=True)
    gradient = np.random.default_rng(0).normal(0, 1, net.gradients.size).astype(dtype)
    for _ in range(200):
        net.gradients[:] = gradient
        optimizer.step(net)
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("name", INSTRUCTION_SETS)
@pytest.mark.parametrize("maker", ["nesterov", "rmsprop both", "adagrad", "adamw"])
def test_threads_change_no_bit(name, maker):
    results = []
    for threads in (1, 2, 5):
        with using_instruction_set(name), fa.num_threads(threads):
            net = fa.Sequential(fa.Dense(700, 501), fa.Dense(501, 7), rng=0)
            optimizer, rng = MAKERS[maker](weight_decay=0.1, clip_norm=1.0), np.random.default_rng(0)
            for _ in range(2):
                fill_gradients(net, rng)
                optimizer.step(net)
            results.append((net.parameters, optim.gradient_norm(net)))
    for parameters, norm in results[1:]:
        np.testing.assert_array_equal(parameters, results[0][0])
        assert norm == results[0][1]


# ------------------------------------------------------------------------------------------------------- clipping


def test_gradient_norm(engine, dtype):
    net = network(dtype)
    fill_gradients(net, np.random.default_rng(0))
    expected = math.sqrt(sum(float(g) ** 2 for g in net.gradients))
    assert optim.gradient_norm(net) == pytest.approx(expected, rel=1e-13)
    net.freeze(0)
    expected = math.sqrt(sum(float(g) ** 2 for s in net.segments[1::2] for g in net.gradients[s.start : s.stop]))
    assert optim.gradient_norm(net) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("size", [0.001, 10.0])
def test_clipping(engine, dtype, size):
    rng = np.random.default_rng(0)
    for options in ({"clip_norm": 1.0}, {"clip_value": 0.3}, {"clip_norm": 2.0, "clip_value": 0.1}):
        net = network(dtype)
        fill_gradients(net, rng, size)
        g = net.gradients.astype(np.float64)
        if "clip_norm" in options:
            g = g * min(1, options["clip_norm"] / np.linalg.norm(g))
        g = np.clip(g, -options.get("clip_value", np.inf), options.get("clip_value", np.inf))
        expected = net.parameters - 0.1 * g
        optim.SGD(0.1, **options).step(net)
        np.testing.assert_allclose(net.parameters, expected, rtol=1e-5, atol=1e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("options", [{}, {"clip_norm": 3.0}, {"clip_value": 0.2}])
def test_clipping_of_each_parameter(engine, dtype, options):
    """Beside the others: the norm of all first, then that of each parameter, then the elements."""
    net = network(dtype)
    optimizer = optim.SGD(0.1, clip_parameter_norm=0.7, **options)
    rng = np.random.default_rng(0)
    for size in (0.01, 1.0):
        fill_gradients(net, rng, size)
        g = net.gradients.astype(np.float64)
        if "clip_norm" in options:
            g = g * min(1, options["clip_norm"] / np.linalg.norm(g))
        for s in net.segments:
            g[s.start : s.stop] *= min(1, 0.7 / np.linalg.norm(g[s.start : s.stop]))
        g = np.clip(g, -options.get("clip_value", np.inf), options.get("clip_value", np.inf))
        expected = net.parameters - 0.1 * g
        optimizer.step(net)
        np.testing.assert_allclose(net.parameters, expected, rtol=1e-5, atol=1e-7 if dtype == "float32" else 1e-15)
    optimizer.clip_parameter_norm = None
    before = net.parameters.copy()
    net.gradients[~padding(net)] = 1.0
    optimizer.step(net)
    if not options:
        np.testing.assert_allclose(net.parameters, before - 0.1 * ~padding(net), rtol=1e-6)


def test_nadam_counts_on_wherever_it_begins():
    """The product of its momenta, in any order of ages, as parameters that were frozen at times ask for it."""
    optimizer = optim.NAdam(momentum_decay=0.1)
    for step in (1, 5, 3, 900, 4, 2, 7, 6, 11, 10, 9, 8, 12, 901):
        right = math.prod(0.9 * (1 - 0.5 * 0.96 ** (i * 0.1)) for i in range(1, step + 1))
        assert optimizer._product(step) == pytest.approx(right, rel=1e-12)


def test_clipping_by_a_norm_that_is_not_a_number(engine):
    net = network()
    net.gradients[:3] = 1, np.nan, 2
    optim.SGD(0.1, clip_norm=1.0).step(net)
    assert np.isnan(net.parameters[~padding(net)]).all()


# ------------------------------------------------------------------------------------------------ groups, freezing


def test_groups(engine):
    net = network()
    before = {k: v.copy() for k, v in net.named_parameters().items()}
    net.gradients[~padding(net)] = 1
    groups = [
        optim.Group("0.weight", lr=0.5),
        optim.Group(lambda segment: segment.name == "1.bias", weight_decay=0.25),
        optim.Group("1.*", lr=lambda step: 0.25 * (step + 1)),
    ]
    optimizer = optim.SGD(0.1, weight_decay=0.5, groups=groups)
    optimizer.step(net)
    after = net.named_parameters()
    np.testing.assert_allclose(after["0.weight"], before["0.weight"] - 0.5 * (1 + 0.5 * before["0.weight"]))
    np.testing.assert_allclose(after["0.bias"], before["0.bias"] - 0.1)
    np.testing.assert_allclose(after["1.weight"], before["1.weight"] - 0.25 * (1 + 0.5 * before["1.weight"]))
    np.testing.assert_allclose(after["1.bias"], before["1.bias"] - 0.1 * (1 + 0.25 * before["1.bias"]))


@pytest.mark.parametrize("name", RULES)
def test_frozen_parameters_stay(engine, name):
    net, rng = network(), np.random.default_rng(0)
    optimizer = MAKERS[name](weight_decay=0.1)
    net.freeze(net.layers[0])
    before = net.parameters.copy()
    for _ in range(3):
        fill_gradients(net, rng)
        optimizer.step(net)
    for s in net.segments:
        same = net.parameters[s.start : s.stop] == before[s.start : s.stop]
        assert same.all() == s.name.startswith("0.")
    assert [s.frozen for s in copy.deepcopy(net).segments] == [s.frozen for s in net.segments]
    assert [s.frozen for s in pickle.loads(pickle.dumps(net)).segments] == [s.frozen for s in net.segments]

    # unfrozen, they begin as fresh parameters do: bias corrections count each parameter's own steps
    net.unfreeze()
    seen = []
    for _ in range(4):
        fill_gradients(net, rng)
        seen.append(net.gradients.copy())
        optimizer.step(net)
    for s in net.segments[::2]:
        part = slice(s.start, s.stop)
        expected = reference(optimizer, [g[part] for g in seen], before[part], 0.1 if s.decayed else 0.0)
        np.testing.assert_allclose(net.parameters[part], expected, rtol=1e-12, atol=1e-14)


def test_freeze_by_name_number_and_layer():
    net = network()

    def frozen():
        return {s.name for s in net.segments if s.frozen}

    net.freeze("*.bias")
    assert frozen() == {"0.bias", "1.bias"}
    net.freeze(1)
    assert frozen() == {"0.bias", "1.bias", "1.weight"}
    net.unfreeze("0.bias", net.layers[1])
    assert frozen() == set()
    net.freeze()
    assert len(frozen()) == 4
    optimizer = optim.Adam()
    before = net.parameters.copy()
    optimizer.step(net)
    np.testing.assert_array_equal(net.parameters, before)
    for wrong, kind in ((2, ValueError), ("weight", ValueError), (-1, ValueError), (None, TypeError)):
        with pytest.raises(kind, match="freeze: expected layers"):
            net.freeze(0, wrong)


# ------------------------------------------------------------------------------------------------ rates that change


def test_schedule_is_followed_and_checked(engine):
    net = network()
    net.gradients[~padding(net)] = 1
    optimizer = optim.SGD(optim.StepDecay(0.5, 1, 0.5), clip_value=1)
    before = net.parameters.copy()
    for _ in range(3):
        optimizer.step(net)
    np.testing.assert_allclose(before - net.parameters, 0.875 * ~padding(net), rtol=1e-12)
    optimizer.lr = lambda step: math.nan
    with pytest.raises(ValueError, match="rate at step 3"):
        optimizer.step(net)
    optimizer.lr = 0.125
    optimizer.step(net)
    np.testing.assert_allclose(before - net.parameters, ~padding(net), rtol=1e-12)
    assert pickle.loads(pickle.dumps(optim.WarmUp(optim.Cosine(1.0, 5), 2)))(1) == optim.WarmUp(
        optim.Cosine(1.0, 5), 2
    )(1)


# ----------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize("name", MAKERS)
def test_state_is_restored_exactly(engine, dtype, name):
    def train(net, optimizer, steps, rng):
        for _ in range(steps):
            fill_gradients(net, rng)
            optimizer.step(net)

    net, rng = network(dtype), np.random.default_rng(0)
    make = lambda: MAKERS[name](weight_decay=0.01, groups=[optim.Group("1.*", lr=optim.Cosine(0.1, 9))])  # noqa: E731
    first = make()
    net.freeze("0.bias")
    train(net, first, 3, rng)
    net.unfreeze()
    train(net, first, 2, rng)
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    twin, second = copy.deepcopy(net), make()
    second.load_state_dict(saved)
    states = [np.random.default_rng(1), np.random.default_rng(1)]
    train(net, first, 4, states[0])
    train(twin, second, 4, states[1])
    np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert first.state_dict()["segment_steps"] == second.state_dict()["segment_steps"]
    assert second.steps == 9
    for key, array in saved["state"].items():  # a copy: training goes on without it
        assert array is not second.state[key]


def test_state_of_something_else_is_refused():
    net, optimizer = network(), optim.Adam()
    optimizer.step(net)
    saved = optimizer.state_dict()
    for wrong in (
        {},
        None,
        optim.SGD().state_dict(),
        {**saved, "steps": -1},
        {**saved, "state": {"exp_avg": saved["state"]["exp_avg"]}},
        {**saved, "state": {**saved["state"], "exp_avg": np.zeros(3)}},
        {**saved, "state": {**saved["state"], "exp_avg": np.zeros((1, 2))}},
    ):
        with pytest.raises(ValueError, match="load_state_dict"):
            optimizer.load_state_dict(wrong)
    assert optimizer.steps == 1
    fresh = optim.Adam()
    fresh.load_state_dict(saved)
    other = fa.Sequential(fa.Dense(2, 300))
    before = other.parameters.copy()
    for o in (optimizer, fresh):
        with pytest.raises(ValueError, match="optimiser per network"):
            o.step(other)
    np.testing.assert_array_equal(other.parameters, before)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (ValueError, lambda: optim.SGD(0)),
        (ValueError, lambda: optim.SGD(math.inf)),
        (TypeError, lambda: optim.SGD("0.1")),
        (ValueError, lambda: optim.SGD(0.1, 1.0)),
        (ValueError, lambda: optim.SGD(0.1, nesterov=True)),
        (ValueError, lambda: optim.SGD(0.1, 0.9, 0.1, nesterov=True)),
        (ValueError, lambda: optim.SGD(weight_decay=-1)),
        (ValueError, lambda: optim.SGD(clip_norm=0)),
        (ValueError, lambda: optim.SGD(clip_value=-1)),
        (TypeError, lambda: optim.SGD(groups=[{"lr": 1}])),
        (TypeError, lambda: optim.Group(3)),
        (ValueError, lambda: optim.Group("*", lr=-1)),
        (ValueError, lambda: optim.Adam(betas=(0.9, 1.0))),
        (TypeError, lambda: optim.Adam(betas=0.9)),
        (ValueError, lambda: optim.Adam(eps=0)),
        (ValueError, lambda: optim.RMSprop(alpha=1)),
    ],
)
def test_errors(kind, call):
    with pytest.raises(kind, match=r"expected|needs"):
        call()


def test_training_with_each_optimiser_lowers_the_loss(engine):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5)).astype(np.float32)
    labels = (x[:, 0] > x[:, 1]).astype(int)
    for name, make in MAKERS.items():
        net, optimizer = network("float32"), make(clip_norm=5.0)
        losses = []
        for _ in range(30):
            loss, grad = fa.softmax_cross_entropy(net.forward(x, training=True), labels)
            net.backward(grad)
            optimizer.step(net)
            losses.append(loss)
        assert losses[-1] < losses[0], name


def stepped(net, optimizer):
    net.gradients[...] = 0.5
    optimizer.step(net)
    return net.parameters.copy()


def test_what_is_set_between_steps_is_checked():
    optimizer = optim.Adam(clip_norm=1.0, clip_value=0.1)
    for name in ("lr", "clip_norm", "clip_value"):
        for bad, error in ((-1.0, ValueError), (0, ValueError), ("1", TypeError)):
            with pytest.raises(error, match=f"Adam: expected {name} to be a finite number > 0"):
                setattr(optimizer, name, bad)
    assert (optimizer.clip_norm, optimizer.clip_value) == (1.0, 0.1)
    optimizer.clip_norm = optimizer.clip_value = None
    assert optimizer.clip_norm is None


def test_an_optimiser_belongs_to_one_network():
    """The momentum of one network is not carried over to another of the same shape; copies go on together."""
    net, other = (fa.Sequential(fa.Dense(3, 2), rng=0) for _ in range(2))
    optimizer = optim.SGD(0.1, 0.9)
    stepped(net, optimizer)
    before, state = other.parameters.copy(), optimizer.state["momentum_buffer"].copy()
    with pytest.raises(ValueError, match=r"SGD.step: expected the network of the steps before, got another one"):
        stepped(other, optimizer)
    np.testing.assert_array_equal(other.parameters, before)
    np.testing.assert_array_equal(optimizer.state["momentum_buffer"], state)
    twin, its = copy.deepcopy((net, optimizer))
    np.testing.assert_array_equal(stepped(twin, its), stepped(net, optimizer))


def test_a_group_for_no_parameter_is_told():
    net = fa.Sequential(fa.Dense(3, 2), rng=0)
    before = net.parameters.copy()
    optimizer = optim.SGD(0.1, groups=[optim.Group("*.bias", lr=0.2), optim.Group("0.weigth", lr=1e-5)])
    with pytest.raises(ValueError, match=r"SGD.step: expected groups to match among 0.weight, 0.bias, got '0.weigth'"):
        stepped(net, optimizer)
    np.testing.assert_array_equal(net.parameters, before)
    stepped(net, optim.SGD(0.1, groups=optim.Group("0.weight", lr=1e-5)))  # one alone need not be in a list
    stepped(net, optim.SGD(0.1, groups=[optim.Group(lambda segment: segment.kind == "norm", weight_decay=0)]))


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_every_keyword_is_spelled_out(name):
    cls = optim.OPTIMIZERS[name]
    parameters = inspect.signature(cls).parameters
    assert {"lr", "weight_decay", "clip_norm", "clip_value", "groups"} <= set(parameters)
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())
    made = cls(lr=0.5, weight_decay=0.25, clip_norm=2.0, clip_value=3.0, groups=optim.Group("*.bias", lr=0.1))
    assert (made.lr, made.weight_decay, made.clip_norm, made.clip_value) == (0.5, 0.25, 2.0, 3.0)
    assert [group.match for group in made.groups] == ["*.bias"]


def test_what_an_optimiser_says_of_itself():
    assert repr(optim.Adam()) == "Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)"
    assert repr(optim.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=1.0)) == (
        "SGD(lr=0.1, momentum=0.9, dampening=0.0, weight_decay=0.0, nesterov=True, clip_norm=1.0)"
    )
    text = repr(optim.AdamW(optim.Cosine(0.1, 50), groups=[optim.Group("*.bias", weight_decay=0.0)]))
    assert text.startswith("AdamW(lr=Cosine(lr=0.1, steps=50, final=0.0), betas=")
    assert "groups=(Group(match='*.bias', lr=None, weight_decay=0.0),)" in text
    assert eval(repr(optim.RMSprop()), {"RMSprop": optim.RMSprop}).alpha == 0.99


def test_optimisers_by_name():
    assert list(optim.OPTIMIZERS) == [
        "sgd", "rmsprop", "adagrad", "adadelta", "adam", "adamw", "nadam", "lion"
    ]  # fmt: skip
    for name, cls in optim.OPTIMIZERS.items():
        for given in (name, cls.__name__):
            made = optim.named_optimizer("fit", given)
            assert type(made) is cls
            assert repr(made) == repr(cls())
    kept = optim.Adam(lr=0.5)
    assert optim.named_optimizer("fit", kept) is kept
    with pytest.raises(ValueError, match=r"fit: expected optimizer to be one of sgd, .*lion, got 'lbfgs'"):
        optim.named_optimizer("fit", "lbfgs")
    for wrong, got in ((optim.Adam, "the class Adam"), (0.1, "float")):
        with pytest.raises(TypeError, match=f"such as fastact.optim.Adam.*got {got}"):
            optim.named_optimizer("fit", wrong)


@pytest.mark.parametrize("name", ["momentum", "rmsprop both", "adagrad", "adamw"])
def test_a_copy_has_states_of_its_own(name):
    net, rng = network(), np.random.default_rng(0)
    optimizer = MAKERS[name](weight_decay=0.1)
    fill_gradients(net, rng)
    optimizer.step(net)
    twins = [copy.copy(optimizer), copy.deepcopy(optimizer)]
    nets = [copy.copy(net), copy.copy(net)]
    before = optimizer.state_dict()
    for _ in range(3):
        fill_gradients(net, rng)
        for twin, other in zip(twins, nets, strict=True):
            other.gradients[...] = net.gradients
            twin.step(other)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    after = optimizer.state_dict()
    assert (after["steps"], after["segment_steps"]) == (1, before["segment_steps"])
    for key, state in before["state"].items():
        np.testing.assert_array_equal(after["state"][key], state)
        assert (twins[0].state[key] != state).any()


def test_a_schedule_is_asked_once_a_step():
    """Also one that several parameters follow, by groups of other decays, in a training with a history of rates."""
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1 / (1 + len(asked))

    groups = [optim.Group("1.*", lr=schedule), optim.Group("0.bias", weight_decay=0.5)]
    x, labels = np.random.default_rng(0).normal(size=(20, 5)), np.arange(20) % 3
    for options in ({}, {"groups": groups}, {"groups": [optim.Group("*", lr=0.1)]}):
        asked.clear()
        optimizer = optim.AdamW(schedule, **options)
        history = fa.fit(network(), x, labels, optimizer=optimizer, batch_size=8, epochs=4, progress=False)
        assert asked == list(range(12))
        assert history["rate"] == [0.1 / (1 + n) for n in (3, 6, 9, 12)]
        assert optimizer.last_rate == history["rate"][-1]
    assert optim.SGD(0.25).last_rate == 0.25
    assert optim.SGD(optim.StepDecay(0.5, 10)).last_rate == 0.5


# ---------------------------------------------------------------------------------------------- several networks


def three(dtype="float64"):
    return [
        fa.Sequential(fa.Dense(*shape), *more, dtype=dtype, rng=rng)
        for rng, (shape, more) in enumerate([((5, 7), [fa.LayerNorm()]), ((7, 3), []), ((7, 1), [fa.PReLU()])])
    ]


@pytest.mark.parametrize("name", RULES)
def test_several_networks_step_as_each_alone(engine, dtype, name):
    """Of other shapes and both dtypes, with one that is frozen for a while; and as PyTorch's one over all of them."""
    nets, rng = [*three(dtype), network("float32")], np.random.default_rng(0)
    twins = copy.deepcopy(nets)
    together, alone = MAKERS[name](weight_decay=0.1), [MAKERS[name](weight_decay=0.1) for _ in nets]
    for step in range(6):
        if step == 2:
            nets[1].freeze("*.bias"), twins[1].freeze("*.bias")
        if step == 4:
            nets[1].unfreeze(), twins[1].unfreeze()
        for net, twin in zip(nets, twins, strict=True):
            fill_gradients(net, rng)
            twin.gradients[...] = net.gradients
        together.step(*nets)
        for twin, optimizer in zip(twins, alone, strict=True):
            optimizer.step(twin)
    for net, twin in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(net.parameters, twin.parameters)
    assert together.steps == 6


def test_the_norm_over_all_networks_is_clipped(engine, dtype):
    nets, rng = three(dtype), np.random.default_rng(0)
    for net in nets:
        fill_gradients(net, rng)
    nets[0].freeze("0.bias")
    counted = [g for net in nets for n, g in net.named_gradients().items() if net is not nets[0] or n != "0.bias"]
    norm = np.linalg.norm(np.concatenate([g.ravel() for g in counted]).astype(np.float64))
    before = [net.parameters.copy() for net in nets]
    gradients = [net.gradients.copy() for net in nets]
    optim.SGD(1.0, clip_norm=norm / 4).step(*nets)
    frozen = nets[0].segments[[s.name for s in nets[0].segments].index("0.bias")]
    for net, p, g in zip(nets, before, gradients, strict=True):
        np.testing.assert_array_equal(net.gradients, g)
        if net is nets[0]:
            g[frozen.start : frozen.stop] = 0
        np.testing.assert_allclose(p - net.parameters, g / 4, rtol=1e-4 if dtype == "float32" else 1e-9, atol=1e-6)


def test_clip_grad_norm(engine, dtype):
    """As PyTorch's: the norm before; gradients scaled in place where it is longer, and frozen ones left out."""
    nets, rng = three(dtype), np.random.default_rng(0)
    for net in nets:
        fill_gradients(net, rng)
    nets[2].freeze(0)
    counted = lambda: np.concatenate([n.gradients[s.start : s.stop] for n in nets for s in n.segments if not s.frozen])  # noqa: E731
    before, given = counted().astype(np.float64), [net.gradients.copy() for net in nets]
    norm = np.linalg.norm(before)
    for limit in (math.inf, norm * 1.001, 10**9):
        assert fa.clip_grad_norm(nets, limit) == pytest.approx(norm, rel=1e-13)
        for net, g in zip(nets, given, strict=True):
            np.testing.assert_array_equal(net.gradients, g)
    assert fa.clip_grad_norm(iter(nets), norm / 3) == pytest.approx(norm, rel=1e-13)
    np.testing.assert_allclose(counted(), before / 3, rtol=1e-6 if dtype == "float32" else 1e-14)
    frozen = [s for s in nets[2].segments if s.frozen]
    assert len(frozen) == 2
    for s in frozen:
        np.testing.assert_array_equal(nets[2].gradients[s.start : s.stop], given[2][s.start : s.stop])
    assert fa.clip_grad_norm(nets[1], 1e-3) == pytest.approx(np.linalg.norm(given[1].astype(np.float64)) / 3, rel=1e-6)
    assert optim.gradient_norm(nets[1]) == pytest.approx(1e-3, rel=1e-6)
    nets[0].gradients[0] = np.nan
    assert math.isnan(fa.clip_grad_norm(nets, 1.0))
    assert np.isnan(counted()).all()


def test_clip_grad_norm_errors():
    nets = three()
    given = [net.gradients.copy() for net in nets]
    for kind, which, limit, text in (
        (ValueError, nets, 0, "max_norm to be a finite number > 0"),
        (ValueError, nets, math.nan, "max_norm to be a finite number > 0"),
        (TypeError, nets, "1", "max_norm to be a finite number > 0"),
        (ValueError, [nets[0], nets[1], nets[0]], 1.0, "each network once"),
        (TypeError, nets[0].gradients, 1.0, "expected networks"),
        (TypeError, [nets[0], None], 1.0, "expected networks .*got NoneType"),
        (TypeError, fa.Sequential, 1.0, "got the class Sequential"),
    ):
        with pytest.raises(kind, match=f"clip_grad_norm: expected .*{text}|clip_grad_norm: {text}"):
            fa.clip_grad_norm(which, limit)
    for net, g in zip(nets, given, strict=True):
        np.testing.assert_array_equal(net.gradients, g)


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
@pytest.mark.parametrize("name", ["dampened", "rmsprop both", "adagrad decay", "adam"])
def test_state_of_several_networks_is_restored_exactly(name, way):
    def train(nets, optimizer, seed):
        rng = np.random.default_rng(seed)
        for _ in range(3):
            for net in nets:
                fill_gradients(net, rng)
            optimizer.step(*nets)

    nets, first = three(), MAKERS[name](weight_decay=0.01)
    nets[1].freeze("*.weight")
    train(nets, first, 0)
    nets[1].unfreeze()
    twins = copy.deepcopy(nets)
    if way == "state_dict":
        second = MAKERS[name](weight_decay=0.01)
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    else:
        second = copy.deepcopy(first) if way == "deepcopy" else pickle.loads(pickle.dumps(first))
    before = [net.parameters.copy() for net in nets]
    train(twins, second, 1)
    for net, p in zip(nets, before, strict=True):
        np.testing.assert_array_equal(net.parameters, p)
    train(nets, first, 1)
    for net, twin in zip(nets, twins, strict=True):
        np.testing.assert_array_equal(net.parameters, twin.parameters)
    a, b = first.state_dict(), second.state_dict()
    assert a["steps"] == b["steps"] == 6
    assert [one["segment_steps"] for one in a["networks"]] == [one["segment_steps"] for one in b["networks"]]
    assert a["networks"][1]["segment_steps"] == {"0.weight": 3, "0.bias": 6}


def test_an_optimiser_belongs_to_its_networks():
    trunk, pi, v = three()
    optimizer = optim.Adam(groups=optim.Group("1.*", lr=0.1))  # in two of them
    optimizer.step(trunk, pi, v)
    before = [net.parameters.copy() for net in (trunk, pi, v)]
    saved = optimizer.state_dict()
    for kind, nets, text in (
        (ValueError, (trunk,), "expected the 3 networks of the steps before, got 1"),
        (ValueError, (trunk, v, pi), "expected the network of the steps before, got another one"),
        (ValueError, (trunk, pi, copy.deepcopy(v)), "expected the network of the steps before, got another one"),
        (ValueError, (trunk, pi, pi), "each network once"),
        (TypeError, (trunk, pi, None), "expected networks .*got NoneType"),
        (TypeError, ([trunk, pi, v],), "expected networks .*got list"),
    ):
        with pytest.raises(kind, match=f"Adam.step: (expected )?{text}|Adam.step: expected .*{text}"):
            optimizer.step(*nets)
    fresh = optim.Adam()
    fresh.load_state_dict(saved)
    with pytest.raises(ValueError, match=r"Adam\.step: .*state of a network with"):
        fresh.step(pi, trunk, v)
    with pytest.raises(ValueError, match=r"expected the 3 networks"):
        fresh.step(trunk)
    for wrong in ({**saved, "networks": []}, {**saved, "networks": 3}, {**saved, "networks": [{}, {}, {}]}):
        with pytest.raises(ValueError, match="load_state_dict"):
            fresh.load_state_dict(wrong)
    for net, p in zip((trunk, pi, v), before, strict=True):
        np.testing.assert_array_equal(net.parameters, p)
    assert optimizer.steps == 1
    with pytest.raises(ValueError, match=r"groups to match among 0\.weight, 0\.bias"):
        optim.Adam(groups=optim.Group("7.*", lr=0.1)).step(pi, v)


def test_one_network_is_saved_and_several_are_refused(tmp_path):
    _, pi, v = three()
    optimizer = optim.Adam()
    optimizer.step(pi, v)
    with pytest.raises(ValueError, match="save: expected the optimiser of this network"):
        pi.save(tmp_path / "pi.safetensors", optimizer)
    assert not list(tmp_path.iterdir())
