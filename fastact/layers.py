"""The layers of the library; ``layer.Layer`` is their base, ``network.Sequential`` strings them together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import _checks, _dense, _norms, functional, init, registry
from .layer import Layer, ParameterSpec, Plan, Workspace, held, taken
from .registry import AnyActivation, BoundActivation, BoundLearned, BoundMaxout

__all__ = [
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "LayerNorm",
    "Maxout",
    "PReLU",
    "Swish",
]


class Dense(Layer):
    """y = activation(x @ weight + bias), bias and activation applied in one pass over the product.

    Parameters
    ----------
    inputs, outputs : whole numbers >= 1
    activation : a name of the registry or ``fastact.activation(name, ...)``; None for the identity. ``"prelu"`` and
        ``"swish"`` learn their weight, which starts as given: one number, or one per output. ``"maxout"`` with its
        ``pieces`` is the largest of that many linear maps.
    bias : whether to add a bias
    weight_init : a name in ``fastact.init.INITIALIZERS`` ("he_uniform", "orthogonal", ...) or a function of shape and
        generator; None for the scheme that suits the activation: He, Glorot or LeCun
    bias_init : likewise, for the bias: "zeros" or "small_positive", ``fastact.init.Constant(0.1)``, ...

    ``parameters["weight"]`` has shape (inputs, outputs), ``parameters["bias"]`` (outputs,); with maxout there are
    outputs * pieces columns, an output's pieces side by side. ``parameters["activation"]`` is what prelu or swish
    learns, of shape (1,) or (outputs,).
    """

    transient = ("_output", "_dx", "_state", "_dz", "_sums")

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | AnyActivation | None = None,
        *,
        bias: bool = True,
        weight_init: str | init.Initializer | None = None,
        bias_init: str | init.Initializer = "zeros",
    ) -> None:
        """Check the arguments; parameters come with the network."""
        super().__init__()
        self.inputs = _checks.whole("Dense", "inputs", inputs, 1)
        self.outputs = _checks.whole("Dense", "outputs", outputs, 1)
        self.activation = _checks.dense_activation("Dense", activation)
        self.columns = self.outputs * (self.activation.pieces if isinstance(self.activation, BoundMaxout) else 1)
        self.bias = bool(bias)
        scheme = init.default_for(self.activation.name) if weight_init is None else weight_init
        self.weight_init = init.initializer("Dense", "weight_init", scheme)
        self.bias_init = init.initializer("Dense", "bias_init", bias_init)
        self.saves = _dense.saved_kind(self.activation)
        self.reads_output = self.saves == "y"
        if isinstance(self.activation, BoundLearned):
            size = np.size(self.activation.weight)
            if np.ndim(self.activation.weight) > 1 or size not in (1, self.outputs):
                raise ValueError(
                    f"Dense: expected {self.activation.entry.weight_name} to be one number or shape ({self.outputs},), "
                    f"one per output, got shape {np.shape(self.activation.weight)}"
                )

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Weight (decayed), bias, and what the activation learns."""
        specs = {"weight": ParameterSpec((self.inputs, self.columns), "weight")}
        if self.bias:
            specs["bias"] = ParameterSpec((self.columns,), "bias")
        if isinstance(self.activation, BoundLearned):
            specs["activation"] = ParameterSpec((np.size(self.activation.weight),), "activation")
        return specs

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views and lay out the workspaces."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self._output = self.workspaces["output"] = Workspace(self.outputs, dtype)
        self._dx = self.workspaces["dx"] = Workspace(self.inputs, dtype)
        if self.saves not in ("y", "none"):
            kept = np.dtype(np.uint8) if self.saves == "index" else dtype
            self._state = self.workspaces[self.saves] = Workspace(self.outputs, kept)
        if (self.reads_output and plan.keep_output) or self.saves == "index":
            self._dz = self.workspaces["dz"] = Workspace(self.columns, dtype)
        self._sums = gradients.get("bias", np.empty(self.columns, dtype))

    def initialize(self, rng: np.random.Generator) -> None:
        """Weight and bias by their initialisers."""
        self.parameters["weight"][...] = init.make(self.weight_init, (self.inputs, self.columns), rng)
        if self.bias:
            self.parameters["bias"][...] = init.make(self.bias_init, (self.columns,), rng)
        if isinstance(self.activation, BoundLearned):
            self.parameters["activation"][...] = self.activation.weight

    def _bound(self) -> AnyActivation:
        """The activation as it is now: with what it has learned."""
        if isinstance(self.activation, BoundLearned):
            return BoundLearned(self.activation.entry, self.parameters["activation"])
        return self.activation

    def __getstate__(self) -> dict[str, Any]:
        """A copy has its weights and needs no initialisers, which may be functions that cannot be pickled."""
        scheme = init.initializer("Dense", "weight_init", init.default_for(self.activation.name))
        return {**super().__getstate__(), "weight_init": scheme, "bias_init": init.INITIALIZERS["zeros"]}

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor, but for the initialisers."""
        return {
            "layer": "Dense",
            "inputs": self.inputs,
            "outputs": self.outputs,
            "activation": self.activation.name,
            "parameters": self.activation.parameters,
            "bias": self.bias,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Dense:
        """The layer that ``describe`` described."""
        activation = described_activation(description, custom)
        return cls(description["inputs"], description["outputs"], activation, bias=description["bias"])

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """activation(x @ weight + bias) for plain x of shape (rows, inputs) and the parameters' dtype."""
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        if not training:
            y = np.empty((len(x), self.outputs), weight.dtype)
            _dense.forward_into(self._bound(), x, weight, bias, y, None)
            return y
        rows = len(x)
        y = self._output.rows(rows)
        state = self._state.rows(rows) if self.saves not in ("y", "none") else None
        _dense.forward_into(self._bound(), x, weight, bias, y, state)
        self._saved = x, y if state is None else state
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients of the parameters; returns the gradient of x unless it is not needed."""
        x, saved = taken(self)
        rows = len(x)
        dz = self._dz_for(saved, rows)
        if self.saves == "none":
            saved = None
        dx = self._dx.rows(rows) if need_input_grad else None
        weight, dw = self.parameters["weight"], self.gradients["weight"]
        if self.frozen and len(self.frozen) == len(self.parameters):
            return None if dx is None else self._only_dx(grad, saved, dz, weight, dx)
        _dense.backward_into(
            self._bound(), grad, saved, dz, x, weight, dx, dw, self._sums, dparam=self.gradients.get("activation")
        )
        return dx

    def _only_dx(
        self, grad: np.ndarray, saved: Any, dz: np.ndarray | None, weight: np.ndarray, dx: np.ndarray
    ) -> np.ndarray:
        """The gradient of x alone, where all parameters are frozen."""
        if dz is None:
            dz = grad
        elif isinstance(self.activation, BoundLearned):
            learned = self.parameters["activation"]
            functional.learned_backward_into(
                self.activation.name, grad, saved, learned, learned.size > 1, dz, np.empty_like(learned)
            )
        elif isinstance(self.activation, BoundMaxout):
            functional.maxout_backward_into(grad, saved, dz, self.activation.pieces)
        elif self.reads_output:
            functional.activate_backward_into(self.activation, grad, saved, dz)
        else:
            flat = saved == 0 if self.activation.entry.piecewise_linear else None
            with np.errstate(all="ignore"):
                np.multiply(grad, saved, out=dz)
            if flat is not None:
                dz[flat] = 0
        _dense.forward_into(_IDENTITY, dz, weight.T, None, dx, None)
        return dx

    def _dz_for(self, saved: np.ndarray, rows: int) -> np.ndarray | None:
        """Where dz goes: what was saved is read element by element, so dz may replace it, unless the user holds it.

        None where the slope is 1: there grad is dz. Maxout's dz is wider than what was saved.
        """
        if self.saves == "none":
            return None
        if self.saves == "index":
            return self._dz.rows(rows)
        return self._dz.rows(rows) if self.plan.keep_output and self.reads_output else saved

    def stacked(self) -> tuple[Any, ...] | None:
        """The layer's kernels and arrays for a compiled stack; None where its activation has no kernel."""
        kernels = _dense.kernels(self.activation)
        if kernels is None:
            return None
        return *kernels, self.parameters["weight"], self.parameters.get("bias"), self.gradients["weight"], self._sums

    def stacked_views(self, rows: int) -> tuple[Any, ...]:
        """The layer's workspaces for so many rows: y, slope, dz, dx, and whether the layer is linear."""
        y = self._output.rows(rows)
        slope = self._state.rows(rows) if self.saves == "slope" else None
        dz = self._dz_for(y if slope is None else slope, rows)
        return y, slope, dz, self._dx.rows(rows), self.saves == "none"

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The activation's slope at the last training forward, from y or as stored; None for identity and maxout."""
        if self.saves == "none" or isinstance(self.activation, BoundMaxout):
            return None
        _, saved = held(self)
        if isinstance(self.activation, BoundLearned):
            return learned_slope_of(self.activation.name, self.parameters["activation"], saved, out)
        if self.reads_output:
            return slope_of(self.activation, saved, out)
        if out is None:
            return saved.copy()
        out[...] = saved
        return out


def slope_of(bound: BoundActivation, saved: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The activation's slope from what its backward reads, into out when given."""
    out = np.empty_like(saved) if out is None else out
    out[...] = 1
    functional.activate_backward_into(bound, out, saved, out)
    return out


def learned_slope_of(name: str, weight: np.ndarray, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The same of an activation with a learned weight."""
    out = np.empty_like(x) if out is None else out
    out[...] = 1
    functional.learned_backward_into(name, out, x, weight, weight.size > 1, out, np.empty_like(weight))
    return out


def described_activation(description: Mapping[str, Any], custom: Mapping[str, Any] | None) -> Any:
    """The activation of a layer's description; one's own is looked up in custom."""
    name = description["activation"]
    if custom and name in custom:
        return _checks.activation("load", custom[name])
    parameters = description["parameters"]
    if name in registry.LEARNED:
        return functional.activation(name, **{key: np.asarray(value, np.float64) for key, value in parameters.items()})
    if name not in registry.ACTIVATIONS and name != "maxout":
        raise ValueError(
            f"unknown activation {name!r}; if it is one's own, pass custom={{{name!r}: fastact.custom_activation(...)}}"
        )
    return functional.activation(name, **parameters)


_IDENTITY = _checks.activation("Dense", None)


# ------------------------------------------------------------------------------------------ layers that keep the width


class SameWidth(Layer):
    """Base of the layers whose output is as wide as their input; they can take the width of the layer before."""

    in_place_backward = True

    def __init__(self, inputs: int | None = None) -> None:
        """Inputs: the width, needed only where no layer stands before."""
        super().__init__()
        if inputs is not None:
            self.inputs = self.outputs = _checks.whole(type(self).__name__, "inputs", inputs, 1)

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and workspaces for what may not be written over."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        if not plan.over_input:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not plan.over_grad:
            self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        """The class and the width; subclasses add their arguments."""
        return {"layer": type(self).__name__, "inputs": self.inputs}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output; while training in the plan's memory."""
        if not training:
            return self.infer(x, False)
        y = x if self.plan.over_input else self.workspaces["output"].rows(len(x))
        self.train_into(x, y)
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """The gradients of the parameters, where there are any, and of x."""
        dx = grad if self.plan.over_grad else self.workspaces["dx"].rows(len(grad))
        self.backward_into(taken(self), grad, dx)
        return dx

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training."""
        y = x if over_input else np.empty_like(x)
        self.infer_into(x, y)
        return y

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which is x where the plan says so; keeps ``_saved`` for backward."""
        raise NotImplementedError

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which may be x, without keeping anything."""
        raise NotImplementedError

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Gradients of the parameters, and of x into dx, which may be grad."""
        raise NotImplementedError


class Activation(SameWidth):
    """An activation as a layer of its own; after ``Dense``, ``Dense(activation=...)`` is faster.

    Parameters
    ----------
    activation : a name, ``fastact.activation(name, ...)``, ``fastact.custom_activation(...)``, or "softmax" or
        "log_softmax", over each row (cross-entropy takes the outputs without it)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(self, activation: str | BoundActivation, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        self.activation: str | BoundActivation
        saves: str | None
        if isinstance(activation, str) and activation in functional.ROW_FUNCTIONS:
            self.activation, saves = activation, "y"
        else:
            if activation is None:
                raise TypeError("Activation: expected a name or fastact.activation(name, ...), got None")
            self.activation = _checks.activation("Activation", activation)
            saves = self.activation.entry.saves
        self.reads_input, self.reads_output = saves == "x", saves == "y"
        self.in_place_forward = not self.reads_input

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        bound = self.activation
        if isinstance(bound, str):
            return {**super().describe(), "activation": bound}
        return {**super().describe(), "activation": bound.name, "parameters": bound.parameters}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Activation:
        """The layer that ``describe`` described."""
        name = description["activation"]
        activation = name if name in functional.ROW_FUNCTIONS else described_activation(description, custom)
        return cls(activation, description["inputs"])

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x)."""
        self.infer_into(x, y)
        self._saved = x if self.reads_input else y

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x)."""
        if isinstance(self.activation, str):
            functional.rows_forward(self.activation, x, y)
        elif self.activation.entry.saves is None:
            if y is not x:
                y[...] = x
        else:
            functional.activate_into(self.activation, x, y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """dx = grad * f'."""
        if isinstance(self.activation, str):
            functional.rows_backward(self.activation, grad, saved, dx)
        elif self.activation.entry.saves is None:
            if dx is not grad:
                dx[...] = grad
        else:
            functional.activate_backward_into(self.activation, grad, saved, dx)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The slope at the last training forward; None for softmax and the identity."""
        if isinstance(self.activation, str) or self.activation.entry.saves is None:
            return None
        return slope_of(self.activation, held(self), out)


class Learned(SameWidth):
    """Base of the activations with a learned weight: one for all (shape (1,)), or one a channel."""

    in_place_backward = True
    reads_output = False
    function = ""  # the name in ``registry.LEARNED``

    def __init__(self, *, per_channel: bool = False, init: float | None = None, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        name = type(self).__name__
        entry = registry.LEARNED[self.function]
        self.weight_name = entry.weight_name
        self.per_channel = bool(per_channel)
        self.init = entry.start if init is None else _checks.real(name, "init", init, -math.inf)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The weight; not decayed by default (He et al. 2015)."""
        return {self.weight_name: ParameterSpec((self.inputs if self.per_channel else 1,), "activation")}

    def initialize(self, rng: np.random.Generator) -> None:
        """The weight starts from ``init``."""
        self.parameters[self.weight_name][...] = self.init

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "per_channel": self.per_channel, "init": self.init}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x; weight)."""
        self.infer_into(x, y)
        self._saved = x

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = f(x; weight)."""
        functional.learned_into(self.function, x, self.parameters[self.weight_name], self.per_channel, y)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx and the weight's gradient, from one pass."""
        weight, dweight = self.parameters[self.weight_name], self.gradients[self.weight_name]
        functional.learned_backward_into(self.function, grad, saved, weight, self.per_channel, dx, dweight)

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The slope at the last training forward."""
        return learned_slope_of(self.function, self.parameters[self.weight_name], held(self), out)


class PReLU(Learned):
    """Leaky ReLU with a learned slope, x if x > 0 else weight * x (He et al. 2015, arXiv:1502.01852).

    Parameters
    ----------
    per_channel : one slope a channel (column) instead of one for all
    init : where it starts, 0.25 by default
    inputs : the width, needed only where no layer stands before

    ``parameters["weight"]`` has shape (1,) or (inputs,), as in PyTorch.
    """

    function = "prelu"


class Swish(Learned):
    """x * s(beta * x) with a learned beta, s the logistic function (Ramachandran et al. 2017, arXiv:1710.05941).

    Parameters
    ----------
    per_channel : one beta a channel (column) instead of one for all
    init : where it starts, 1 by default (``silu``)
    inputs : the width, needed only where no layer stands before

    ``parameters["beta"]`` has shape (1,) or (inputs,).
    """

    function = "swish"


class Dropout(SameWidth):
    """In training, zero with probability ``rate``, else x / (1 - rate) (Srivastava et al. 2014); x in inference.

    Parameters
    ----------
    rate : number >= 0 and below 1
    inputs : the width, needed only where no layer stands before
    seed : whole number >= 0 that the masks follow from; by default the network's generator gives one

    Masks follow from the seed, the number of training forwards so far and an element's place in the batch, so that
    they are the same in any backend, dtype and number of threads; backward computes them again. ``random_state``
    holds what a resumed training needs.
    """

    reads_input = reads_output = False
    in_place_forward = True

    def __init__(self, rate: float = 0.5, inputs: int | None = None, *, seed: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        name = type(self).__name__
        self.rate = _checks.real(name, "rate", rate)
        if self.rate >= 1:
            raise ValueError(f"{name}: expected rate to be a number >= 0 and below 1, got {rate!r}")
        self._given_seed = seed is not None
        self.seed = 0 if seed is None else self._whole("seed", seed)
        self.counter = 0
        self.scale, self.shift, self.dropped = 1 / (1 - self.rate), 0.0, 0.0

    def _whole(self, name: str, value: object) -> int:
        number = _checks.whole(type(self).__name__, name, value, 0)
        if number >= 2**64:
            raise ValueError(f"{type(self).__name__}: expected {name} below 2**64, got {number}")
        return number

    def initialize(self, rng: np.random.Generator) -> None:
        """A seed, unless one was given; the counter starts from 0."""
        drawn = int(rng.integers(2**63))
        self.seed = self.seed if self._given_seed else drawn
        self.counter = 0

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "rate": self.rate}

    def random_state(self) -> dict[str, Any]:
        """The seed, and how many masks were made of it."""
        return {"seed": self.seed, "counter": self.counter}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``random_state`` returned."""
        if not isinstance(state, Mapping) or set(state) != {"seed", "counter"}:
            raise ValueError(f"{type(self).__name__}.set_random_state: expected seed and counter, got {state!r}")
        seed, counter = self._whole("seed", state["seed"]), self._whole("counter", state["counter"])
        self.seed, self.counter = seed, counter

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Scale what is kept."""
        self._saved = _norms.mixed(self.seed, self.counter)
        self.counter += 1
        _norms.dropout_into(x, y, self._saved, self.rate, self.scale, self.shift, self.dropped)

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Nothing is dropped."""
        if y is not x:
            y[...] = x

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """X itself."""
        return x

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """The same mask, made again."""
        _norms.dropout_into(grad, dx, saved, self.rate, self.scale)


class AlphaDropout(Dropout):
    """Dropout for SELU: keeps mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515).

    In training, a * (x or, with probability ``rate``, alpha') + b, with alpha' = -1.7580993408473766 (SELU's limit at
    -inf), a = 1 / sqrt((1 - rate) (1 + rate alpha'^2)) and b = -a rate alpha'; x in inference. Arguments and masks as
    for ``Dropout``.
    """

    def __init__(self, rate: float = 0.5, inputs: int | None = None, *, seed: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(rate, inputs, seed=seed)
        limit = -registry.SELU_LIMIT
        self.scale = 1 / math.sqrt((1 - self.rate) * (1 + self.rate * limit * limit))
        self.shift = -self.scale * self.rate * limit
        self.dropped = self.scale * limit + self.shift


class Normalization(SameWidth):
    """Base of the normalisations: z * weight + bias, z the normalised x."""

    reads_output = False
    transient = ("_mean", "_rstd", "_changes")

    def __init__(self, eps: float, weight: bool, bias: bool, inputs: int | None) -> None:
        """Check the arguments."""
        super().__init__(inputs)
        self.eps = _checks.real(type(self).__name__, "eps", eps, low_included=False)
        self.weight, self.bias = bool(weight), bool(bias)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Weight and bias, one of each a column."""
        wanted = {"weight": self.weight, "bias": self.bias}
        return {name: ParameterSpec((self.inputs,), "norm") for name, there in wanted.items() if there}

    def initialize(self, rng: np.random.Generator) -> None:
        """Weights 1 and biases 0."""
        for name, array in self.parameters.items():
            array[...] = name == "weight"

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "eps": self.eps, "weight": self.weight, "bias": self.bias}

    def _affine(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.parameters.get("weight"), self.parameters.get("bias")

    def _all_frozen(self) -> bool:
        return len(self.frozen) == len(self.parameters)

    def _sums(self, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """Where the gradients of weight and bias go, parameters or not."""
        spare = np.empty((2, self.inputs), dtype)
        return self.gradients.get("weight", spare[0]), self.gradients.get("bias", spare[1])


class LayerNorm(Normalization):
    """Layer normalisation: each row with mean 0 and variance 1, times weight, plus bias (Ba et al. 2016,
    arXiv:1607.06450).

    y = (x - mean) / sqrt(variance + eps) * weight + bias, the variance biased, as torch.nn.LayerNorm.

    Parameters
    ----------
    eps : number > 0
    weight, bias : whether there is one, of shape (inputs,)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(self, *, eps: float = 1e-5, weight: bool = True, bias: bool = True, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__(eps, weight, bias, inputs)

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and workspaces for the rows' moments."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self._mean = self.workspaces["mean"] = Workspace(None, dtype)
        self._rstd = self.workspaces["rstd"] = Workspace(None, dtype)
        self._changes = self._sums(dtype)

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise the rows, and keep their moments."""
        mean, rstd = self._mean.rows(len(x)), self._rstd.rows(len(x))
        _norms.layer_norm_into(x, *self._affine(), y, mean, rstd, self.eps)
        self._saved = x, mean, rstd

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise the rows."""
        _norms.layer_norm_into(x, *self._affine(), y, None, None, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx, and the gradients of weight and bias in the same call."""
        changes = (None, None) if self._all_frozen() else self._changes
        x, mean, rstd = saved
        _norms.layer_norm_backward_into(grad, x, mean, rstd, self.parameters.get("weight"), dx, *changes)


class BatchNorm(Normalization):
    """Batch normalisation: each column with mean 0 and variance 1, times weight, plus bias (Ioffe and Szegedy 2015,
    arXiv:1502.03167), as torch.nn.BatchNorm1d.

    In training with the mean and the biased variance of the batch, of two rows at least; in inference with the
    ``buffers`` "running_mean" and "running_var", which each training forward moves by ``momentum`` towards the batch's
    mean and unbiased variance.

    Parameters
    ----------
    momentum : number from 0 to 1, or None for the mean over all batches
    eps : number > 0
    weight, bias : whether there is one, of shape (inputs,)
    inputs : the width, needed only where no layer stands before
    """

    def __init__(
        self,
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        *,
        weight: bool = True,
        bias: bool = True,
        inputs: int | None = None,
    ) -> None:
        """Check the arguments."""
        super().__init__(eps, weight, bias, inputs)
        self.momentum = None if momentum is None else _checks.real("BatchNorm", "momentum", momentum)
        if self.momentum is not None and self.momentum > 1:
            raise ValueError(
                f"BatchNorm: expected momentum to be a number from 0 to 1, got {momentum!r}; a width is inputs=..."
            )

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The running statistics, and how many batches they have seen."""
        column = ParameterSpec((self.inputs,), "norm")
        return {"running_mean": column, "running_var": column, "num_batches_tracked": ParameterSpec((1,), "norm")}

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and room for the columns' moments."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self._mean, self._rstd = np.empty(self.inputs, dtype), np.empty(self.inputs, dtype)
        self._changes = self._sums(dtype)

    def initialize(self, rng: np.random.Generator) -> None:
        """Weights and variances 1, the rest 0."""
        super().initialize(rng)
        for name, array in self.buffers.items():
            array[...] = name == "running_var"

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().describe(), "momentum": self.momentum}

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise with the batch's moments, and note them."""
        if len(x) < 2:
            raise ValueError(
                f"BatchNorm.forward: expected at least 2 rows in training, got {len(x)}; a variance needs 2: choose a "
                "batch size that leaves no last batch of one row"
            )
        buffers = self.buffers
        seen = buffers["num_batches_tracked"]
        seen += 1
        factor = 1 / float(seen[0]) if self.momentum is None else self.momentum
        running = buffers["running_mean"], buffers["running_var"]
        _norms.batch_norm_into(x, *self._affine(), y, self._mean, self._rstd, *running, self.eps, factor)
        self._saved = x, self._mean, self._rstd

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Normalise with the running statistics."""
        running = self.buffers["running_mean"], self.buffers["running_var"]
        _norms.batch_norm_inference_into(x, *self._affine(), y, *running, self.eps)

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Dx, and the gradients of weight and bias in the same call."""
        x, mean, rstd = saved
        _norms.batch_norm_backward_into(grad, x, mean, rstd, self.parameters.get("weight"), dx, *self._changes)


class Maxout(Layer):
    """The largest of each ``pieces`` neighbours: (rows, inputs) to (rows, inputs / pieces) (Goodfellow et al. 2013,
    arXiv:1302.4389).

    Parameters
    ----------
    pieces : whole number from 1 to 256 that divides the width
    inputs : the width, needed only where no layer stands before
    """

    reads_input = reads_output = False

    def __init__(self, pieces: int = 2, inputs: int | None = None) -> None:
        """Check the arguments."""
        super().__init__()
        self.pieces = _checks.whole("Maxout", "pieces", pieces, 1)
        if self.pieces > 256:
            raise ValueError(f"Maxout: expected pieces from 1 to 256, got {pieces}")
        if inputs is not None:
            self.connect(_checks.whole("Maxout", "inputs", inputs, 1))

    def connect(self, inputs: int) -> None:
        """Take the width, which pieces must divide."""
        if self.inputs is None:
            if inputs % self.pieces:
                raise ValueError(
                    f"Maxout: expected a multiple of pieces={self.pieces} inputs, got {inputs}; change the layer before"
                )
            self.inputs, self.outputs = inputs, inputs // self.pieces

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Lay out the workspaces."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        self.workspaces["output"] = Workspace(self.outputs, dtype)
        self.workspaces["index"] = Workspace(self.outputs, np.uint8)
        self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"layer": "Maxout", "pieces": self.pieces, "inputs": self.inputs}

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The maxima; in training, which piece won is kept."""
        rows = len(x)
        if training:
            y, index = self.workspaces["output"].rows(rows), self.workspaces["index"].rows(rows)
            self._saved = index
        else:
            y, index = np.empty((rows, self.outputs), x.dtype), np.empty((rows, self.outputs), np.uint8)
        functional.maxout_into(x, y, index, self.pieces)
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Grad to the piece that won."""
        index = taken(self)
        dx = self.workspaces["dx"].rows(len(grad))
        functional.maxout_backward_into(grad, index, dx, self.pieces)
        return dx
