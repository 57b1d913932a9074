"""What each library computes in a row of activations: one entry per activation, one form per library.

A form is Python source (for ONNX Runtime: ONNX text) that the library's worker compiles. It is the fastest natural
form that the library has: in place or into given memory where it can, its backward kernel without autograd around it.
An activation without an entry has the default row: fastact against NumPy's formulas.

Names in a form: ``x`` the input, ``y`` the output, ``g`` the gradient, ``t`` scratch memory of the same shape.
Forward works on a fresh copy of ``x`` in every call, backward on a fresh copy of ``g``. NumPy's forms may call
``value(x)`` and ``slope(saved)``, the registry's formulas, where NumPy has no function; ``saved`` is what fastact's
backward reads. ``nn`` is torch._C._nn, ``aten`` torch.ops.aten. The value of the last expression is the result and
is compared with fastact's. A pair is (what is done once before the clock starts, what is timed); in what is done before
the clock starts, ``x`` and ``y`` are there for backward only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..registry import ACTIVATIONS

Form = str | tuple[str, str] | None

BY_SLOPE = "np.multiply(g, slope(saved), out=g)"
BY_OUTPUT = "np.multiply(g, y > 0, out=g)"
ELU = (
    "np.minimum(x, 0, out=t); np.expm1(t, out=t); np.maximum(x, t, out=x)",
    "np.minimum(y, 0, out=t); np.add(t, 1, out=t); np.multiply(g, t, out=g)",
)
SELU = {"alpha": 1.6732632423543772848, "scale": 1.0507009873554804934}


@dataclass(frozen=True, kw_only=True)
class Peers:
    """The forms of one activation, (forward, backward); None where a library has nothing to offer."""

    numpy: tuple[Form, Form] = ("value(x)", BY_SLOPE)
    torch: tuple[Form, Form] = (None, None)
    jax: str | None = None  # a function of x; backward is its vjp with the residuals that forward kept
    onnxruntime: str | None = None  # forward only; {T} is the element type
    fastact: tuple[Form, Form] | None = None  # None: elementwise and in place
    columns: int | None = None  # arrays are matrices with so many columns, not flat
    parameters: dict[str, float] = field(default_factory=dict)  # where the defaults are no case worth timing


PEERS: dict[str, Peers] = {
    "identity": Peers(
        # a jitted identity returns its argument: nothing for JAX
        fastact=("fa.identity(x, out=t)", "fa.identity_backward(g, y, out=t)"),
        numpy=("np.copyto(t, x); t", "np.copyto(t, g); t"),
        torch=("t.copy_(x)", "t.copy_(g)"),
        onnxruntime="y = Identity(x)",
    ),
    "sigmoid": Peers(
        numpy=(
            "np.negative(x, out=x); np.exp(x, out=x); np.add(x, 1, out=x); np.reciprocal(x, out=x)",
            "np.subtract(1, y, out=t); np.multiply(t, y, out=t); np.multiply(g, t, out=g)",
        ),
        torch=("torch.sigmoid_(x)", "aten.sigmoid_backward.grad_input(g, y, grad_input=g)"),
        jax="jax.nn.sigmoid(x)",
        onnxruntime="y = Sigmoid(x)",
    ),
    "tanh": Peers(
        numpy=("np.tanh(x, out=x)", "np.square(y, out=t); np.subtract(1, t, out=t); np.multiply(g, t, out=g)"),
        torch=("torch.tanh_(x)", "aten.tanh_backward.grad_input(g, y, grad_input=g)"),
        jax="jnp.tanh(x)",
        onnxruntime="y = Tanh(x)",
    ),
    "relu": Peers(
        numpy=("np.maximum(x, 0, out=x)", BY_OUTPUT),
        torch=("torch.relu_(x)", "aten.threshold_backward.grad_input(g, y, 0, grad_input=g)"),
        jax="jax.nn.relu(x)",
        onnxruntime="y = Relu(x)",
    ),
    "leaky_relu": Peers(
        numpy=(
            "np.multiply(x, 0.01, out=t); np.maximum(x, t, out=x)",
            "np.multiply(y > 0, 0.99, out=t); np.add(t, 0.01, out=t); np.multiply(g, t, out=g)",
        ),
        torch=("nn.leaky_relu_(x, 0.01)", "aten.leaky_relu_backward.grad_input(g, y, 0.01, True, grad_input=g)"),
        jax="jax.nn.leaky_relu(x, 0.01)",
        onnxruntime="y = LeakyRelu<alpha = 0.01>(x)",
    ),
    "elu": Peers(
        numpy=ELU,
        torch=("nn.elu_(x)", "aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, True, y, grad_input=g)"),
        jax="jax.nn.elu(x)",
        onnxruntime="y = Elu(x)",
    ),
    "celu": Peers(
        numpy=ELU,
        torch=("torch.celu_(x)", "aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, True, y, grad_input=g)"),
        jax="jax.nn.celu(x)",
        onnxruntime="y = Celu(x)",
    ),
    "selu": Peers(
        numpy=(
            f"np.minimum(x, 0, out=t); np.expm1(t, out=t); np.multiply(t, {SELU['alpha']}, out=t);"
            f"np.maximum(x, 0, out=x); np.add(x, t, out=x); np.multiply(x, {SELU['scale']}, out=x)",
            BY_SLOPE,
        ),
        torch=(
            "torch.selu_(x)",
            f"aten.elu_backward.grad_input(g, {SELU['alpha']}, {SELU['scale']}, 1.0, True, y, grad_input=g)",
        ),
        jax="jax.nn.selu(x)",
        onnxruntime="y = Selu(x)",
    ),
    "gelu": Peers(
        torch=("nn.gelu_(x)", "aten.gelu_backward.grad_input(g, x, grad_input=g)"),
        jax="jax.nn.gelu(x, approximate=False)",
        onnxruntime="y = Gelu(x)",
    ),
    "gelu_tanh": Peers(
        numpy=(
            "np.square(x, out=t); np.multiply(t, 0.035677408136300125, out=t); np.add(t, 0.7978845608028654, out=t);"
            "np.multiply(t, x, out=t); np.tanh(t, out=t); np.add(t, 1, out=t); np.multiply(t, 0.5, out=t);"
            "np.multiply(x, t, out=x)",
            BY_SLOPE,
        ),
        torch=(
            "nn.gelu_(x, approximate='tanh')",
            "aten.gelu_backward.grad_input(g, x, approximate='tanh', grad_input=g)",
        ),
        jax="jax.nn.gelu(x, approximate=True)",
        onnxruntime='y = Gelu<approximate = "tanh">(x)',
    ),
    "softplus": Peers(
        numpy=(
            "np.logaddexp(x, 0, out=x)",
            "np.negative(y, out=t); np.expm1(t, out=t); np.multiply(g, t, out=g); np.negative(g, out=g)",
        ),
        torch=("nn.softplus(x, out=x)", "aten.softplus_backward.grad_input(g, x, 1.0, 20.0, grad_input=g)"),
        jax="jax.nn.softplus(x)",
        onnxruntime="y = Softplus(x)",
    ),
    "silu": Peers(
        numpy=(
            "np.negative(x, out=t); np.exp(t, out=t); np.add(t, 1, out=t); np.divide(x, t, out=x)",
            BY_SLOPE,
        ),
        torch=("nn.silu_(x)", "aten.silu_backward.grad_input(g, x, grad_input=g)"),
        jax="jax.nn.silu(x)",
        onnxruntime="s = Sigmoid(x) y = Mul(x, s)",  # its optimiser fuses the two into one kernel
    ),
    "mish": Peers(
        numpy=("np.logaddexp(x, 0, out=t); np.tanh(t, out=t); np.multiply(x, t, out=x)", BY_SLOPE),
        torch=("nn.mish_(x)", "aten.mish_backward(g, x)"),
        jax="jax.nn.mish(x)",
        onnxruntime="y = Mish(x)",
    ),
    "hard_sigmoid": Peers(
        numpy=(
            "np.add(x, 3, out=x); np.clip(x, 0, 6, out=x); np.divide(x, 6, out=x)",
            "np.multiply(g, (y > 0) & (y < 1), out=g); np.divide(g, 6, out=g)",
        ),
        torch=("nn.hardsigmoid_(x)", "aten.hardsigmoid_backward.grad_input(g, x, grad_input=g)"),
        jax="jax.nn.hard_sigmoid(x)",
        onnxruntime="y = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x)",
    ),
    "hard_swish": Peers(
        numpy=(
            "np.add(x, 3, out=t); np.clip(t, 0, 6, out=t); np.multiply(x, t, out=x); np.divide(x, 6, out=x)",
            BY_SLOPE,
        ),
        torch=("nn.hardswish_(x)", "aten.hardswish_backward.out(g, x, out=g)"),
        jax="jax.nn.hard_swish(x)",
        onnxruntime="y = HardSwish(x)",
    ),
    "hard_tanh": Peers(
        numpy=("np.clip(x, -1, 1, out=x)", "np.multiply(g, np.abs(y) < 1, out=g)"),
        torch=("nn.hardtanh_(x)", "aten.hardtanh_backward.grad_input(g, y, -1, 1, grad_input=g)"),
        jax="jax.nn.hard_tanh(x)",
        onnxruntime="a = Constant<value = {T} {{-1.0}}>() b = Constant<value = {T} {{1.0}}>() y = Clip(x, a, b)",
    ),
    "relu6": Peers(
        numpy=("np.clip(x, 0, 6, out=x)", "np.multiply(g, (y > 0) & (y < 6), out=g)"),
        torch=("nn.hardtanh_(x, 0, 6)", "aten.hardtanh_backward.grad_input(g, y, 0, 6, grad_input=g)"),
        jax="jax.nn.relu6(x)",
        onnxruntime="a = Constant<value = {T} {{0.0}}>() b = Constant<value = {T} {{6.0}}>() y = Clip(x, a, b)",
    ),
    "softsign": Peers(
        numpy=(
            "np.abs(x, out=t); np.add(t, 1, out=t); np.divide(x, t, out=x)",
            "np.abs(x, out=t); np.add(t, 1, out=t); np.square(t, out=t); np.divide(g, t, out=g)",
        ),
        torch=("torch.abs(x, out=t); t.add_(1); x.div_(t)", "torch.abs(x, out=t); t.add_(1); t.square_(); g.div_(t)"),
        jax="jax.nn.soft_sign(x)",
        onnxruntime="y = Softsign(x)",
    ),
    "log_sigmoid": Peers(
        numpy=(
            "np.negative(x, out=x); np.logaddexp(x, 0, out=x); np.negative(x, out=x)",
            "np.expm1(y, out=t); np.multiply(g, t, out=g); np.negative(g, out=g)",
        ),
        torch=(
            "nn.log_sigmoid(x, out=x)",
            ("b = aten.log_sigmoid_forward(x)[1]", "aten.log_sigmoid_backward.grad_input(g, x, b, grad_input=g)"),
        ),
        jax="jax.nn.log_sigmoid(x)",
        onnxruntime="a = Neg(x) b = Softplus(a) y = Neg(b)",
    ),
    "relu_squared": Peers(
        numpy=(
            "np.maximum(x, 0, out=x); np.square(x, out=x)",
            "np.maximum(x, 0, out=t); np.multiply(t, 2, out=t); np.multiply(g, t, out=g)",
        ),
        torch=("torch.relu_(x); x.square_()", "torch.clamp_min(x, 0, out=t); t.mul_(2); g.mul_(t)"),
        jax="jnp.square(jax.nn.relu(x))",
        onnxruntime="a = Relu(x) y = Mul(a, a)",
    ),
    "threshold": Peers(
        parameters={"threshold": 0.5, "value": 0.0},
        numpy=("np.multiply(x, x > 0.5, out=x)", "np.multiply(g, x > 0.5, out=g)"),
        torch=("torch.threshold_(x, 0.5, 0.0)", "aten.threshold_backward.grad_input(g, x, 0.5, grad_input=g)"),
        jax="jnp.where(x > 0.5, x, 0)",
        onnxruntime="y = ThresholdedRelu<alpha = 0.5>(x)",
    ),
    "hard_shrink": Peers(
        numpy=("np.multiply(x, np.abs(x) > 0.5, out=x)", "np.multiply(g, np.abs(x) > 0.5, out=g)"),
        torch=("torch.hardshrink(x, 0.5, out=x)", "aten.hardshrink_backward.grad_input(g, x, 0.5, grad_input=g)"),
        jax="jnp.where(jnp.abs(x) > 0.5, x, 0)",
        onnxruntime="y = Shrink<lambd = 0.5>(x)",
    ),
    "soft_shrink": Peers(
        numpy=("np.clip(x, -0.5, 0.5, out=t); np.subtract(x, t, out=x)", "np.multiply(g, y != 0, out=g)"),
        torch=("nn.softshrink(x, 0.5, out=x)", "aten.softshrink_backward.grad_input(g, x, 0.5, grad_input=g)"),
        jax="x - jnp.clip(x, -0.5, 0.5)",
        onnxruntime="y = Shrink<lambd = 0.5, bias = 0.5>(x)",
    ),
    "tanh_shrink": Peers(
        numpy=(
            "np.tanh(x, out=t); np.subtract(x, t, out=x)",
            "np.tanh(x, out=t); np.square(t, out=t); np.multiply(g, t, out=g)",
        ),
        torch=("torch.tanh(x, out=t); x.sub_(t)", "torch.tanh(x, out=t); t.square_(); g.mul_(t)"),
        jax="x - jnp.tanh(x)",
        onnxruntime="a = Tanh(x) y = Sub(x, a)",
    ),
    "softmax": Peers(
        columns=64,
        fastact=("fa.softmax(x, out=x)", "fa.softmax_backward(g, y, out=g)"),
        numpy=(
            "np.subtract(x, x.max(axis=-1, keepdims=True), out=x); np.exp(x, out=x);"
            "np.divide(x, x.sum(axis=-1, keepdims=True), out=x)",
            "np.multiply(g, y, out=t); np.subtract(g, t.sum(axis=-1, keepdims=True), out=g); np.multiply(g, y, out=g)",
        ),
        torch=(
            "torch.softmax(x, -1, out=t)",
            ("real = x.dtype", "aten._softmax_backward_data.out(g, y, -1, real, grad_input=t)"),
        ),
        jax="jax.nn.softmax(x, axis=-1)",
        onnxruntime="y = Softmax<axis = -1>(x)",
    ),
    "log_softmax": Peers(
        columns=64,
        fastact=("fa.log_softmax(x, out=x)", "fa.log_softmax_backward(g, y, out=g)"),
        numpy=(
            "np.subtract(x, x.max(axis=-1, keepdims=True), out=x); np.exp(x, out=t);"
            "np.subtract(x, np.log(t.sum(axis=-1, keepdims=True)), out=x)",
            "np.exp(y, out=t); np.multiply(t, g.sum(axis=-1, keepdims=True), out=t); np.subtract(g, t, out=g)",
        ),
        torch=(
            "torch.log_softmax(x, -1, out=t)",
            ("real = x.dtype", "aten._log_softmax_backward_data.out(g, y, -1, real, out=t)"),
        ),
        jax="jax.nn.log_softmax(x, axis=-1)",
        onnxruntime="y = LogSoftmax<axis = -1>(x)",
    ),
    "prelu": Peers(  # one weight a column; the weight's gradient is part of backward, which JAX's form leaves out
        columns=64,
        fastact=(
            ("w = np.full(64, 0.25, t.dtype)", "fa.prelu(x, w, out=x)"),
            ("w = np.full(64, 0.25, t.dtype); d = w.copy()", "fa.prelu_backward(g, x, w, out=g, out_weight=d); g"),
        ),
        numpy=(
            ("w = np.full(64, 0.25, t.dtype)", "np.multiply(x, w, out=t); np.maximum(x, t, out=x)"),
            (
                "w = np.full(64, 0.25, t.dtype)",
                "np.minimum(x, 0, out=t); np.multiply(t, g, out=t); t.sum(axis=0);"
                "np.multiply(x <= 0, w - 1, out=t); np.add(t, 1, out=t); np.multiply(g, t, out=g)",
            ),
        ),
        torch=(
            ("w = torch.full((64,), 0.25, dtype=t.dtype)", "torch.prelu(x, w)"),
            (
                "w = torch.full((64,), 0.25, dtype=t.dtype)",
                "d, e = aten._prelu_kernel_backward(g, x, w); e.sum(0); d",
            ),
        ),
        onnxruntime="w = Constant<value = {T}[1] {{0.25}}>() y = PRelu(x, w)",
    ),
    "swish": Peers(  # one beta a column, as for prelu
        columns=64,
        fastact=(
            ("b = np.full(64, 1.5, t.dtype)", "fa.swish(x, b, out=x)"),
            ("b = np.full(64, 1.5, t.dtype); d = b.copy()", "fa.swish_backward(g, x, b, out=g, out_beta=d); g"),
        ),
        numpy=(
            (
                "b = np.full(64, -1.5, t.dtype)",
                "np.multiply(x, b, out=t); np.exp(t, out=t); np.add(t, 1, out=t); np.divide(x, t, out=x)",
            ),
            (
                "b = np.full(64, 1.5, t.dtype); u = np.empty_like(t); v = np.empty_like(t)",
                "np.multiply(x, -b, out=t); np.exp(t, out=t); np.add(t, 1, out=t); np.reciprocal(t, out=t);"
                "np.subtract(1, t, out=u); np.multiply(u, t, out=u); np.multiply(u, x, out=u);"
                "np.multiply(u, x, out=v); np.multiply(v, g, out=v); v.sum(axis=0);"
                "np.multiply(u, b, out=u); np.add(t, u, out=t); np.multiply(g, t, out=g)",
            ),
        ),
        torch=(
            ("b = torch.full((64,), 1.5, dtype=t.dtype)", "torch.mul(x, b, out=t); torch.sigmoid_(t); x.mul_(t)"),
            (
                "b = torch.full((64,), 1.5, dtype=t.dtype); u = torch.empty_like(t); v = torch.empty_like(t)",
                "torch.mul(x, b, out=t); torch.sigmoid_(t); aten.sigmoid_backward.grad_input(x, t, grad_input=u);"
                "torch.mul(u, x, out=v); v.mul_(g); v.sum(0); u.mul_(b); t.add_(u); g.mul_(t)",
            ),
        ),
        onnxruntime="b = Constant<value = {T} {{1.5}}>() s = Mul(x, b) t = Sigmoid(s) y = Mul(x, t)",
    ),
    "maxout": Peers(  # two pieces; fastact's forward writes the index beside, which NumPy's and JAX's forms do without
        columns=64,
        fastact=(
            (
                "y = np.empty((len(t), 32), t.dtype); i = np.empty((len(t), 32), np.uint8)",
                "fa.maxout(x, 2, out=y, out_index=i); y",
            ),
            ("i = fa.maxout(x, 2).index; d = np.empty_like(x)", "fa.maxout_backward(g, i, 2, out=d)"),
        ),
        numpy=(
            ("y = np.empty((len(t), 32), t.dtype)", "np.maximum(x[:, ::2], x[:, 1::2], out=y)"),
            (
                "m = x[:, ::2] >= x[:, 1::2]; d = np.empty_like(x); a, b = d[:, ::2], d[:, 1::2]",
                "np.multiply(g, m, out=a); np.subtract(g, a, out=b); d",
            ),
        ),
        torch=(
            (
                "y = torch.empty((len(t), 32), dtype=t.dtype); i = torch.empty((len(t), 32), dtype=torch.int64)",
                "torch.max(x.view(-1, 32, 2), 2, out=(y, i)); y",
            ),
            (
                "i = x.view(-1, 32, 2).max(2, keepdim=True)[1]; d = torch.empty_like(x); v = d.view(-1, 32, 2)",
                "d.zero_(); v.scatter_(2, i, g.unsqueeze(2)); d",
            ),
        ),
        jax="x.reshape(-1, 32, 2).max(axis=-1)",
    ),
    "relu_masked": Peers(  # keeps one bit an element, where PyTorch keeps the output
        fastact=(
            ("m = np.empty((t.size + 7) // 8, np.uint8)", "fa.relu_masked(x, mask=m, out=x)"),
            ("m = np.packbits(x >= 0, bitorder='little')", "fa.relu_masked_backward(g, m, out=g)"),
        ),
        numpy=(
            "np.packbits(x >= 0, bitorder='little'); np.maximum(x, 0, out=x)",
            ("m = x >= 0", "np.multiply(g, m, out=g)"),
        ),
        torch=("torch.relu_(x)", "aten.threshold_backward.grad_input(g, y, 0, grad_input=g)"),
        jax="jax.nn.relu(x)",
        onnxruntime="y = Relu(x)",
    ),
}

#: What can be measured: the registry's activations, and what has forms of its own.
NAMES = tuple(dict.fromkeys([*ACTIVATIONS, *PEERS]))


def peers_of(name: str) -> Peers:
    return PEERS.get(name) or Peers()


def form(name: str, library: str, forward: bool) -> Form:
    """What the library runs; None where it has nothing."""
    row = peers_of(name)
    if library == "fastact" and row.fastact is None:
        keywords = "".join(f"{key}={value}, " for key, value in row.parameters.items())
        if forward:
            return f"fa.{name}(x, {keywords}out=x)"
        return f"fa.{name}_backward(g, {ACTIVATIONS[name].saved_name}, {keywords}out=g)"
    if library == "jax":
        return row.jax
    if library == "onnxruntime":
        return row.onnxruntime if forward else None
    if library == "memory":
        return "stream(x)" if forward else "stream(g, y)"
    pair: tuple[Form, Form] = getattr(row, library)
    return pair[not forward]


def parameters(name: str) -> tuple[float, ...]:
    """The parameters that all forms of an activation use, in the registry's order."""
    if name not in ACTIVATIONS:
        return ()
    return tuple(peers_of(name).parameters.get(p.name, p.default) for p in ACTIVATIONS[name].parameters)
