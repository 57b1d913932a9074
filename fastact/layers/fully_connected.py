"""``Dense``: a matrix product with bias and activation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import checks, epilogues, init
from ..epilogues import Epilogue, ParameterGradients
from ..memory import ParameterSpec, Workspace
from .base import LibraryLayer
from .catalogue import listed

_NOTHING = ParameterGradients()  # all frozen


@listed
class Dense(LibraryLayer):
    """y = activation(x @ weight + bias), bias and activation applied in one pass over the product.

    Parameters
    ----------
    inputs, outputs : whole numbers >= 1
    activation : a name of the registry or ``fastact.activation(name, ...)``; None for the identity. ``"prelu"`` and
        ``"swish"`` learn their weight, which starts as given: one number, or one per output. ``"maxout"`` with its
        ``pieces`` is the largest of that many linear maps.
    bias : whether to add a bias
    weight_init : a name in ``fastact.init.INITIALIZERS`` ("he_uniform", "orthogonal", ...) or a function of shape and
        generator; "torch", "sklearn" or "keras" starts weights and biases as that library does. None for what the
        network gives, or else the scheme that suits the activation: He, Glorot or LeCun
    bias_init : likewise, for the bias: "small_positive", ``fastact.init.Constant(0.1)``, ...; None for zeros, or what
        ``weight_init`` says of biases

    ``parameters["weight"]`` has shape (inputs, outputs), ``parameters["bias"]`` (outputs,); with maxout there are
    outputs * pieces columns, an output's pieces side by side. ``parameters["activation"]`` is what prelu or swish
    learns, of shape (1,) or (outputs,).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: str | Epilogue | None = None,
        *,
        bias: bool = True,
        weight_init: str | init.Initializer | None = None,
        bias_init: str | init.Initializer | None = None,
    ) -> None:
        super().__init__()
        self.inputs = checks.whole("Dense", "inputs", inputs, 1)
        self.outputs = checks.whole("Dense", "outputs", outputs, 1)
        self.activation = epilogues.epilogue("Dense", activation)
        self.zero_blocks = self.activation.zero_blocks
        self.columns = self.activation.columns(self.outputs)
        self.bias = bool(bias)
        self._given_inits = weight_init, bias_init
        self.start_as(None)
        self.saves = self.activation.saves
        self.reads_output = self.saves == "y"
        self._learned = self.activation.parameter_spec(self.outputs)

    def start_as(self, weight_init: str | init.Initializer | None) -> None:
        weight, bias = self._given_inits
        own = weight_init if weight is None else weight
        name, scheme = self.activation.name, self.activation.init
        self.weight_init, self.bias_init = init.for_layer("Dense", own, bias, name, scheme)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        specs = {"weight": ParameterSpec((self.inputs, self.columns), "weight")}
        if self.bias:
            specs["bias"] = ParameterSpec((self.columns,), "bias")
        if self._learned is not None:
            specs["activation"] = self._learned
        return specs

    def make_workspaces(self, dtype: np.dtype) -> None:
        self.workspaces["output"] = Workspace(self.outputs, dtype)
        self.workspaces["dx"] = Workspace(self.inputs, dtype)
        kept = self.activation.saved_dtype(dtype)
        if kept is not None:
            self.workspaces["state"] = Workspace(self.outputs, kept)
        if (self.reads_output and self.plan.keep_output) or self.saves == "index":
            self.workspaces["dz"] = Workspace(self.columns, dtype)
        db = self.gradients.get("bias", np.empty(self.columns, dtype))
        self.scratch["into"] = ParameterGradients(self.gradients["weight"], db, self.gradients.get("activation"))

    def initialize(self, rng: np.random.Generator) -> None:
        fans = self.inputs, self.outputs
        self.parameters["weight"][...] = init.make(self.weight_init, (self.inputs, self.columns), rng, fans)
        if self.bias:
            self.parameters["bias"][...] = init.make(self.bias_init, (self.columns,), rng, fans)
        if self._learned is not None:
            self.parameters["activation"][...] = self.activation.initial_parameter()

    def __getstate__(self) -> dict[str, Any]:
        """Without initialisers that cannot be pickled: what follows has its weights."""
        state = super().__getstate__()
        given = tuple(None if init.is_local(value) else value for value in self._given_inits)
        known = init.for_layer("Dense", None, None, self.activation.name, self.activation.init)
        both = zip(("weight_init", "bias_init"), known, strict=True)
        return state | {"_given_inits": given} | {key: value for key, value in both if init.is_local(state[key])}

    def _shown(self) -> Iterable[str]:
        """The activation; nothing of the initialisers, whose work is done."""
        activation = [] if self.activation.name == "identity" else [str(self.activation)]
        return [*activation, *([] if self.bias else ["bias=False"])]

    def describe(self) -> dict[str, Any]:
        return {
            "layer": type(self).__name__,
            "inputs": self.inputs,
            "outputs": self.outputs,
            "activation": self.activation.name,
            "parameters": self.activation.parameters,
            "bias": self.bias,
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Dense:
        """The layer that ``describe`` described."""
        activation = epilogues.described(description["activation"], description["parameters"], custom)
        return cls(description["inputs"], description["outputs"], activation, bias=description["bias"])

    def forward_plain(self, x: np.ndarray, training: bool) -> np.ndarray:
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        rows, parameter = len(x), self.parameters.get("activation")
        if not training:
            y = np.empty((rows, self.outputs), weight.dtype)
            self.activation.forward_into(x, weight, bias, y, None, parameter)
            return y
        y, state = self.workspaces["output"].rows(rows), self._state(rows)
        self.activation.forward_into(x, weight, bias, y, state, parameter)
        self._save((x, y if state is None else state), rows)
        return y

    def backward_plain(self, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        x, saved = self._take()
        rows, trained = len(x), len(self.frozen) < len(self.parameters)
        dx = self.workspaces["dx"].rows(rows) if need_input_grad else None
        if trained or need_input_grad:
            self.activation.backward_into(
                grad,
                None if self.saves == "none" else saved,
                self._dz_for(saved, rows),
                x,
                self.parameters["weight"],
                dx,
                self.scratch["into"] if trained else _NOTHING,
                self.parameters.get("activation"),
            )
        return dx

    def _state(self, rows: int) -> np.ndarray | None:
        """Where the saved state goes that is not y."""
        return self.workspaces["state"].rows(rows) if "state" in self.workspaces else None

    def _dz_for(self, saved: np.ndarray, rows: int) -> np.ndarray | None:
        """Where dz goes: what was saved is read element by element, so dz may replace it, unless the user has it.

        None where the slope is 1: there grad is dz. Maxout's dz is wider than what was saved.
        """
        if self.saves == "none":
            return None
        return self.workspaces["dz"].rows(rows) if "dz" in self.workspaces else saved

    def stacked(self) -> tuple[Any, ...] | None:
        """The layer's kernels and arrays for a compiled stack; None where its activation has no kernels."""
        kernels = self.activation.kernels
        if kernels is None:
            return None
        weight, bias = self.parameters["weight"], self.parameters.get("bias")
        return *kernels, weight, bias, self.gradients["weight"], self.scratch["into"].db

    def stacked_views(self, rows: int) -> tuple[Any, ...]:
        """The layer's workspaces for that many rows: y, slope, dz, dx, and whether the layer is linear."""
        y, slope = self.workspaces["output"].rows(rows), self._state(rows)
        dz = self._dz_for(y if slope is None else slope, rows)
        return y, slope, dz, self.workspaces["dx"].rows(rows), self.saves == "none"

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        _, saved = self._peek()
        return self.activation.slope(saved, out, self.parameters.get("activation"))
