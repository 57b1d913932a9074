"""What a layer is: the base class, what it declares, and the memory it is given.

A layer declares the shapes of its parameters first; the network then hands it views into flat arrays. A custom layer
subclasses ``Layer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from .. import backends, checks, wording
from ..memory import ParameterSpec, Workspace

__all__ = ["Layer", "Plan"]


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

    inputs: int = None  # type: ignore[assignment] # None: not known before ``connect``
    outputs: int = None  # type: ignore[assignment]
    reads_input = True  # backward reads forward's x
    reads_output = True  # backward reads forward's result
    in_place_forward = False  # forward can write over x where ``plan`` allows it
    in_place_backward = False  # backward can write over grad where ``plan`` allows it
    min_batch_rows = 1  # the smallest batch that training can use
    zero_blocks = True  # where its slope is 0 it is flat, and no smooth function whose slope was rounded
    sublayers: tuple[Layer, ...] = ()  # the layers inside, where there are any
    attached = False  # whether it is part of a network
    dtype: np.dtype | None = None  # of that network
    trusted: ClassVar[bool] = False  # one of the library's: it returns plain arrays that nobody else keeps

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        cls.trusted = False  # a subclass of a library's layer may do anything

    def __init__(self) -> None:
        self.parameters: dict[str, np.ndarray] = {}
        self.gradients: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.frozen: frozenset[str] = frozenset()
        self.plan = Plan()
        self.workspaces: dict[str, Workspace] = {}  # memory that grows to the largest batch
        self.scratch: dict[str, Any] = {}  # memory that does not
        self._forget()

    def _forget(self) -> None:
        self._passes = backends.engine.Passes()
        self._saved: Any = None  # of the last training forward, for backward
        self._rows = 0  # of that forward
        self._pass = 0  # the number of the pass that saved it, or used it up
        self._stack: tuple[Any, int] | None = None  # a compiled stack that goes forward for the layer, and its place

    def connect(self, inputs: int) -> None:
        """Take the width of the layer before; a layer of no width of its own passes it on."""
        self.inputs = inputs if self.inputs is None else self.inputs
        self.outputs = self.inputs if self.outputs is None else self.outputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """Names, shapes and kinds of the parameters this layer wants."""
        return {}

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """Names, shapes and kinds of the layer's state that is not trained."""
        return {}

    @final
    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
        passes: Any,
    ) -> None:
        """Become part of a network: take the views, what may be overwritten, and the network's counter of passes."""
        self.parameters, self.gradients, self.buffers = parameters, gradients, buffers
        self.plan, self.workspaces, self.scratch, self.dtype = plan, {}, {}, dtype
        self._forget()
        self._passes = passes
        self.attached = True
        self.make_workspaces(dtype)

    def make_workspaces(self, dtype: np.dtype) -> None:
        """Lay out ``workspaces`` and ``scratch``, which copies of the layer do without."""

    def freeze(self, names: frozenset[str]) -> None:
        """Take note of which parameters and buffers are frozen: gradients need not be computed, buffers stay."""
        self.frozen = names

    def start_as(self, weight_init: Any) -> None:
        """Take the network's initialiser for weights, where the layer was given none; None: the layer's own default."""

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

    def forward_plain(self, x: np.ndarray, training: bool) -> np.ndarray:
        """What the network calls where the layer is ``trusted``: forward of a plain x that fits."""
        raise NotImplementedError

    def backward_plain(self, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        """What the network calls where the layer is ``trusted``: backward of a plain grad that fits."""
        raise NotImplementedError

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training; with over_input, x is nobody else's and may be written over."""
        raise NotImplementedError

    def slope(self, out: np.ndarray | None = None) -> np.ndarray | None:
        """The activation's slope at the last training forward, until backward; None where there is no activation."""
        return None

    def _save(self, saved: Any, rows: int) -> None:
        self._passes.count += 1
        self._saved, self._rows, self._pass = saved, rows, self._passes.count

    def _peek(self) -> Any:
        """What the last training forward saved: the layer's own, or a stack's that went forward later."""
        saved = self._saved
        if self._stack is not None and self._stack[0].number > self._pass:
            saved = self._stack[0].saved(self._stack[1])
        if saved is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}.backward: call forward(x, training=True) first; each backward needs its own")
        return saved

    def _take(self) -> Any:
        """What the last training forward saved, for the one backward that follows it."""
        saved = self._peek()
        self._save(None, 0)
        return saved

    def __getstate__(self) -> dict[str, Any]:
        """What the layer is by itself: all but what a network gave it, and what belongs to a running step."""
        given = {"plan", "dtype", "frozen", "attached", "parameters", "gradients", "buffers", "workspaces", "scratch"}
        running = {"_passes", "_saved", "_rows", "_pass", "_stack"}
        return {name: value for name, value in vars(self).items() if name not in given | running}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Layer.__init__(self)
        vars(self).update(state)

    def __repr__(self) -> str:
        widths = [] if self.inputs is None else [f"{self.inputs} -> {self.outputs}"]
        return f"{type(self).__name__}({', '.join([*widths, *self._shown()])})"

    def _shown(self) -> Iterable[str]:
        """What is said of the layer beside its widths."""
        return wording.shown(self, without=("inputs", "outputs"))


class LibraryLayer(Layer):
    """Base of the library's layers: public calls are checked, those of a network, which has checked, are not.

    A subclass implements ``forward_plain`` and ``backward_plain`` in place of forward and backward (``SameWidth``:
    ``train_into``, ``infer_into`` and ``backward_into``); a user may override forward and backward.
    """

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """The output for x, a new array; with training, backward may follow and the result may be a reused workspace.

        Raises TypeError for another dtype than the network's, ValueError for another width, and RuntimeError for a
        layer that is not part of a network where it needs one: to have parameters, or to be trained.
        """
        name = f"{type(self).__name__}.forward"
        if not self.attached and (training or self.parameter_specs() or self.buffer_specs()):
            raise RuntimeError(f"{name}: expected the layer to be part of a network, which gives it its memory")
        array = self._plain(name, "x", x, self.inputs)
        if training:
            return self.forward_plain(array.copy() if self.plan.over_input else array, True)
        y = self.forward_plain(array, False)
        return y.copy() if np.may_share_memory(y, x) else y  # what returns x as it is, in a network

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """Fill the gradients and return the gradient with respect to forward's x.

        Raises RuntimeError without a training forward before it, TypeError for another dtype than the network's, and
        ValueError for another shape than forward's result.
        """
        name = f"{type(self).__name__}.backward"
        saved = self._peek()
        rows = self._rows if saved is self._saved else len(saved[0])  # a stack's begin with x
        array = self._plain(name, "grad", grad, self.outputs)
        if len(array) != rows:
            raise ValueError(f"{name}: expected grad to have {rows} rows, as forward's x had, got {len(array)}")
        return self.backward_plain(array.copy() if self.plan.over_grad else array, need_input_grad)

    def _plain(self, function: str, name: str, value: Any, columns: int | None) -> np.ndarray:
        array = checks.matrix(function, name, value, columns, self.dtype)
        if self.dtype is not None and array.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"{function}: expected {name} to be {self.dtype} like the network, got {array.dtype}; "
                f"convert with {name}.astype({str(self.dtype)!r})"
            )
        return checks.plain(array)

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training; with over_input, x is nobody else's and may be written over."""
        return self.forward_plain(x, False)


class SameWidth(LibraryLayer):
    """Base of the layers whose output is as wide as their input; they can take the width of the layer before."""

    in_place_backward = True

    def __init__(self, inputs: int | None = None) -> None:
        """``inputs`` is the width, needed only where no layer stands before."""
        super().__init__()
        if inputs is not None:
            self.inputs = self.outputs = checks.whole(type(self).__name__, "inputs", inputs, 1)

    def make_workspaces(self, dtype: np.dtype) -> None:
        """Memory for the results that may not take the place of x or grad."""
        if not self.plan.over_input:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not self.plan.over_grad:
            self.workspaces["dx"] = Workspace(self.inputs, dtype)

    def describe(self) -> dict[str, Any]:
        """The class and the width; subclasses add their arguments."""
        return {"layer": type(self).__name__, "inputs": self.inputs}

    def forward_plain(self, x: np.ndarray, training: bool) -> np.ndarray:
        """The output; while training in the plan's memory."""
        if not training:
            return self.infer(x, False)
        y = x if self.plan.over_input else self.workspaces["output"].rows(len(x))
        self.train_into(x, y)
        return y

    def backward_plain(self, grad: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        """The gradients of the parameters, where there are any, and of x."""
        dx = grad if self.plan.over_grad else self.workspaces["dx"].rows(len(grad))
        self.backward_into(self._take(), grad, dx)
        return dx

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """The output when not training."""
        y = x if over_input else np.empty_like(x)
        self.infer_into(x, y)
        return y

    def train_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which is x where the plan says so; saves what backward needs."""
        raise NotImplementedError

    def infer_into(self, x: np.ndarray, y: np.ndarray) -> None:
        """Forward into y, which may be x, without keeping anything."""
        raise NotImplementedError

    def backward_into(self, saved: Any, grad: np.ndarray, dx: np.ndarray) -> None:
        """Gradients of the parameters, and of x into dx, which may be grad."""
        raise NotImplementedError
