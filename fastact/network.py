"""``Sequential``: layers over flat arrays of parameters, and the plan of who may overwrite what; ``Residual`` too."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from . import _checks, runtime
from .layer import ALIGNMENT, KINDS, Layer, ParameterSpec, Plan, Workspace, aligned_empty
from .layers import Activation, AlphaDropout, BatchNorm, Dense, Dropout, LayerNorm, Maxout, PReLU, Swish

__all__ = ["Residual", "Segment", "Sequential"]

# ------------------------------------------------------------------------------------------ chains of layers


def connect(function: str, layers: tuple[Layer, ...], inputs: int | None = None) -> None:
    """Tell each layer the width of the one before; ValueError where that does not fit."""
    width = inputs
    for i, layer in enumerate(layers):
        if width is not None or layer.inputs is not None:
            layer.connect(layer.inputs if width is None else width)
        if layer.inputs is None or layer.outputs is None:
            raise ValueError(
                f"{function}: layer {i} ({type(layer).__name__}) does not know its width; no layer stands before it: "
                "pass inputs=..."
            )
        if width is not None and layer.inputs != width:
            before = f"layer {i - 1}'s outputs" if i else "the width before it"
            raise ValueError(f"{function}: expected layer {i} to take {width} inputs ({before}), got {layer.inputs}")
        width = layer.outputs


def check_layers(function: str, layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    """The layers, at least one, each a Layer and in one place only."""
    if not layers:
        raise ValueError(f"{function}: expected at least one layer, got none")
    seen: list[Layer] = []
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise TypeError(f"{function}: expected layer {i} to be a Layer, got {_checks.describe(layer)}")
        for one in flattened(layer):
            if any(one is other for other in seen):
                raise ValueError(f"{function}: layer {i} is there twice; make one {type(layer).__name__} a place")
            if one.attached:
                raise ValueError(
                    f"{function}: layer {i} ({type(layer).__name__}) is part of another network, which would lose it; "
                    "make a new one, and take the numbers over with set_parameters"
                )
            seen.append(one)
    return layers


def numbered(layers: Sequence[Layer], prefix: str = "") -> Iterable[tuple[str, Layer]]:
    """The layers and all inside them, with the numbers that their parameters' names begin with: "3", "3.0", ..."""
    for i, layer in enumerate(layers):
        yield f"{prefix}{i}", layer
        yield from numbered(layer.sublayers, f"{prefix}{i}.")


def flattened(layer: Layer) -> list[Layer]:
    """The layer and all inside it."""
    return [one for _, one in numbered([layer])]


def named_specs(layers: Sequence[Layer], what: str) -> dict[str, ParameterSpec]:
    """The layers' parameter_specs or buffer_specs by "number.name"."""
    return {f"{i}.{name}": spec for i, layer in enumerate(layers) for name, spec in getattr(layer, what)().items()}


def own(named: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What belongs to one layer, without the layer's number."""
    prefix = f"{number}."
    return {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}


def make_plans(layers: Sequence[Layer], last: Plan) -> list[Plan]:
    """What each layer may overwrite: a layer works in place only on what nobody keeps.

    An input is kept where the layer before reads its output in backward, or the layer itself its input; the first
    layer's belongs to the caller, and so does the last one's grad. A gradient between two layers is nobody's.
    ``last`` is the plan of the chain's end.
    """
    plans = []
    for i, layer in enumerate(layers):
        kept = i == 0 or layers[i - 1].reads_output or layer.reads_input
        end = i == len(layers) - 1
        plans.append(
            Plan(
                over_input=layer.in_place_forward and not kept,
                over_grad=layer.in_place_backward and (not end or last.over_grad),
                keep_output=end and last.keep_output,
            )
        )
    return plans


def attach(
    layers: Sequence[Layer],
    parameters: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    buffers: Mapping[str, np.ndarray],
    last: Plan,
    dtype: np.dtype,
) -> None:
    """Give each layer its views and its part of the plan."""
    for i, (layer, plan) in enumerate(zip(layers, make_plans(layers, last), strict=True)):
        layer.attach(own(parameters, i), own(gradients, i), own(buffers, i), plan, dtype)


def trusted(layer: Layer) -> bool:
    """Whether the layer is one of the library's own: it returns plain arrays that nobody else holds.

    What others return (subclasses of the library's too) is looked at each time, and copied where it is a view of what
    they were given.
    """
    return type(layer) in _TRUSTED


def trainer(layer: Layer) -> Callable[[np.ndarray, bool], np.ndarray]:
    """The layer's forward, with a look at the result where the layer is not one of the library's."""
    return layer.forward if trusted(layer) else partial(_checked_forward, layer)


def differentiator(layer: Layer) -> Callable[..., Any]:
    """Likewise the layer's backward."""
    return layer.backward if trusted(layer) else partial(_checked_backward, layer)


def _checked_forward(layer: Layer, x: np.ndarray, training: bool) -> np.ndarray:
    return _checked(layer, "forward", layer.forward(x, training), x, layer.outputs)


def _checked_backward(layer: Layer, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
    result = layer.backward(grad, need_input_grad)
    return _checked(layer, "backward", result, grad, layer.inputs) if need_input_grad else None


def _checked(layer: Layer, method: str, result: Any, given: np.ndarray, width: int | None) -> np.ndarray:
    """The result as a plain array of its own, so that the next layer may take it for what it is."""
    shape = (len(given), width)
    if not isinstance(result, np.ndarray) or result.shape != shape or result.dtype != given.dtype:
        raise ValueError(
            f"{type(layer).__name__}.{method}: expected it to return an array of {given.dtype} with shape {shape}, "
            f"got {_checks.describe(result)}"
        )
    return result.copy() if np.may_share_memory(result, given) else _checks.plain(result)


def infer(layers: Sequence[Layer], x: np.ndarray) -> tuple[np.ndarray, bool]:
    """The chain's output when not training, and whether it is memory of its own; x stays as it is."""
    array, free = x, False
    for layer in layers:
        given = array
        array = layer.infer(array, free)
        if trusted(layer):
            free = free or array is not given
        else:
            array, free = _checked(layer, "forward", array, given, layer.outputs), False
    return array, free


def add(a: np.ndarray, b: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """A + b, infinities and NaN as they come."""
    with np.errstate(all="ignore"):
        return np.add(a, b, out=out)


class Residual(Layer):
    """y = x + block(x), the block a chain of layers as wide at its end as at its beginning (He et al. 2016,
    arXiv:1512.03385).

    ``parameters`` are named as in the block: "0.weight", ... The width may come from the layer before.
    """

    reads_output = False
    in_place_forward = True
    transient = ("_forwards", "_backwards")

    def __init__(self, *block: Layer) -> None:
        """Check the block."""
        super().__init__()
        self.block = self.sublayers = check_layers("Residual", block)
        if self.block[0].inputs is not None:
            self.connect(self.block[0].inputs)

    @property
    def reads_input(self) -> bool:  # type: ignore[override]
        """Whether the block's first layer does."""
        return self.block[0].reads_input

    def connect(self, inputs: int) -> None:
        """Take the width and tell the block."""
        if self.inputs is None:
            connect("Residual", self.block, inputs)
            if self.block[-1].outputs != inputs:
                raise ValueError(
                    f"Residual: expected the block to return as many columns as it takes, {inputs}, "
                    f"got {self.block[-1].outputs}"
                )
            self.inputs = self.outputs = inputs

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The block's."""
        return named_specs(self.block, "parameter_specs")

    def buffer_specs(self) -> dict[str, ParameterSpec]:
        """The block's."""
        return named_specs(self.block, "buffer_specs")

    def attach(
        self,
        parameters: dict[str, np.ndarray],
        gradients: dict[str, np.ndarray],
        buffers: dict[str, np.ndarray],
        plan: Plan,
        dtype: np.dtype,
    ) -> None:
        """Share them out to the block, which keeps x and grad: both are needed again for the sums."""
        super().attach(parameters, gradients, buffers, plan, dtype)
        attach(self.block, parameters, gradients, buffers, Plan(over_grad=False, keep_output=False), dtype)
        end = self.block[-1]
        self._over_block = trusted(end) and not end.reads_output
        if not plan.over_input and not self._over_block:
            self.workspaces["output"] = Workspace(self.outputs, dtype)
        if not trusted(self.block[0]):
            self.workspaces["dx"] = Workspace(self.inputs, dtype)
        self._forwards = tuple(map(trainer, self.block))
        self._backwards = tuple(map(differentiator, reversed(self.block)))

    def freeze(self, names: frozenset[str]) -> None:
        """Tell the block."""
        super().freeze(names)
        for i, layer in enumerate(self.block):
            layer.freeze(frozenset(own(dict.fromkeys(names), i)))

    def initialize(self, rng: np.random.Generator) -> None:
        """The block's starting values."""
        for layer in self.block:
            layer.initialize(rng)

    def random_state(self) -> dict[str, Any]:
        """Those of the block's layers that have one, by number."""
        states = {str(i): layer.random_state() for i, layer in enumerate(self.block)}
        return {number: state for number, state in states.items() if state}

    def set_random_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``random_state`` returned."""
        if not isinstance(state, Mapping) or set(state) != set(self.random_state()):
            raise ValueError(
                f"Residual.set_random_state: expected states of the layers {sorted(self.random_state())}, got {state!r}"
            )
        for number, inner in state.items():
            self.block[int(number)].set_random_state(inner)

    def describe(self) -> dict[str, Any]:
        """The block's layers."""
        return {"layer": "Residual", "block": [layer.describe() for layer in self.block]}

    @classmethod
    def from_description(cls, description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Residual:
        """The layer that ``describe`` described."""
        return cls(*(layer_from(inner, custom) for inner in description["block"]))

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """X + block(x)."""
        if not training:
            return self.infer(x, False)
        array = x
        for forward in self._forwards:
            array = forward(array, True)
        y = x if self.plan.over_input else array if self._over_block else self.workspaces["output"].rows(len(x))
        self._saved = True
        return add(array, x, y)

    def backward(self, grad: np.ndarray, need_input_grad: bool = True) -> np.ndarray | None:
        """The block's gradient plus grad."""
        if self._saved is None:
            raise RuntimeError("Residual.backward: call forward(x, training=True) first; each backward needs its own")
        self._saved = None
        array = grad
        for backward in self._backwards[:-1]:
            array = backward(array)
        dx = self._backwards[-1](array, need_input_grad)
        if not need_input_grad:
            return None
        return add(dx, grad, self.workspaces["dx"].rows(len(grad)) if "dx" in self.workspaces else dx)

    def infer(self, x: np.ndarray, over_input: bool) -> np.ndarray:
        """X + block(x) when not training."""
        y, free = infer(self.block, x)
        return add(y, x, x if over_input else y if free else None)


#: The layers that a file can name; others come from ``custom``.
LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls
    for cls in (Activation, AlphaDropout, BatchNorm, Dense, Dropout, LayerNorm, Maxout, PReLU, Residual, Swish)
}


def workspace_bytes(layer: Layer, rows: int, input_grad: bool) -> int:
    """What the layer's workspaces take for so many rows, without its dx where nobody needs it."""
    own_bytes = sum(w.bytes_for(rows) for name, w in layer.workspaces.items() if input_grad or name != "dx")
    inner = enumerate(layer.sublayers)
    return own_bytes + sum(workspace_bytes(one, rows, input_grad or i > 0) for i, one in inner)


_TRUSTED = frozenset(LAYERS.values())


def layer_from(description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
    """The layer that ``describe`` described; custom maps names to one's own Layer classes and activations."""
    name = description.get("layer")
    cls = (custom or {}).get(str(name)) or LAYERS.get(str(name))
    if not isinstance(cls, type) or not issubclass(cls, Layer):
        raise ValueError(
            f"unknown layer {name!r}; known: {', '.join(LAYERS)}; pass one's own class as custom={{{name!r}: class}}"
        )
    return cls.from_description(description, custom)


# ------------------------------------------------------------------------------------------ networks


@dataclass(frozen=True)
class Segment:
    """Where a parameter lies in the flat arrays."""

    name: str  # "0.weight": layer number and parameter name
    start: int
    stop: int
    shape: tuple[int, ...]
    kind: str = "weight"  # or "bias", "norm", "activation"
    frozen: bool = False  # optimisers leave it alone

    @property
    def decayed(self) -> bool:
        """Whether weight decay applies by default: to weights only."""
        return self.kind == "weight"


class Sequential:
    """Layers one after another, over one flat buffer of parameters and one of gradients.

    Parameters
    ----------
    *layers : the layers; each one's inputs must equal the outputs of the one before
    dtype : "float32" (default) or "float64"
    rng : seed or numpy Generator for the initial weights

    ``parameters``, ``gradients`` and ``buffers`` (what is not trained: BatchNorm's statistics) are flat 1-D arrays;
    each layer's are views of them. ``net(x)`` is inference: a new array, no shared workspace, safe from several
    threads. ``forward(x, training=True)`` returns a view that the next forward overwrites.

    ``observer`` (None: none) sees every training pass: ``observer.forward(i, layer, x, y)`` after a layer's forward
    and ``observer.backward(i, layer, grad)``, with the gradient of its output, before its backward. Where a layer works
    in place, x is y by then.
    """

    def __init__(self, *layers: Layer, dtype: Any = "float32", rng: Any = None) -> None:
        """Lay out the buffers and initialise the parameters."""
        generator = _checks.generator("Sequential", rng)
        self._build(layers, dtype)
        for layer in self.layers:
            layer.initialize(generator)

    def _build(self, layers: tuple[Layer, ...], dtype: Any) -> None:
        """All but the starting values."""
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            self.dtype = np.dtype(object)
        if dtype is None or self.dtype not in _checks.FLOATS:  # None would be float64
            raise TypeError(f"Sequential: expected dtype float32 or float64, got {dtype!r}")
        self.layers = check_layers("Sequential", layers)
        connect("Sequential", self.layers)
        self.metadata: dict[str, str] = {}
        self.observer: Any = None
        step = ALIGNMENT // self.dtype.itemsize
        self.segments = lay_out(named_specs(self.layers, "parameter_specs"), step)
        self.buffer_segments = lay_out(named_specs(self.layers, "buffer_specs"), step)
        self.parameters = self._flat(self.segments)
        self.gradients = self._flat(self.segments)
        self.buffers = self._flat(self.buffer_segments)
        self._attach()

    def _flat(self, segments: tuple[Segment, ...]) -> np.ndarray:
        """A flat array for the segments; the padding between them stays 0."""
        array = aligned_empty((max((s.stop for s in segments), default=0),), self.dtype)
        array[...] = 0
        return array

    def _attach(self) -> None:
        """Give each layer views of the flat arrays and its part of the plan."""
        parameters, gradients = self.named_parameters(), self.named_gradients()
        attach(self.layers, parameters, gradients, self.named_buffers(), Plan(), self.dtype)
        self._forwards = tuple(map(trainer, self.layers))
        self._backwards = tuple(map(differentiator, self.layers))
        self._before: np.ndarray | None = None
        self._trained_rows: int | None = None
        self._tell_frozen()

    def _tell_frozen(self) -> None:
        """Tell the layers what is frozen, and note where backward can stop: below, there is nothing to train."""
        for i, layer in enumerate(self.layers):
            layer.freeze(frozenset(own({s.name: s for s in self.segments if s.frozen}, i)))
        trained = {int(s.name.split(".", 1)[0]) for s in self.segments if not s.frozen}
        lowest = min(trained, default=len(self.layers))
        self._down_to_lowest = self._backwards[:lowest:-1]
        self._lowest = self._backwards[lowest] if trained else None
        # Networks of dense layers alone run whole passes in one call; a frozen layer has less to do.
        plain = all(type(layer) is Dense and not layer.frozen for layer in self.layers)
        self._stack = stack_of(self.layers) if plain else None

    @property
    def inputs(self) -> int:
        """Features that the network takes."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].outputs

    @property
    def parameter_count(self) -> int:
        """Trainable numbers, padding not counted."""
        return sum(s.stop - s.start for s in self.segments)

    def named_parameters(self) -> dict[str, np.ndarray]:
        """Views of all parameters by name: "0.weight", "0.bias", ..."""
        return views(self.segments, self.parameters)

    def named_gradients(self) -> dict[str, np.ndarray]:
        """Views of all gradients by the parameters' names."""
        return views(self.segments, self.gradients)

    def named_buffers(self) -> dict[str, np.ndarray]:
        """Views of all that is not trained, by name: "1.running_mean", ..."""
        return views(self.buffer_segments, self.buffers)

    def set_parameters(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy named arrays into the parameters; all names, shapes and dtypes must match."""
        fill("set_parameters", self.named_parameters(), values)

    def set_buffers(self, values: Mapping[str, np.ndarray]) -> None:
        """Copy named arrays into the buffers; all names, shapes and dtypes must match."""
        fill("set_buffers", self.named_buffers(), values)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers as PyTorch names and lays them out: weights of shape (out, in).

        For ``torch.nn.Linear``, ``PReLU``, ``LayerNorm`` and ``BatchNorm1d``; "0.weight" is layer 0's. With
        ``torch.from_numpy`` for each array, a PyTorch network whose layers have the same numbers loads it.
        """
        arrays = {**self.named_parameters(), **self.named_buffers()}
        return {
            name: _as_torch(name, array) for name, array in sorted(arrays.items(), key=lambda item: _order(item[0]))
        }

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Take parameters and buffers from what ``state_dict``, or PyTorch's, returned.

        Parameters
        ----------
        values : name -> NumPy array or CPU tensor of float32 or float64. Names other than the network's ("fc1.weight",
            or numbers that count PyTorch's activations too) are taken by position: the first layer with parameters in
            values is the first one here, and so on. A missing "num_batches_tracked" is left as it is.

        Raises ValueError for other names or shapes, TypeError for other dtypes (float32 is taken into a float64
        network), with nothing changed.
        """
        function = "load_state_dict"
        targets = {**self.named_parameters(), **self.named_buffers()}
        if not isinstance(values, Mapping):
            raise TypeError(f"{function}: expected a mapping of names to arrays, got {_checks.describe(values)}")
        given = {str(name): value for name, value in values.items()}
        if not _same_names(given, targets):
            given = _by_position(function, given, targets)
        prepared = {
            name: _from_torch(function, name, given[name], array) for name, array in targets.items() if name in given
        }
        for name, array in prepared.items():
            targets[name][...] = array

    def summary(self, batch_size: int = 32) -> str:
        """A table of the layers: output shape, parameters (and how many are frozen), and memory for a batch size.

        Memory is that of training: parameters and gradients, buffers, and the workspaces that hold what goes from
        layer to layer; without the optimiser's state.
        """
        rows = _checks.whole("summary", "batch_size", batch_size, 1)
        lines = [("layer", "output", "parameters", "memory")]
        item = self.dtype.itemsize
        workspaces = 0
        for i, layer in enumerate(self.layers):
            count = sum(math.prod(spec.shape) for spec in layer.parameter_specs().values())
            state = sum(math.prod(spec.shape) for spec in layer.buffer_specs().values())
            frozen = sum(s.stop - s.start for s in self.segments if s.frozen and s.name.startswith(f"{i}."))
            work = workspace_bytes(layer, rows, i > 0)
            workspaces += work
            note = f" ({frozen} frozen)" if frozen else ""
            size = _readable((2 * count + state) * item + work)
            lines.append((f"{i} {layer!r}", f"({rows}, {layer.outputs})", f"{count}{note}", size))
        flat = self.parameters.nbytes + self.gradients.nbytes + self.buffers.nbytes
        lines.append(("total", "", f"{self.parameter_count}", _readable(flat + workspaces)))
        widths = [max(len(line[c]) for line in lines) for c in range(4)]
        table = [
            "  ".join(
                text.ljust(w) if c < 2 else text.rjust(w) for c, (text, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        rule = "-" * len(table[0])
        parts = {"parameters": self.parameters, "gradients": self.gradients, "buffers": self.buffers}
        sizes = [f"{name} {_readable(array.nbytes)}" for name, array in parts.items()]
        note = f"{', '.join(sizes)}, workspaces for {rows} rows {_readable(workspaces)}, {self.dtype}"
        return "\n".join(line.rstrip() for line in [table[0], rule, *table[1:-1], rule, table[-1], note])

    def random_state(self) -> list[dict[str, Any]]:
        """Each layer's random state (Dropout's seed and counter), as JSON."""
        return [layer.random_state() for layer in self.layers]

    def set_random_state(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Continue from what ``random_state`` returned: the next masks are those of the run it came from."""
        states = list(states)
        if len(states) != len(self.layers):
            raise ValueError(f"set_random_state: expected {len(self.layers)} states, one a layer, got {len(states)}")
        for layer, state in zip(self.layers, states, strict=True):
            layer.set_random_state(state)

    def freeze(self, *which: str | int | Layer) -> None:
        """Have optimisers leave parameters alone: layers, their numbers, or names ("0.weight", "0.*"); none: all.

        Raises ValueError, with nothing changed, where one names no parameter.
        """
        self._set_frozen("freeze", which, True)

    def unfreeze(self, *which: str | int | Layer) -> None:
        """Undo ``freeze``, for the same kinds of arguments."""
        self._set_frozen("unfreeze", which, False)

    def _set_frozen(self, function: str, which: tuple[str | int | Layer, ...], frozen: bool) -> None:
        chosen: set[str] = set()
        names = [s.name for s in self.segments]
        places = {id(layer): place for place, layer in numbered(self.layers)}
        for item in which or ("*",):
            place = places.get(id(item), item)
            pattern = item if isinstance(item, str) else f"{place}.*"
            found = fnmatch.filter(names, pattern)
            if not found:
                raise ValueError(
                    f"{function}: expected layers, numbers or names among {', '.join(names)}, got {item!r}"
                )
            chosen.update(found)
        # a new tuple: optimisers see by its identity that something changed
        self.segments = tuple(replace(s, frozen=frozen) if s.name in chosen else s for s in self.segments)
        self._tell_frozen()

    def _input(self, function: str, x: Any) -> np.ndarray:
        array = _checks.matrix(function, "x", x, self.inputs)
        if array.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"{function}: expected x to be {self.dtype} like the network, got {array.dtype}; "
                f"convert with x.astype({str(self.dtype)!r})"
            )
        return _checks.plain(array)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs for x of shape (rows, inputs), as a new array."""
        if self._stack is not None and (result := self._stack.infer(x)) is not None:
            return result
        array = self._input("Sequential", x)
        result, free = infer(self.layers, array)
        return result if free or not np.may_share_memory(result, x) else result.copy()

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for x; with training, a view that the next forward overwrites, and backward may follow.

        Backward may read that view, so leave it as it is until then; a loss's ``out=`` had better be other memory.
        """
        if not training:
            return self(x)
        if self._stack is not None and self.observer is None and (result := self._stack.forward(x)) is not None:
            self._trained_rows = len(result)
            return result
        array = self._input("Sequential.forward", x)
        if self.observer is None:
            for forward in self._forwards:
                array = forward(array, True)
            self._prepare_stack(len(array))
        else:
            for i, (layer, forward) in enumerate(zip(self.layers, self._forwards, strict=True)):
                given, array = array, forward(array, True)
                self.observer.forward(i, layer, given, array)
        self._trained_rows = len(array)
        return array

    def _prepare_stack(self, rows: int) -> None:
        """Hand the layers' workspaces for so many rows to the stack: from the next pass on it runs by itself."""
        if self._stack is None:
            return
        if rows > max(self._stack.views, default=0):
            self._stack.views.clear()  # the workspaces have grown
        layers: tuple[Any, ...] = self.layers  # all Dense
        self._stack.views[rows] = [runtime._core.StackedViews(*layer.stacked_views(rows)) for layer in layers]

    def backward(self, grad: np.ndarray, need_input_grad: bool = False, accumulate: bool = False) -> np.ndarray | None:
        """Fill ``gradients`` from the gradient of the loss with respect to forward's result.

        With ``accumulate`` they are added to what is there. Returns the gradient with respect to x when asked (a view
        that the next backward overwrites), else None. Raises RuntimeError without a training forward before it; grad is
        not modified. What is frozen has no gradient: nothing is computed for it where that saves work.
        """
        if self._stack is not None and self.observer is None:
            result = self._stack.backward(grad, need_input_grad, accumulate)
            if result is not None:
                self._trained_rows = None
                return result if need_input_grad else None
        if self._trained_rows is None:
            raise RuntimeError("Sequential.backward: call forward(x, training=True) first; each backward needs its own")
        array = _checks.matrix("Sequential.backward", "grad", grad, self.outputs)
        if len(array) != self._trained_rows or array.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"Sequential.backward: expected grad to be {self.dtype} of shape {(self._trained_rows, self.outputs)}, "
                f"got {array.dtype} {array.shape}"
            )
        self._trained_rows = None
        array = _checks.plain(array)
        if not accumulate:
            return self._backward(array, need_input_grad)
        if self._before is None:
            self._before = aligned_empty(self.gradients.shape, self.dtype)
        np.copyto(self._before, self.gradients)
        dx = self._backward(array, need_input_grad)
        add(self.gradients, self._before, self.gradients)
        for segment in self.segments:
            if segment.frozen:
                self.gradients[segment.start : segment.stop] = 0
        return dx

    def _backward(self, array: np.ndarray, need_input_grad: bool) -> np.ndarray | None:
        """Through the layers: all of them, or down to the lowest that is trained."""
        if self.observer is None and not need_input_grad:
            for backward in self._down_to_lowest:
                array = backward(array)
            if self._lowest is not None:
                self._lowest(array, False)
            return None
        for i in range(len(self.layers) - 1, -1, -1):
            if self.observer is not None:
                self.observer.backward(i, self.layers[i], array)
            array = self._backwards[i](array, i > 0 or need_input_grad)
        return array

    def save(self, path: Any, optimizer: Any = None, metadata: Mapping[str, str] | None = None) -> None:
        """Write the network, and an optimiser's state if given, as .safetensors or .npz; see ``fastact.load``."""
        from .persistence import save

        save(self, path, optimizer, metadata)

    def describe(self) -> list[dict[str, Any]]:
        """The architecture as JSON."""
        return [layer.describe() for layer in self.layers]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as layers and flat arrays; views and workspaces are made again."""
        arrays = np.array(self.parameters), np.array(self.gradients), np.array(self.buffers)
        return _rebuild, (self.layers, str(self.dtype), arrays, self.segments, self.metadata)

    def __copy__(self) -> Sequential:
        """A deep copy: layers cannot be part of two networks."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        """Shapes, and the layers that are not Dense by name."""
        inner = ", ".join(
            f"{layer.inputs}->{layer.outputs}" if type(layer) is Dense else type(layer).__name__
            for layer in self.layers
        )
        return f"Sequential({inner}, {self.dtype}, {self.parameter_count} parameters)"


# ------------------------------------------------------------------------------------------ PyTorch's layout


def _order(name: str) -> list[tuple[int, str]]:
    """Names in the order of their layers' numbers, weights before biases."""
    parts = name.split(".")
    known = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    last = known.index(parts[-1]) if parts[-1] in known else len(known)
    return [*((int(p), p) if p.isdigit() else (0, p) for p in parts[:-1]), (last, parts[-1])]


def _as_torch(name: str, array: np.ndarray) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(int(array[0]), np.int64)
    return np.array(array.T, order="C")


def _from_torch(function: str, name: str, value: Any, target: np.ndarray) -> np.ndarray:
    """A value of PyTorch's layout as an array for target."""
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    if name.endswith("num_batches_tracked"):
        array = array.astype(target.dtype).reshape(array.shape or (1,))
    elif array.dtype not in _checks.FLOATS or not np.can_cast(array.dtype, target.dtype):
        other = f", or use a network of dtype={str(array.dtype)!r}" if array.dtype in _checks.FLOATS else ""
        raise TypeError(f"{function}: expected {name} to be {target.dtype}, got {array.dtype}; convert it{other}")
    if array.shape != target.shape[::-1]:
        raise ValueError(
            f"{function}: expected {name} to have shape {target.shape[::-1]}, (out, in) for weights, got {array.shape}"
        )
    return array.T


def _same_names(given: Iterable[str], targets: Iterable[str]) -> bool:
    def wanted(names: Iterable[str]) -> set[str]:
        return {name for name in names if not name.endswith("num_batches_tracked")}

    return wanted(given) == wanted(targets) and set(given) <= set(targets)


def _by_position(function: str, given: Mapping[str, Any], targets: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The given values under the network's names: layers with parameters one after another."""

    def grouped(names: Iterable[str]) -> list[tuple[str, list[str]]]:
        groups: dict[str, list[str]] = {}
        for name in names:
            prefix, _, last = name.rpartition(".")
            groups.setdefault(prefix, []).append(last)
        return list(groups.items())

    ours, theirs = grouped(sorted(targets, key=_order)), grouped(given)
    fit = len(ours) == len(theirs) and all(_same_names(b, a) for (_, a), (_, b) in zip(ours, theirs, strict=True))
    if not fit:
        raise ValueError(
            f"{function}: expected values for {', '.join(sorted(targets, key=_order))}, or layers with the same "
            f"parameters in the same order, got {', '.join(given)}"
        )
    names = {
        f"{theirs_prefix}.{last}".lstrip("."): f"{prefix}.{last}"
        for (prefix, _), (theirs_prefix, lasts) in zip(ours, theirs, strict=True)
        for last in lasts
    }
    return {names[name]: value for name, value in given.items()}


def _readable(size: int) -> str:
    """Bytes in a unit that suits them."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


# ------------------------------------------------------------------------------------------ flat arrays


def lay_out(specs: Mapping[str, ParameterSpec], step: int) -> tuple[Segment, ...]:
    """Segments by kind, so that optimisers treat each kind in one call; each starts on a multiple of step elements."""
    segments, start = [], 0
    for name, spec in sorted(specs.items(), key=lambda item: KINDS.index(item[1].kind)):
        stop = start + math.prod(spec.shape)
        segments.append(Segment(name, start, stop, spec.shape, spec.kind))
        start = -(-stop // step) * step
    return tuple(segments)


def views(segments: tuple[Segment, ...], flat: np.ndarray) -> dict[str, np.ndarray]:
    """The segments' parts of a flat array, in their shapes."""
    return {s.name: flat[s.start : s.stop].reshape(s.shape) for s in segments}


def stack_of(layers: Iterable[Any]) -> Any:
    """The compiled stack of these layers; None without the compiled core or for an activation without a kernel."""
    parts: list[Any] = [layer.stacked() for layer in layers]
    if runtime._core is None or any(part is None for part in parts):
        return None
    stacked = runtime._core.StackedLayer
    return runtime._core.DenseStack([stacked(layer, *part) for layer, part in zip(layers, parts, strict=True)])


def fill(function: str, arrays: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    """Copy named values into arrays; ValueError, with nothing written, unless names, shapes and dtypes match."""
    for name in (*arrays, *values):
        if name not in values or name not in arrays:
            raise ValueError(f"{function}: expected exactly {', '.join(arrays)}, got {', '.join(values)}")
    for name, array in arrays.items():
        given = np.asarray(values[name])
        if given.shape != array.shape or given.dtype != array.dtype:
            raise ValueError(
                f"{function}: expected {name} to be {array.dtype} {array.shape}, got {given.dtype} {given.shape}"
            )
    for name, array in arrays.items():
        array[...] = values[name]


def network_from(
    descriptions: Iterable[Mapping[str, Any]], dtype: str, custom: Mapping[str, Any] | None = None
) -> Sequential:
    """The network that ``describe`` described, with fresh parameters."""
    return Sequential(*(layer_from(d, custom) for d in descriptions), dtype=dtype)


def _rebuild(
    layers: tuple[Layer, ...],
    dtype: str,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    segments: tuple[Segment, ...],
    metadata: dict[str, str],
) -> Sequential:
    net = Sequential.__new__(Sequential)
    net._build(layers, dtype)
    net.parameters[...], net.gradients[...], net.buffers[...] = arrays
    net.segments = segments
    net._tell_frozen()
    net.metadata = dict(metadata)
    return net
