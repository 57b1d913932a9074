"""The layers. ``network.Sequential`` owns their parameters and plans what they may overwrite.

A layer declares the shapes of its parameters first; the network then hands it views into flat buffers. One's own
layer subclasses ``Layer``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _checks, _dense, functional, init, registry, runtime
from .registry import BoundActivation

__all__ = ["Dense", "Layer", "ParameterSpec", "Segment", "Sequential"]

ALIGNMENT = 64  # bytes: a cache line and the widest vector
KINDS = ("weight", "bias", "norm", "activation")


@dataclass(frozen=True)
class ParameterSpec:
    """Shape of a parameter (or buffer) and what it is: "weight", "bias", "norm" or "activation"."""

    shape: tuple[int, ...]
    kind: str = "weight"

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies by default: to weights only."""
        return self.kind == "weight"


@dataclass(frozen=True)
class Plan:
    """What the network lets a layer do with memory in training."""

    over_input: bool = False  # forward may put its result where x is
    over_grad: bool = False  # backward may put its result where grad is
    keep_output: bool = True  # backward must leave forward's result as it is


class Layer:
    """Base of all layers: maps (rows, ``inputs``) to (rows, ``outputs``).

    A subclass sets ``inputs`` and ``outputs`` (None: as the layer before says), implements ``forward`` and
    ``backward``, and where it has parameters ``parameter_specs`` and ``initialize``. In a network,
    ``parameters[name]``, ``gradients[name]`` and ``buffers[name]`` are views of the network's flat arrays;
    ``backward`` adds nothing to the gradients, it overwrites them.

    The class attributes tell the network what backward reads and who may write where. The defaults are right for any
    layer that leaves x and grad as they are.
    """

    inputs: int | None = None
    outputs: int | None = None
    reads_input = True  # backward reads forward's x
    reads_output = True  # backward reads forward's result
    in_place = False  # forward and backward can write over what they are given, where ``plan`` allows it
    native = False  # results are plain arrays of the layer's own (or of the plan's); others are checked at each call

    def __init__(self) -> None:
        """Start without parameters; the network attaches them."""
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.frozen: frozenset[str] = frozenset()
        self.plan = Plan()
        self._saved: Any = None  # what the last training forward keeps for backward

    def connect(self, inputs: int) -> None:
        """Take the width of the layer before; a layer of no width of its own passes it on."""
        self.inputs = inputs if self.inputs is None else self.inputs
        self.outputs = self.inputs if self.outputs is None else self.outputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Names, shapes and kinds of the parameters this layer wants."""
        return {}

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The same for numbers that are part of the layer's state but not trained."""
        return {}

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Take the views, and what memory this layer may overwrite."""
        self.parameters, self.gradients, self.buffers = parameters, gradients, buffers
        self.plan, self._saved = plan, None

    def freeze(self, names: frozenset[str]) -> None:
        """Take note of which parameters are frozen: their gradients need not be computed."""
        self.frozen = names

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill the parameters and buffers with starting values."""

    def random_state(self) -> dict[str, Any]:
        """State of the layer's own random numbers as JSON: what a resumed training needs to go on alike."""
        return {}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``random_state`` returned."""
        if state:
            raise ValueError(f"{type(self).__name__}.set_random_state: expected no state, got {sorted(state)}")

    def describe(self) -> dict[str, Any]:
        """What is needed to make the layer again, as JSON: the class name under "layer" and its arguments."""
        raise NotImplementedError(f"{type(self).__name__}.describe: implement it to make the layer savable")

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
        """The layer that ``describe`` described: by default, the constructor with all but "layer" as keywords."""
        return cls(**{name: value for name, value in description.items() if name != "layer"})

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output for x; with training, backward may follow and the result may be a reused workspace."""
        raise NotImplementedError

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients and return the gradient with respect to forward's x."""
        raise NotImplementedError

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The activation's slope at the last training forward, until backward; None where there is no activation."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        """All but what belongs to a network and to a running step."""
        left_out = {"parameters": {}, "gradients": {}, "buffers": {}, "_saved": None}
        return {**vars(self), **left_out}

    def __repr__(self) -> str:
        """The class and its widths."""
        return f"{type(self).__name__}({self.inputs}->{self.outputs})"


class Workspace:
    """Buffers that grow to the largest batch seen; views for a batch size are made once."""

    def __init__(self, columns: int, dtype: np.dtype) -> None:
        """No memory is taken before it is asked for."""
        self._arguments = columns, np.dtype(dtype)
        self._buffer = np.empty((0, columns), dtype)
        self._views: dict[int, np.ndarray] = {}

    def rows(self, count: int) -> np.ndarray:
        """The first count rows."""
        view = self._views.get(count)
        if view is None:
            if count > len(self._buffer):
                self._buffer = aligned_empty((count, self._buffer.shape[1]), self._buffer.dtype)
                self._views.clear()
            view = self._views[count] = self._buffer[:count]
        return view

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._buffer.nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies start empty."""
        return Workspace, self._arguments


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array whose data start on a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


class Dense(Layer):
    """y = activation(x @ weight + bias), bias and activation applied in one pass over the product.

    Parameters
    ----------
    inputs, outputs : whole numbers >= 1
    activation : a name of the registry or ``fastact.activation(name, ...)``; None for the identity
    bias : whether to add a bias
    weight_init : a name in ``fastact.init.INITIALIZERS`` ("he_uniform", "orthogonal", ...) or a function of shape and
        generator; None for the scheme that suits the activation: He, Glorot or LeCun
    bias_init : likewise, for the bias: "zeros" or "small_positive", ``fastact.init.Constant(0.1)``, ...

    ``parameters["weight"]`` has shape (inputs, outputs), ``parameters["bias"]`` (outputs,).
    """

    native = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | BoundActivation | None = None,
        *,
        bias: bool = True,
        weight_init: str | init.Initializer | None = None,
        bias_init: str | init.Initializer = "zeros",
    ) -> None:
        """Check the arguments; parameters come with the network."""
        super().__init__()
        self.inputs = _checks.whole("Dense", "inputs", inputs, 1)
        self.outputs = _checks.whole("Dense", "outputs", outputs, 1)
        self.activation = _checks.activation("Dense", activation)
        self.bias = bool(bias)
        scheme = init.default_for(self.activation.name) if weight_init is None else weight_init
        self.weight_init = init.initializer("Dense", "weight_init", scheme)
        self.bias_init = init.initializer("Dense", "bias_init", bias_init)
        self.reads_output = self.activation.entry.saves == "y"

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Weight (decayed) and bias."""
        specs = {"weight": ParameterSpec((self.inputs, self.outputs), "weight")}
        if self.bias:
            specs["bias"] = ParameterSpec((self.outputs,), "bias")
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
        self._output = Workspace(self.outputs, dtype)
        self._slope = Workspace(self.outputs, dtype)
        self._dz = Workspace(self.outputs, dtype)
        self._dx = Workspace(self.inputs, dtype)
        self._sums = gradients.get("bias", np.empty(self.outputs, dtype))

    def initialize(self, rng: np.random.Generator) -> None:
        """Weight and bias by their initialisers."""
        self.parameters["weight"][...] = init.make(self.weight_init, (self.inputs, self.outputs), rng)
        if self.bias:
            self.parameters["bias"][...] = init.make(self.bias_init, (self.outputs,), rng)

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
            _dense.forward_into(self.activation, x, weight, bias, y, None)
            return y
        rows = len(x)
        y = self._output.rows(rows)
        slope = self._slope.rows(rows) if self.activation.entry.saves == "x" else None
        _dense.forward_into(self.activation, x, weight, bias, y, slope)
        self._saved = x, y if slope is None else slope
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Gradients of weight and bias; returns the gradient of x unless it is not needed."""
        x, saved = _taken(self)
        rows = len(x)
        dz = self._dz_for(saved, rows)
        if self.activation.entry.saves is None:
            saved = None
        dx = self._dx.rows(rows) if need_input_grad else None
        weight, dw = self.parameters["weight"], self.gradients["weight"]
        _dense.backward_into(self.activation, grad, saved, dz, x, weight, dx, dw, self._sums)
        return dx

    def _dz_for(self, saved: np.ndarray, rows: int) -> np.ndarray | None:
        """Where dz goes: what was saved is read element by element, so dz may replace it, unless the user holds it.

        None where the slope is 1: there grad is dz.
        """
        if self.activation.entry.saves is None:
            return None
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
        slope = self._slope.rows(rows) if self.activation.entry.saves == "x" else None
        dz = self._dz_for(y if slope is None else slope, rows)
        return y, slope, dz, self._dx.rows(rows), self.activation.entry.saves is None

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The activation's slope at the last training forward, from y or as stored; None for the identity."""
        if self.activation.entry.saves is None:
            return None
        _, saved = _held(self)
        if self.reads_output:
            return slope_of(self.activation, saved, out)
        if out is None:
            return saved.copy()
        out[...] = saved
        return out


def _held(layer: Layer) -> Any:
    """What the last training forward kept for backward."""
    if layer._saved is None:
        name = type(layer).__name__
        raise RuntimeError(f"{name}.backward: call forward(x, training=True) first; each backward needs its own")
    return layer._saved


def _taken(layer: Layer) -> Any:
    """The same, and the layer forgets it."""
    saved = _held(layer)
    layer._saved = None
    return saved


def slope_of(bound: BoundActivation, saved: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """The activation's slope from what its backward reads, into out when given."""
    out = np.empty_like(saved) if out is None else out
    number = runtime.KERNEL_NUMBERS.get(bound.name)
    if number is not None and runtime.get_backend() == "native":
        out[...] = 1
        runtime._core.try_backward(number, out, saved, out, *(*bound.values, 0.0, 0.0)[:2])
    else:
        out[...] = registry.slope(bound.entry, saved, bound.values)
    return out


def described_activation(description: Mapping[str, Any], custom: Mapping[str, Any] | None) -> BoundActivation:
    """The activation of a layer's description, a custom one by its name."""
    name = description["activation"]
    if custom and name in custom:
        return _checks.activation("load", custom[name])
    return functional.activation(name, **description["parameters"])


from .network import Segment, Sequential  # noqa: E402 - the network needs the layers above, and people find it here
