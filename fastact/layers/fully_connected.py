"""``Dense``: a matrix product with bias and activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks, init
from ..functional import fused as _dense
from ..memory import ParameterSpec, Workspace
from ..registry import AnyActivation, BoundLearned, BoundMaxout
from .activations import described_activation, learned_slope_of, slope_of
from .base import Layer, Plan, held, keep, taken
from .catalogue import listed


@listed
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
        self.inputs = checks.whole("Dense", "inputs", inputs, 1)
        self.outputs = checks.whole("Dense", "outputs", outputs, 1)
        self.activation = checks.dense_activation("Dense", activation)
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
        keep(self, (x, y if state is None else state))
        return y

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients of the parameters; returns the gradient of x unless it is not needed."""
        x, saved = taken(self)
        rows = len(x)
        dz = self._dz_for(saved, rows)
        if self.saves == "none":
            saved = None
        dx = self._dx.rows(rows) if need_input_grad else None
        dw: np.ndarray | None = self.gradients["weight"]
        db: np.ndarray | None = self._sums
        dparam = self.gradients.get("activation")
        if self.frozen and len(self.frozen) == len(self.parameters):
            if dx is None:
                return None
            dw = db = dparam = None
        _dense.backward_into(self._bound(), grad, saved, dz, x, self.parameters["weight"], dx, dw, db, dparam=dparam)
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
