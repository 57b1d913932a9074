"""``Sequential``: layers one after another over flat arrays of parameters; and a ``Parameter`` by itself."""

from __future__ import annotations

import copy
import fnmatch
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from . import backends, checks, init, wording
from .layers import Dense, Standardize, chain
from .layers.base import Layer, Plan
from .layers.normalization import standardization
from .memory import ALIGNMENT, Segment, Workspace, aligned_empty, fill, keep, lay_out, views
from .optim.optimizer import check_networks

__all__ = ["Parameter", "Sequential", "soft_update"]


class _Flat:
    """Flat arrays of parameters and gradients, and of buffers that are not trained, in named segments."""

    parameters: np.ndarray
    gradients: np.ndarray
    buffers: np.ndarray
    segments: tuple[Segment, ...]
    buffer_segments: tuple[Segment, ...]
    dtype: np.dtype

    def _flat(self, segments: tuple[Segment, ...]) -> np.ndarray:
        """A flat array for the segments; the padding between them stays 0."""
        array = aligned_empty((max((s.stop for s in segments), default=0),), self.dtype)
        array[...] = 0
        return array

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the parameters and buffers that ``freeze`` holds still."""
        return tuple(s.name for s in (*self.segments, *self.buffer_segments) if s.frozen)

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


class Sequential(_Flat):
    """Layers one after another, over one flat buffer of parameters and one of gradients.

    Parameters
    ----------
    *layers : the layers; each one's inputs must equal the outputs of the one before
    dtype : "float32" (default) or "float64"
    rng : seed or numpy Generator for the initial weights
    weight_init : how all layers start that were given no ``weight_init`` of their own: a name in
        ``fastact.init.INITIALIZERS`` ("torch", "glorot_uniform", ...) or an initialiser; None for the scheme that suits
        each layer's activation

    ``parameters``, ``gradients`` and ``buffers`` (what is not trained: BatchNorm's statistics) are flat 1-D arrays;
    each layer's are views of them. ``net(x)`` is inference: a new array, no shared workspace, safe from several
    threads. ``forward(x, training=True)`` returns a view that the next forward overwrites.

    ``observer`` (None: none) sees every training pass: ``observer.forward(i, layer, x, y)`` after a layer's forward
    and ``observer.backward(i, layer, grad)``, with the gradient of its output, before its backward. Where a layer works
    in place, x is y by then.
    """

    @wording.explained
    def __init__(self, *layers: Layer, dtype: Any = "float32", rng: Any = None, weight_init: Any = None) -> None:
        """Lay out the buffers and initialise the parameters."""
        generator = checks.generator("Sequential", rng)
        if weight_init is not None:
            weight_init = init.initializer("Sequential", "weight_init", weight_init)
        self._build(layers, dtype)
        with np.errstate(over="ignore"):
            for layer in self.layers:
                if weight_init is not None:
                    layer.start_as(weight_init)
                layer.initialize(generator)
        for name, array in {**self.named_parameters(), **self.named_buffers()}.items():
            if not np.isfinite(array).all():
                raise ValueError(
                    f"Sequential: expected starting values that are finite in {self.dtype}, got another one in {name}; "
                    "pass other initialisers, or dtype='float64'"
                )

    def _build(self, layers: tuple[Layer, ...], dtype: Any) -> None:
        others = set(vars(self))
        self.dtype = checks.float_dtype("Sequential", dtype)
        self.layers = chain.check_layers("Sequential", layers)
        chain.connect("Sequential", self.layers)
        self.metadata: dict[str, str] = {}
        self.observer: Any = None
        step = ALIGNMENT // self.dtype.itemsize
        self.segments = lay_out(chain.named_specs(self.layers, "parameter_specs"), step)
        self.buffer_segments = lay_out(chain.named_specs(self.layers, "buffer_specs"), step)
        self.parameters = self._flat(self.segments)
        self.gradients = self._flat(self.segments)
        self.buffers = self._flat(self.buffer_segments)
        self._attach()
        self._own = frozenset(vars(self)) - others  # what is not a subclass's

    def _attach(self) -> None:
        """Give each layer views of the flat arrays and its part of the plan."""
        parameters, gradients = self.named_parameters(), self.named_gradients()
        self._passes = backends.engine.Passes()
        chain.attach(self.layers, parameters, gradients, self.named_buffers(), Plan(), self.dtype, self._passes)
        self._before: np.ndarray | None = None
        self._trained_rows: int | None = None  # of the training forward that backward may follow
        self._trained_pass = 0  # and its number, where the layers went forward one by one
        self._stack = self._stacked()
        self._note_frozen()
        #: Where training puts the gradient of the loss, which has the shape of the outputs.
        self.output_gradients = Workspace(self.outputs, self.dtype)

    def _stacked(self) -> Any:
        """A compiled stack, which runs whole passes of dense layers in one call; None for other layers.

        A ``Standardize`` layer may stand before them.
        """
        self._front = self.layers[0] if type(self.layers[0]) is Standardize else None
        dense = self._stackable()
        if not backends.compiled or not dense or not all(type(layer) is Dense for layer in dense):
            return None
        parts = [layer.stacked() for layer in dense]
        layers = [backends.engine.StackedLayer(*part) for part in parts if part is not None]
        if len(layers) < len(parts):
            return None
        stack = backends.engine.DenseStack(layers, self._passes)
        for i, layer in enumerate(dense):
            layer._stack = stack, i
        return stack

    def _stackable(self) -> tuple[Any, ...]:
        """The layers that a stack is made of, all Dense where there is one."""
        return self.layers[self._front is not None :]

    def _for_stack(self, function: str, x: np.ndarray, training: bool) -> np.ndarray:
        """What the stack is given for x."""
        if self._front is None:
            return x
        array = self._input(function, x)
        y = self._front.workspaces["output"].rows(len(array)) if training else np.empty_like(array)
        self._front.infer_into(array, y)
        return y

    def _note_frozen(self) -> None:
        """Tell the layers what is frozen, and note where backward can stop: below, there is nothing to train."""
        frozen = chain.by_layer(dict.fromkeys(self.frozen), len(self.layers))
        for layer, own in zip(self.layers, frozen, strict=True):
            layer.freeze(frozenset(own))
        trained = {int(s.name.split(".", 1)[0]) for s in self.segments if not s.frozen}
        self._lowest = min(trained, default=len(self.layers))
        self._some_frozen = any(s.frozen for s in self.segments)
        for i, stacked in enumerate(() if self._stack is None else self._stack.layers):
            stacked.trained = i + (self._front is not None) in trained

    @property
    def inputs(self) -> int:
        """Features that the network takes."""
        return self.layers[0].inputs

    @property
    def outputs(self) -> int:
        """Outputs of the last layer."""
        return self.layers[-1].outputs

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
            raise TypeError(f"{function}: expected a mapping of names to arrays, got {checks.describe(values)}")
        given = {str(name): value for name, value in values.items()}
        if not _same_names(given, targets):
            given = _by_position(function, given, targets)
        prepared = {
            name: _from_torch(function, name, given[name], array) for name, array in targets.items() if name in given
        }
        fill(function, {name: targets[name] for name in prepared}, prepared)

    def standardize(self, x: np.ndarray | Iterator[np.ndarray]) -> None:
        """Have the network take raw data: x's columns, of shape (rows, inputs), with mean 0 and deviation 1 for it.

        x may be an iterator of such arrays, the blocks of data that are not in memory; they are gone through once.

        A ``Standardize`` layer at the front keeps their mean and deviation, which passes, ``save`` and ``state_dict``
        include. Where there is none it is put there, and the others' numbers rise: "0.weight" becomes "1.weight".
        Parameters and gradients stay where they are. Raises ValueError for no rows, NaN or infinity.
        """
        arrays = map(self._finite, x) if isinstance(x, Iterator) else [self._finite(x)]
        mean, scale = standardization(arrays, self.inputs)
        front = self.layers[0]
        if not isinstance(front, Standardize):
            front = Standardize(self.inputs)
            self._put_first(front)
        front.buffers["mean"][...], front.buffers["scale"][...] = mean, scale

    def _finite(self, x: np.ndarray) -> np.ndarray:
        array = self._input("Sequential.standardize", x)
        if not len(array) or not np.isfinite(array).all():
            raise ValueError(
                f"Sequential.standardize: expected at least one row of finite numbers, got {checks.describe(array)}"
            )
        return array

    def _put_first(self, layer: Layer) -> None:
        """A layer of buffers alone before the others, whose parameters keep their places."""
        self.layers = (layer, *self.layers)
        self.segments = _renumbered(self.segments)
        old, buffers = _renumbered(self.buffer_segments), self.buffers
        frozen = {s.name for s in old if s.frozen}
        specs = chain.named_specs(self.layers, "buffer_specs")
        laid = lay_out(specs, ALIGNMENT // self.dtype.itemsize)
        self.buffer_segments = tuple(replace(s, frozen=s.name in frozen) for s in laid)
        self.buffers = self._flat(laid)
        named = self.named_buffers()
        for name, array in views(old, buffers).items():
            named[name][...] = array
        self._attach()

    def summary(self, batch_size: int = 32) -> str:
        """A table of the layers: output shape, parameters (and how many are frozen), and memory for a batch size.

        Memory is that of training: parameters and gradients, buffers, and the workspaces that hold what goes from
        layer to layer; without the optimiser's state.
        """
        rows = checks.whole("summary", "batch_size", batch_size, 1)
        lines = [("layer", "output", "parameters", "memory")]
        item = self.dtype.itemsize
        workspaces = 0
        for i, layer in enumerate(self.layers):
            count = sum(math.prod(spec.shape) for spec in layer.parameter_specs().values())
            state = sum(math.prod(spec.shape) for spec in layer.buffer_specs().values())
            frozen = sum(s.stop - s.start for s in self.segments if s.frozen and s.name.startswith(f"{i}."))
            work = chain.workspace_bytes(layer, rows, i > 0)
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
        return wording.Text("\n".join(line.rstrip() for line in [table[0], rule, *table[1:-1], rule, table[-1], note]))

    def random_state(self) -> list[dict[str, Any]]:
        """Each layer's random state (Dropout's seed and counter), as JSON."""
        return [layer.random_state() for layer in self.layers]

    def set_random_state(self, states: Iterable[Mapping[str, Any]]) -> None:
        """Continue from what ``random_state`` returned: the next masks are those of the run it came from.

        Raises ValueError for other states, with nothing changed.
        """
        states = list(states)
        if len(states) != len(self.layers):
            raise ValueError(f"set_random_state: expected {len(self.layers)} states, one a layer, got {len(states)}")
        before = self.random_state()
        try:
            for layer, state in zip(self.layers, states, strict=True):
                layer.set_random_state(state)
        except BaseException:
            for layer, state in zip(self.layers, before, strict=True):
                layer.set_random_state(state)
            raise

    def freeze(self, *which: Any) -> None:
        """Have training leave parameters and buffers alone; ``BatchNorm`` then normalises as in inference.

        ``which`` are layers, their numbers, names ("0.weight", "0.*", "1.running_*"), or sequences of these; none: all.
        Raises ValueError where one names nothing of the network and TypeError for anything else, with nothing changed.
        """
        self._set_frozen("freeze", which or ("*",), True)

    def unfreeze(self, *which: Any) -> None:
        """Undo ``freeze``, for the same kinds of arguments."""
        self._set_frozen("unfreeze", which or ("*",), False)

    def _set_frozen(self, function: str, which: tuple[Any, ...], frozen: bool) -> None:
        names = dict.fromkeys(s.name for s in (*self.segments, *self.buffer_segments))
        places = {id(layer): place for place, layer in chain.numbered(self.layers)}
        chosen: set[str] = set()
        for item in _single(which):
            if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
                pattern = f"{item}.*"
            elif isinstance(item, Layer):
                pattern = f"{places.get(id(item), 'of another network')}.*"
            elif isinstance(item, str):
                pattern = item
            else:
                raise TypeError(
                    f"{function}: expected layers, their numbers or names of parameters, got {checks.describe(item)}"
                )
            found = [pattern] if pattern in names else fnmatch.filter(names, pattern)
            if not found:
                raise ValueError(
                    f"{function}: expected layers, numbers or names among {', '.join(names)}, got {item!r}"
                )
            chosen.update(found)
        # a new tuple: optimisers see by its identity that something changed
        self.segments, self.buffer_segments = (
            tuple(replace(s, frozen=frozen) if s.name in chosen else s for s in segments)
            for segments in (self.segments, self.buffer_segments)
        )
        self._note_frozen()

    def _input(self, function: str, x: Any) -> np.ndarray:
        array = checks.matrix(function, "x", x, self.inputs, self.dtype)
        if array.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(
                f"{function}: expected x to be {self.dtype} like the network, got {array.dtype}; "
                f"convert with x.astype({str(self.dtype)!r})"
            )
        return checks.plain(array)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs for x of shape (rows, inputs), as a new array."""
        if self._stack is not None:
            result = self._stack.infer(self._for_stack("Sequential", x, False))
            if result is not None:
                return result
        array = self._input("Sequential", x)
        result, free = chain.infer(self.layers, array)
        return result if free or not np.may_share_memory(result, x) else result.copy()

    def outputs_of(self, x: np.ndarray) -> list[np.ndarray]:
        """The outputs of each layer for x of shape (rows, inputs) when not training, as new arrays."""
        array, outputs = self._input("Sequential.outputs_of", x), []
        for layer in self.layers:
            array, _ = chain.infer((layer,), array)
            outputs.append(np.array(array))
        return outputs

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """Outputs for x; with training, a view that the next forward overwrites, and backward may follow.

        Backward may read that view, so leave it as it is until then; a loss's ``out=`` had better be other memory.
        """
        if not training:
            return self(x)
        if self._stack is not None and self.observer is None:
            result = self._stack.forward(self._for_stack("Sequential.forward", x, True))
            if result is not None:
                self._trained_rows = len(result)
                return result
        array = self._input("Sequential.forward", x)
        self._trained_rows = None
        observer = self.observer
        for i, layer in enumerate(self.layers):
            given = array
            array = layer.forward_plain(array, True) if layer.trusted else chain.checked_forward(layer, array)
            if observer is not None:
                observer.forward(i, layer, given, array)
        if observer is None:
            self._prepare_stack(len(array))
        self._trained_rows, self._trained_pass = len(array), self._passes.count
        return array

    def _prepare_stack(self, rows: int) -> None:
        """Hand the layers' workspaces for that many rows to the stack: from the next pass on it runs by itself."""
        if self._stack is None:
            return
        if rows > max(self._stack.views, default=0):
            self._stack.views.clear()  # the workspaces have grown
        views = [backends.engine.StackedViews(*layer.stacked_views(rows)) for layer in self._stackable()]
        keep(self._stack.views, rows, views)

    def backward(
        self, grad: np.ndarray, need_input_grad: bool = False, accumulate: bool = False, parameters: bool = True
    ) -> np.ndarray | None:
        """Fill ``gradients`` from the gradient of the loss with respect to forward's result.

        With ``accumulate`` they are added to what is there; with ``parameters=False`` they stay as they are, and only
        the gradient with respect to x is computed. That is returned when asked for (a view that the next backward
        overwrites), else None. Raises RuntimeError without a training forward before it; grad is not modified. What is
        frozen has no gradient: nothing is computed for it where that saves work.
        """
        need_input_grad = need_input_grad or not parameters
        if self._stack is not None and self.observer is None and not (accumulate and self._some_frozen):
            result = self._stack.backward(grad, need_input_grad, accumulate, parameters)
            if result is not None:
                self._trained_rows = None
                if need_input_grad and self._front is not None:
                    self._front.backward_into(None, result, result)
                return result if need_input_grad else None
        made_by = self._trained_pass if self._stack is None else max(self._trained_pass, self._stack.number)
        if self._trained_rows is None or made_by != self._passes.count:
            raise RuntimeError("Sequential.backward: call forward(x, training=True) first; each backward needs its own")
        array = checks.matrix("Sequential.backward", "grad", grad, self.outputs, self.dtype)
        if len(array) != self._trained_rows or array.dtype.newbyteorder("=") != self.dtype:
            raise ValueError(
                f"Sequential.backward: expected grad to be {self.dtype} of shape {(self._trained_rows, self.outputs)}, "
                f"got {array.dtype} {array.shape}"
            )
        self._trained_rows = None
        self._passes.count += 1  # used up, though all may be frozen and no layer go backward
        array = checks.plain(array)
        if parameters and not accumulate:
            return self._backward(array, need_input_grad)
        if self._before is None:
            self._before = aligned_empty(self.gradients.shape, self.dtype)
        np.copyto(self._before, self.gradients)
        dx = self._backward(array, need_input_grad)
        if not parameters:
            np.copyto(self.gradients, self._before)
            return dx
        chain.add(self.gradients, self._before, self.gradients)
        for segment in self.segments:
            if segment.frozen:
                self.gradients[segment.start : segment.stop] = 0
        return dx

    def _backward(self, array: Any, need_input_grad: bool) -> np.ndarray | None:
        """Through the layers: all of them, or down to the lowest that is trained."""
        observer = self.observer
        lowest = self._lowest if observer is None and not need_input_grad else 0
        for i in range(len(self.layers) - 1, lowest - 1, -1):
            layer, below = self.layers[i], i > lowest or need_input_grad
            if observer is not None:
                observer.backward(i, layer, array)
            array = layer.backward_plain(array, below) if layer.trusted else chain.checked_backward(layer, array, below)
        return array if need_input_grad else None

    def save(self, path: Any, optimizer: Any = None, metadata: Mapping[str, str] | None = None) -> None:
        """Write the network, and an optimiser's state if given, as .safetensors or .npz; see ``fastact.load``."""
        from .persistence import save

        save(self, path, optimizer, metadata)

    def describe(self) -> list[dict[str, Any]]:
        """The architecture as JSON."""
        return [layer.describe() for layer in self.layers]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as layers and flat arrays, and a subclass's attributes; views and workspaces are made again."""
        arrays = np.array(self.parameters), np.array(self.gradients), np.array(self.buffers)
        others = {name: value for name, value in vars(self).items() if name not in self._own and name != "_own"}
        segments = self.segments, self.buffer_segments
        return _rebuild, (type(self), self.layers, str(self.dtype), arrays, segments, self.metadata), others

    def __copy__(self) -> Sequential:
        """A deep copy: layers cannot be part of two networks."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        """The layers, on one line where they fit."""
        parts = [*map(repr, self.layers), f"{self.dtype}, {self.parameter_count} parameters"]
        line = f"Sequential({', '.join(parts)})"
        return line if len(line) <= 120 else "Sequential(\n    " + ",\n    ".join(parts) + "\n)"


class Parameter(_Flat):
    """A trainable parameter that belongs to no layer, such as the state-independent log_std of a policy.

    Parameters
    ----------
    shape : whole number, or a tuple of them
    value : finite number, or numbers of that shape, to start from
    dtype : "float32" (default) or "float64"

    ``value`` and ``gradient`` are arrays of the shape, which losses take and fill: ``out_log_std=p.gradient``.
    Optimisers, ``clip_grad_norm`` and ``soft_update`` take it beside networks: ``Adam().step(net, p)``. Weight decay
    leaves it alone, as it does biases. Its name is "value", for groups. Raises TypeError for another dtype and
    ValueError for another shape or a value that is not finite.
    """

    def __init__(self, shape: Any, value: Any = 0.0, dtype: Any = "float32") -> None:
        """Take the memory and set the value."""
        lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
        self.shape = tuple(checks.whole("Parameter", "shape", length, 0) for length in lengths)
        self.dtype = checks.float_dtype("Parameter", dtype)
        start = checks.rounded("Parameter", "value", checks.real_array("Parameter", "value", value), self.dtype)
        if start.shape not in ((), self.shape):
            raise ValueError(f"Parameter: expected value to be a number or of shape {self.shape}, got {start.shape}")
        self.segments = (Segment("value", 0, math.prod(self.shape), self.shape, "bias"),)
        self.buffer_segments = ()
        self.parameters, self.gradients, self.buffers = (
            self._flat(segments) for segments in (self.segments, self.segments, self.buffer_segments)
        )
        self.value[...] = start

    @property
    def value(self) -> np.ndarray:
        """The numbers, as a view."""
        return self.parameters.reshape(self.shape)

    @property
    def gradient(self) -> np.ndarray:
        """Their gradient, as a view."""
        return self.gradients.reshape(self.shape)

    def freeze(self) -> None:
        """Have optimisers leave it alone."""
        self.segments = (replace(self.segments[0], frozen=True),)

    def unfreeze(self) -> None:
        """Undo ``freeze``."""
        self.segments = (replace(self.segments[0], frozen=False),)

    def __copy__(self) -> Parameter:
        """A deep copy, as of networks."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        """Shape, value and dtype."""
        text = np.array2string(self.value, threshold=8, separator=", ").replace("\n", "")
        return f"Parameter({self.shape}, {text}, dtype={str(self.dtype)!r})"


def soft_update(target: _Flat, source: _Flat, tau: float) -> None:
    """Move a target network towards another: target = (1 - tau) * target + tau * source, in place (Polyak averaging).

    Parameters
    ----------
    target, source : networks, or ``Parameter`` objects, of the same parameters and buffers and of one dtype
    tau : number from 0 (target stays) to 1 (target becomes an exact copy)

    Parameters and buffers (BatchNorm's statistics) are averaged, frozen ones too: a target network is often frozen.
    What is equal stays as it is. Raises TypeError for what is no network or another dtype, ValueError for another
    layout or tau out of range, with nothing written.
    """
    name = "soft_update"
    check_networks(name, (target, source))
    fraction = checks.real(name, "tau", tau)
    if fraction > 1:
        raise ValueError(f"{name}: expected tau to be a number from 0 to 1, got {fraction!r}")
    if target.dtype != source.dtype:
        raise TypeError(f"{name}: expected target and source to have one dtype, got {target.dtype} and {source.dtype}")
    ours, theirs = ({s.name: s.shape for s in (*net.segments, *net.buffer_segments)} for net in (target, source))
    for key in {**ours, **theirs}:
        if ours.get(key) != theirs.get(key):
            raise ValueError(
                f"{name}: expected networks of the same layout, got {key} of shape {ours.get(key, 'none')} in target "
                f"and {theirs.get(key, 'none')} in source"
            )
    for mine, other in ((target.parameters, source.parameters), (target.buffers, source.buffers)):
        if fraction == 1:
            mine[...] = other
        elif fraction:
            np.add(mine, fraction * (other - mine), out=mine)


def _renumbered(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The segments where one layer has come before theirs."""
    parts = ((s, s.name.split(".", 1)) for s in segments)
    return tuple(replace(s, name=f"{int(number) + 1}.{name}") for s, (number, name) in parts)


def _single(items: Iterable[Any]) -> Iterable[Any]:
    """The items, those of sequences among them one by one."""
    for item in items:
        if isinstance(item, (list, tuple, set, frozenset, range, np.ndarray)):
            yield from _single(item)
        else:
            yield item


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
    elif array.dtype not in checks.FLOATS or not np.can_cast(array.dtype, target.dtype):
        other = f", or use a network of dtype={str(array.dtype)!r}" if array.dtype in checks.FLOATS else ""
        raise TypeError(f"{function}: expected {name} to be {target.dtype}, got {array.dtype}; convert it{other}")
    if array.shape != target.shape[::-1]:
        raise ValueError(
            f"{function}: expected {name} to have shape {target.shape[::-1]}, (out, in) for weights, got {array.shape}"
        )
    return array.T.astype(target.dtype, copy=False)


def _same_names(given: Iterable[str], targets: Iterable[str]) -> bool:
    def compared(names: Iterable[str]) -> set[str]:
        return {name for name in names if not name.endswith("num_batches_tracked")}

    return compared(given) == compared(targets) and set(given) <= set(targets)


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
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} B" if unit == "B" else f"{amount:.1f} {unit}"


def _rebuild(
    cls: type[Sequential],
    layers: tuple[Layer, ...],
    dtype: str,
    arrays: tuple[np.ndarray, np.ndarray, np.ndarray],
    segments: tuple[tuple[Segment, ...], tuple[Segment, ...]],  # of parameters, of buffers
    metadata: dict[str, str],
) -> Sequential:
    net = cls.__new__(cls)
    net._build(layers, dtype)
    net.parameters[...], net.gradients[...], net.buffers[...] = arrays
    net.segments, net.buffer_segments = segments
    net._note_frozen()
    net.metadata = dict(metadata)
    return net
