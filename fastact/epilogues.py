"""What follows ``x @ weight + bias`` in a dense layer: an elementwise activation, a learned one, or maxout.

One class a kind, one interface (``Epilogue``); who applies an epilogue never asks which kind it is. The objects are
what ``fastact.activation(name, **parameters)`` returns. A new kind is one more class here and its name in
``activation``.

Saved state, that is what backward reads: ``"y"`` the output itself, ``"slope"`` the activation's slope, ``"z"`` the
sums before a learned activation, ``"index"`` which of maxout's pieces won, ``"none"``.
"""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from . import backends, checks, registry, wording
from .memory import ParameterSpec
from .registry import ACTIVATIONS, LEARNED, Entry, LearnedEntry, Parameter

__all__ = ["Epilogue", "activation", "custom_activation", "slope"]

ROW_FUNCTIONS = ("softmax", "log_softmax")
MOST_PIECES = 256  # of maxout: the index of the winner is a byte

Array = np.ndarray
Kernel = tuple[int, float, float]  # a kernel's number and the activation's two parameters
_LEARNED_NUMBERS = {name: number for number, name in enumerate(LEARNED)}
_NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}
_IDENTITY = _NUMBERS["identity"]


@dataclass
class ParameterGradients:
    """Where the gradients of weight, bias and the epilogue's parameter go, and which are added to what is there.

    Without any, backward computes the gradient of x alone.
    """

    dw: Array | None = None
    db: Array | None = None
    dparameter: Array | None = None
    add_to_dw: bool = False
    add_to_db: bool = False
    add_to_dparameter: bool = False


class Epilogue(ABC):
    """What a dense layer does with z = x @ weight + bias.

    Arrays are native and aligned, of one dtype and of matching shapes; all but x and weight are C-contiguous too.
    ``parameter`` is the array of what the epilogue learns, None where it learns nothing.
    """

    name: str
    saves: str
    init: str = "he"  # the scheme that suits the weights
    zero_blocks: bool = False  # a slope of 0 is exact, and gives 0 whatever the gradient is
    learns: bool = False  # whether it has a parameter
    kernels: tuple[Kernel, Kernel] | None = None  # forward and backward, for whole passes in one call

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """What ``activation`` was given, by name, as JSON."""

    def columns(self, outputs: int) -> int:
        """Columns of the product for that many outputs."""
        return outputs

    def outputs(self, function: str, columns: int) -> int:
        """Outputs of a layer whose weight has that many columns; ValueError where they do not fit."""
        return columns

    def parameter_spec(self, outputs: int) -> ParameterSpec | None:
        """The parameter that it learns, if any."""
        return None

    def initial_parameter(self) -> Any:
        """The first value of that parameter."""
        return None

    def parameter_array(self, function: str, dtype: np.dtype, outputs: int | None) -> Array | None:
        """The parameter that came with the epilogue as a plain array; TypeError or ValueError where it does not fit."""
        return None

    def saved_dtype(self, dtype: np.dtype) -> np.dtype | None:
        """Of the array that holds the saved state; None where that is y or nothing."""
        return None if self.saves in ("y", "none") else dtype

    @abstractmethod
    def forward_into(
        self, x: Array, weight: Array, bias: Array | None, y: Array, saved: Array | None, parameter: Array | None = None
    ) -> None:
        """y = f(x @ weight + bias); slope, z or index are stored to saved, where it is given, in the same pass."""

    @abstractmethod
    def backward_into(
        self,
        grad: Array,
        saved: Array | None,
        dz: Array | None,
        x: Array,
        weight: Array,
        dx: Array | None,
        into: ParameterGradients,
        parameter: Array | None = None,
    ) -> None:
        """dz = grad * f', db its column sums, dw = x.T @ dz, and dx = dz @ weight.T unless dx is None.

        saved holds what forward left there, or y, or is None where nothing is saved: there grad is dz. dz may be grad
        or saved (not for ``"index"``), or None for a workspace.
        """

    def slope(self, saved: Array, out: Array | None = None, parameter: Array | None = None) -> Array | None:
        """The activation's slope from the saved state, into out where given; None where there is no such thing."""
        return None

    def slope_at(self, x: Any, out: Array | None = None) -> Any:
        """f'(x), elementwise; TypeError where it is no function of one number."""
        raise TypeError(f"slope: expected an activation of one number, got {self}")

    @abstractmethod
    def curve(self, x: Array) -> tuple[Array, Array]:
        """For figures: values and slopes at the numbers x."""

    def __repr__(self) -> str:
        """The call of ``activation`` that makes it."""
        return f"activation({', '.join([repr(self.name), *(f'{k}={v!r}' for k, v in self.parameters.items())])})"


class Elementwise(Epilogue):
    """Base of the epilogues that treat each element alone, which also work without a product.

    They can be called as the function of their name, with the parameters that they have: any layout, ``out``, errors.
    """

    reads: str | None  # what backward reads: "x", "y", or None

    def __call__(self, x: Any, *, out: Array | None = None) -> Any:
        """y = f(x)."""
        source, target, plain, parameter = self._prepared(self.name, x, out)
        y = np.empty_like(plain)
        self.apply(plain, y, parameter)
        return checks.in_layout_of(source, y, target, x)

    @abstractmethod
    def backward(self, grad: Any, saved: Any, *, out: Array | None = None) -> Any:
        """dx = grad * f', from the second argument of the backward function: x or y, as ``reads`` says."""

    def slope_at(self, x: Any, out: Array | None = None) -> Any:
        source, target, saved, parameter = self._prepared("slope", x, out)
        if self.reads == "y":
            plain, saved = saved, np.empty_like(saved)
            self.apply(plain, saved)
        return checks.in_layout_of(source, self.derivative(saved, None, parameter), target, x)

    def curve(self, x: Array) -> tuple[Array, Array]:
        return self(x), self.slope_at(x)

    def _prepared(self, function: str, x: Any, out: Any) -> tuple[Array, Array | None, Array, Array | None]:
        """x and out, checked; x as the kernels want it; and what the epilogue learns."""
        source = checks.real_array(function, "x", x, out)
        parameter = self.parameter_array(function, source.dtype, source.shape[-1] if source.ndim else None)
        target = checks.output(function, out, source.shape, source.dtype, {"x": source})
        if parameter is not None:
            checks.disjoint(function, target, "x", **dict.fromkeys(self.parameters, parameter))
            parameter = checks.plain(parameter)
        return source, target, checks.plain(source), parameter

    @abstractmethod
    def apply(self, x: Array, y: Array, parameter: Array | None = None) -> None:
        """y = f(x) for plain arrays; y may be x."""

    @abstractmethod
    def apply_backward(
        self, grad: Array, saved: Array, dx: Array, parameter: Array | None = None, dparameter: Array | None = None
    ) -> None:
        """dx = grad * f' for plain arrays, from x or y, as the activation reads; dx may be grad or saved."""

    def derivative(self, saved: Array, out: Array | None = None, parameter: Array | None = None) -> Array:
        """f' from x or y, as the activation reads, into out where given."""
        out = np.empty_like(saved) if out is None else out
        out[...] = 1
        self.apply_backward(out, saved, out, parameter)
        return out


class FixedActivation(Elementwise):
    """An elementwise activation with its parameters filled in.

    ``reads`` is what backward reads outside of a dense layer ("x", "y" or None); ``has_slope`` is false for the
    identity. ``kernel`` and ``backward_kernel`` are (number, a, b), the latter in a dense layer, where it reads the
    slope in place of x.
    """

    def __init__(self, entry: Entry, values: tuple[float, ...]) -> None:
        self.entry, self.values = entry, values
        self.name, self.init, self.zero_blocks, self.reads = entry.name, entry.init, entry.zero_blocks, entry.saves
        self.saves = {"x": "slope", "y": "y", None: "none"}[entry.saves]
        self.has_slope = entry.saves is not None
        a, b = (*values, 0.0, 0.0)[:2]
        self.kernel = self.backward_kernel = _NUMBERS.get(self.name, -1), a, b
        if self.saves == "slope":
            number = backends.engine.BLOCKING_SLOPE if self.zero_blocks else backends.engine.SLOPE
            self.backward_kernel = number, 0.0, 0.0
        self.kernels = self.kernel, self.backward_kernel

    @property
    def parameters(self) -> dict[str, float]:
        return {p.name: v for p, v in zip(self.entry.parameters, self.values, strict=True)}

    @property
    def described(self) -> dict[str, Any]:
        """What a layer's description holds of it beside its name."""
        return {"parameters": self.parameters}

    def forward_into(
        self, x: Array, weight: Array, bias: Array | None, y: Array, saved: Array | None, parameter: Array | None = None
    ) -> None:
        number, a, b = self.kernel
        backends.current().dense(number, x, weight, bias, y, saved, a, b)

    def backward_into(
        self, grad: Array, saved: Array | None, dz: Array | None, x: Array, weight: Array, dx: Array | None,
        into: ParameterGradients, parameter: Array | None = None,
    ) -> None:  # fmt: skip
        number, a, b = self.backward_kernel
        backends.current().dense_backward(
            number, grad, saved, dz, x, weight, dx, into.dw, into.db, into.add_to_dw, into.add_to_db, a, b
        )

    def __call__(self, x: Any, *, out: Array | None = None) -> Any:
        if self.kernels is not None:
            number, a, b = self.kernel
            y = backends.engine.try_forward(number, x, out, a, b)
            if y is not None:
                return y
        return super().__call__(x, out=out)

    def backward(self, grad: Any, saved: Any, *, out: Array | None = None) -> Any:
        if self.kernels is not None:
            number, a, b = self.kernel
            dx = backends.engine.try_backward(number, grad, saved, out, a, b)
            if dx is not None:
                return dx
        function, saved_name = f"{self.name}_backward", self.entry.saved_name
        g = checks.real_array(function, "grad", grad, saved, out)
        s = checks.real_array(function, saved_name, saved, grad, out)
        checks.same_shape(function, **{"grad": g, saved_name: s})
        target = checks.output(function, out, g.shape, g.dtype, {"grad": g, saved_name: s})
        plain = checks.plain(g)
        dx = np.empty_like(plain)
        self.apply_backward(plain, checks.plain(s), dx)
        return checks.in_layout_of(g, dx, target, grad)

    def apply(self, x: Array, y: Array, parameter: Array | None = None) -> None:
        number, a, b = self.kernel
        backends.current().forward(number, x, y, a, b)

    def apply_backward(
        self, grad: Array, saved: Array, dx: Array, parameter: Array | None = None, dparameter: Array | None = None
    ) -> None:
        number, a, b = self.kernel
        backends.current().backward(number, grad, saved, dx, a, b)

    def slope(self, saved: Array, out: Array | None = None, parameter: Array | None = None) -> Array | None:
        if self.saves == "y":
            return self.derivative(saved, out)
        if self.saves == "none":
            return None
        if out is None:
            return saved.copy()
        out[...] = saved
        return out

    def __str__(self) -> str:
        """The name, with the parameters that are not defaults."""
        changed = [f"{p.name}={v:g}" for p, v in zip(self.entry.parameters, self.values, strict=True) if v != p.default]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and (self.entry, self.values) == (other.entry, other.values)

    def __deepcopy__(self, memo: dict[int, object]) -> FixedActivation:
        return self  # nothing in it changes

    def __reduce__(self) -> tuple[object, ...]:
        return _fixed, (self.name, self.values)  # the list's functions have no names to pickle them by


def _fixed(name: str, values: tuple[float, ...]) -> FixedActivation:
    return FixedActivation(ACTIVATIONS[name], values)


class CustomActivation(FixedActivation):
    """A user's activation from two NumPy functions: without a kernel."""

    def __init__(self, entry: Entry, values: tuple[float, ...] = ()) -> None:
        super().__init__(entry, values)
        self.kernels = None

    def forward_into(
        self, x: Array, weight: Array, bias: Array | None, y: Array, saved: Array | None, parameter: Array | None = None
    ) -> None:
        backends.current().dense(_IDENTITY, x, weight, bias, y, None, 0.0, 0.0)
        if saved is not None:
            saved[...] = registry.slope(self.entry, y)
        self.apply(y, y)

    def backward_into(
        self, grad: Array, saved: Array | None, dz: Array | None, x: Array, weight: Array, dx: Array | None,
        into: ParameterGradients, parameter: Array | None = None,
    ) -> None:  # fmt: skip
        dz = np.empty_like(grad) if dz is None else dz
        if self.saves == "slope":
            with np.errstate(all="ignore"):
                np.multiply(grad, saved, out=dz)  # type: ignore[arg-type] # there is a saved slope
        elif saved is not None:
            self.apply_backward(grad, saved, dz)
        backends.current().dense_backward(
            _IDENTITY, dz, None, None, x, weight, dx, into.dw, into.db, into.add_to_dw, into.add_to_db, 0.0, 0.0
        )

    def apply(self, x: Array, y: Array, parameter: Array | None = None) -> None:
        y[...] = registry.value(self.entry, x)

    def apply_backward(
        self, grad: Array, saved: Array, dx: Array, parameter: Array | None = None, dparameter: Array | None = None
    ) -> None:
        dx[...] = registry.gradient(self.entry, grad, saved)

    def __reduce__(self) -> tuple[object, ...]:
        return CustomActivation, (self.entry, self.values)

    def __repr__(self) -> str:
        return f"custom_activation({self.name!r}, ...)"


class LearnedActivation(Elementwise):
    """An activation with a weight that is trained: a number, or an array with one for all outputs or one for each."""

    saves, reads, learns = "z", "x", True

    def __init__(self, entry: LearnedEntry, weight: float | np.ndarray) -> None:
        self.entry, self.weight = entry, checks.seen(weight)
        self.name, self.init, self.zero_blocks = entry.name, entry.init, entry.zero_blocks
        self.number = _LEARNED_NUMBERS[entry.name]

    @property
    def parameters(self) -> dict[str, float | list[float]]:
        return {self.entry.weight_name: np.asarray(self.weight, np.float64).tolist()}

    def parameter_spec(self, outputs: int) -> ParameterSpec:
        size = np.size(self.weight)
        if np.ndim(self.weight) > 1 or size not in (1, outputs):
            raise ValueError(
                f"Dense: expected {self.entry.weight_name} to be one number or shape ({outputs},), one per output, "
                f"got shape {np.shape(self.weight)}"
            )
        return ParameterSpec((size,), "activation")

    def initial_parameter(self) -> float | Array:
        return self.weight

    def parameter_array(self, function: str, dtype: np.dtype, outputs: int | None) -> Array:
        return learned_weight(function, self.entry.weight_name, self.weight, dtype, outputs)

    def forward_into(
        self, x: Array, weight: Array, bias: Array | None, y: Array, saved: Array | None, parameter: Array | None = None
    ) -> None:
        backends.current().dense_learned(self.number, x, weight, bias, y, saved, parameter)

    def backward_into(
        self, grad: Array, saved: Array | None, dz: Array | None, x: Array, weight: Array, dx: Array | None,
        into: ParameterGradients, parameter: Array | None = None,
    ) -> None:  # fmt: skip
        backends.current().dense_learned_backward(
            self.number, grad, saved, dz, x, weight, dx, into.dw, into.db, parameter, into.dparameter,
            into.add_to_dw, into.add_to_db, into.add_to_dparameter,
        )  # fmt: skip

    def backward(
        self, grad: Any, saved: Any, *, out: Array | None = None, out_parameter: Array | None = None
    ) -> tuple[Array, Array]:
        """(dx, the weight's gradient), from x."""
        function, name = f"{self.name}_backward", self.entry.weight_name
        g, x = checks.real_array(function, "grad", grad, saved, out), checks.real_array(function, "x", saved, grad, out)
        checks.same_shape(function, grad=g, x=x)
        weight = self.parameter_array(function, x.dtype, x.shape[-1] if x.ndim else None)
        target = checks.output(function, out, g.shape, g.dtype, {"grad": g, "x": x})
        checks.disjoint(function, target, "grad or x", **{name: weight})
        others = {"grad": g, "x": x, **({} if target is None else {"out": target})}
        wanted = f"out_{name}"
        parameter_target = checks.output(function, out_parameter, weight.shape, g.dtype, others, wanted, exact=False)
        checks.output(function, parameter_target, weight.shape, g.dtype, {name: weight}, wanted)
        dx, dweight = checks.writable(target, g.shape, g.dtype), np.empty(weight.shape, g.dtype.newbyteorder("="))
        self.apply_backward(checks.plain(g), checks.plain(x), dx, checks.plain(weight), dweight)
        return checks.returned(dx, target), checks.returned(dweight, parameter_target)

    def apply(self, x: Array, y: Array, parameter: Array | None = None) -> None:
        backends.current().learned(self.number, x, parameter, y)

    def apply_backward(
        self, grad: Array, saved: Array, dx: Array, parameter: Array | None = None, dparameter: Array | None = None
    ) -> None:
        assert parameter is not None
        dparameter = np.empty_like(parameter) if dparameter is None else dparameter
        backends.current().learned_backward(self.number, grad, saved, parameter, dx, dparameter)

    def slope(self, saved: Array, out: Array | None = None, parameter: Array | None = None) -> Array | None:
        return self.derivative(saved, out, parameter)

    def __str__(self) -> str:
        """The name, with the weight where it is a number."""
        inner = f"{self.weight:g}" if isinstance(self.weight, float) else f"{np.size(self.weight)} learned"
        return f"{self.name}({self.entry.weight_name}={inner})"

    def __repr__(self) -> str:
        inner = repr(self.weight) if isinstance(self.weight, float) else f"<{np.size(self.weight)} numbers>"
        return f"activation({self.name!r}, {self.entry.weight_name}={inner})"


class MaxoutEpilogue(Epilogue):
    """The largest of ``pieces`` neighbouring columns for each output."""

    name, saves = "maxout", "index"

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.pieces == other.pieces

    @property
    def parameters(self) -> dict[str, int]:
        return {"pieces": self.pieces}

    def columns(self, outputs: int) -> int:
        return outputs * self.pieces

    def outputs(self, function: str, columns: int) -> int:
        if columns % self.pieces:
            raise ValueError(
                f"{function}: expected weight to have pieces={self.pieces} neighbouring columns per output, "
                f"got {columns} columns; make it (inputs, outputs * pieces)"
            )
        return columns // self.pieces

    def saved_dtype(self, dtype: np.dtype) -> np.dtype:
        return np.dtype(np.uint8)

    def forward_into(
        self, x: Array, weight: Array, bias: Array | None, y: Array, saved: Array | None, parameter: Array | None = None
    ) -> None:
        backends.current().dense_maxout(x, weight, bias, y, saved, self.pieces)

    def backward_into(
        self, grad: Array, saved: Array | None, dz: Array | None, x: Array, weight: Array, dx: Array | None,
        into: ParameterGradients, parameter: Array | None = None,
    ) -> None:  # fmt: skip
        backends.current().dense_maxout_backward(
            grad, saved, dz, x, weight, dx, into.dw, into.db, self.pieces, into.add_to_dw, into.add_to_db
        )

    def __call__(self, x: Any, *, out: Array | None = None, out_index: Array | None = None) -> tuple[Array, Array]:
        """(y, index): the largest of neighbours along the last axis, and which it was."""
        source = checks.at_least_one_axis("maxout", "x", x, out)
        if source.shape[-1] % self.pieces:
            raise ValueError(
                f"maxout: expected the last axis to be a multiple of pieces={self.pieces}, got shape {source.shape}"
            )
        shape, byte = (*source.shape[:-1], source.shape[-1] // self.pieces), np.dtype(np.uint8)
        target = checks.output("maxout", out, shape, source.dtype, {"x": source}, exact=False)
        target_index = checks.output("maxout", out_index, shape, byte, {"x": source}, "out_index", exact=False)
        if target is not None and target_index is not None and checks.overlap(target, target_index):
            raise ValueError("maxout: out overlaps out_index; pass two arrays that do not touch")
        y, index = checks.writable(target, shape, source.dtype), checks.writable(target_index, shape, byte)
        backends.current().maxout(checks.plain(source), y, index, self.pieces)
        return checks.returned(y, target), checks.returned(index, target_index)

    def backward(self, grad: Any, index: Any, *, out: Array | None = None) -> Array:
        """dx: grad at the piece that won, 0 at the others."""
        function = "maxout_backward"
        g = checks.at_least_one_axis(function, "grad", grad, out)
        number = checks.byte_array(function, "index", index, g.shape)
        if number.size and int(number.max()) >= self.pieces:
            raise ValueError(f"{function}: expected index below pieces={self.pieces}, got {number.max()}")
        shape = (*g.shape[:-1], g.shape[-1] * self.pieces)
        target = checks.output(function, out, shape, g.dtype, {"grad": g, "index": number}, exact=False)
        dx = checks.writable(target, shape, g.dtype)
        backends.current().maxout_backward(checks.plain(g), checks.plain(number), dx, self.pieces)
        return checks.returned(dx, target)

    def curve(self, x: Array) -> tuple[Array, Array]:
        """Of lines of slopes from -1 to 1, two of which make |x| and more of which touch a parabola."""
        slopes = np.linspace(-1, 1, self.pieces) if self.pieces > 1 else np.ones(1)
        y, index = self(x[:, np.newaxis] * slopes + 1 - slopes**2)
        return y[:, 0], slopes[index[:, 0]]

    def __str__(self) -> str:
        return f"maxout(pieces={self.pieces})"


# ------------------------------------------------------------------------------------------ epilogues by name


def elementwise(function: str, value: object) -> FixedActivation:
    """An elementwise activation by name, with its default parameters, or as it is; None is the identity."""
    if isinstance(value, FixedActivation):
        return value
    if value is None:
        value = "identity"
    if not isinstance(value, str):
        raise TypeError(
            f"{function}: expected activation to be a name or fastact.activation(name, ...), got "
            f"{checks.describe(value)}"
        )
    if value not in ACTIVATIONS:
        hint = wording.meant(value, (*ACTIVATIONS, *LEARNED, "maxout"))
        if value in ROW_FUNCTIONS:
            hint = (
                f"; {value} is no function of single elements: softmax_cross_entropy takes the outputs without it, "
                f"fastact.{value}(net(x)) applies it, and fastact.Activation({value!r}) is a layer of its own"
            )
        raise ValueError(f"{function}: unknown activation {value!r}; known: {', '.join(sorted(ACTIVATIONS))}{hint}")
    entry = ACTIVATIONS[value]
    return FixedActivation(entry, entry.defaults)


def epilogue(function: str, value: object, given: Mapping[str, object] | None = None) -> Epilogue:
    """What a dense layer may apply: by name, with parameters where given, or as it is; None is the identity."""
    if isinstance(value, Epilogue):
        return value
    given = dict(given or {})
    if value == "maxout":
        if set(given) != {"pieces"}:
            raise TypeError(
                f"{function}: maxout takes its number of linear maps and nothing else; "
                "pass fastact.activation('maxout', pieces=2)"
            )
        return MaxoutEpilogue(maxout_pieces(function, given["pieces"]))
    if isinstance(value, str) and value in LEARNED:
        return _learned(function, LEARNED[value], given)
    return elementwise(function, value)


def _learned(function: str, entry: LearnedEntry, given: dict[str, object]) -> LearnedActivation:
    weight = given.pop(entry.weight_name, entry.start)
    for name in given:
        raise TypeError(f"{function}: {entry.name} has no parameter {name!r}; it takes {entry.weight_name}")
    if isinstance(weight, numbers.Real):
        return LearnedActivation(entry, checks.real(function, entry.weight_name, weight, -math.inf))
    return LearnedActivation(entry, checks.real_array(function, entry.weight_name, weight))


def described(name: str, parameters: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Epilogue:
    """The epilogue whose name and ``parameters`` a file holds; a user's own is looked up in custom."""
    if custom and name in custom:
        return elementwise("load", custom[name])
    if name in LEARNED:
        return activation(name, **{key: np.asarray(value, np.float64) for key, value in parameters.items()})
    if name not in ACTIVATIONS and name != "maxout":
        raise ValueError(
            f"unknown activation {name!r}; if it is a custom one, pass custom={{{name!r}: "
            "fastact.custom_activation(...)}"
        )
    return activation(name, **parameters)


def maxout_pieces(function: str, value: object) -> int:
    """A number of maxout pieces, checked."""
    number = checks.whole(function, "pieces", value, 1)
    if number > MOST_PIECES:
        raise ValueError(f"{function}: expected pieces from 1 to {MOST_PIECES} (the index is one byte), got {number}")
    return number


def learned_weight(function: str, name: str, weight: object, dtype: np.dtype, channels: int | None) -> Array:
    """A learned activation's weight as an array of x's dtype: one number, or one a channel (None: x is 0-d)."""
    dtype = dtype.newbyteorder("=")
    if isinstance(weight, numbers.Real) and not isinstance(weight, Array):
        weight = np.asarray(weight, dtype=dtype)
    array = checks.real_array(function, name, weight, dtype)
    if array.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{function}: expected {name} to be {dtype} like x, got {array.dtype}")
    if (array.size != 1 or array.ndim > 1) and array.shape != (channels,):
        expected = "one number" if channels is None else f"one number or shape ({channels},), one per channel of x"
        raise ValueError(f"{function}: expected {name} to be {expected}, got shape {array.shape}")
    return array


def parameter(function: str, spec: Parameter, value: object) -> float:
    """A value as a float in the parameter's range."""
    return checks.real(function, spec.name, value, spec.low, spec.low_included)


def order(function: str, entry: Entry, values: tuple[float, ...]) -> None:
    """ValueError unless the values rise where the entry says that they must."""
    if entry.ordered and any(a >= b for a, b in pairwise(values)):
        names = " < ".join(p.name for p in entry.parameters)
        raise ValueError(f"{function}: expected {names}, got {' and '.join(f'{v:g}' for v in values)}")


def approximation(function: str, entry: Entry, approximate: Any) -> Entry:
    """The activation that ``approximate=`` means."""
    chosen = checks.choice(function, "approximate", approximate, ("none", *entry.approximations))
    return entry if chosen == "none" else ACTIVATIONS[entry.approximations[chosen]]


def activation(name: str, **parameters: Any) -> Epilogue:
    """An activation with its parameters filled in, for ``Dense`` and wherever an activation's name is taken.

    Beside the elementwise ones with their numbers, for dense layers also those with a learned weight, ``"prelu"`` with
    ``weight`` and ``"swish"`` with ``beta`` (a number, or an array with one for all outputs or one for each), and
    ``"maxout"`` with ``pieces``, a whole number from 1 to 256: the largest of that many linear maps.

    ``activation("gelu", approximate="tanh")`` is ``gelu_tanh``, as in the functions. What is returned can be called, as
    the function of its name: ``f(x, out=None)`` and ``f.backward(grad, saved, out=None)``. Raises ValueError for an
    unknown name or a parameter out of range, TypeError for an unknown parameter.

    >>> str(activation("leaky_relu", negative_slope=0.2))
    'leaky_relu(negative_slope=0.2)'
    """
    if name in LEARNED or name == "maxout":
        return epilogue("activation", name, parameters)
    entry = elementwise("activation", name).entry
    function = f"activation({entry.name!r})"
    if entry.approximations and "approximate" in parameters:
        entry = approximation(function, entry, parameters.pop("approximate"))
    known = {p.name for p in entry.parameters}
    for given in parameters:
        if given not in known:
            takes = f"takes {', '.join(sorted(known))}" if known else "takes no parameters"
            raise TypeError(f"{function}: {entry.name} has no parameter {given!r}; it {takes}")
    values = tuple(parameter(function, p, parameters.get(p.name, p.default)) for p in entry.parameters)
    order(function, entry, values)
    return FixedActivation(entry, values)


def slope(activation: str | Epilogue, x: Any, *, out: Array | None = None) -> Any:
    """The slope f'(x) of an activation, elementwise.

    Parameters
    ----------
    activation : a name, or ``fastact.activation(name, ...)`` with parameters of its own, or a custom one
    x : ndarray of float32 or float64, any shape
    out : ndarray, optional
        Where to put the result: exactly x, or memory that does not touch it.

    It is what backward multiplies by: where that reads the output, the slope follows from the rounded y = f(x). Raises
    TypeError for maxout, which is no function of one number, else TypeError and ValueError as the activation does.

    >>> slope("relu", np.array([-1.0, 2.0]))
    array([0., 1.])
    """
    return epilogue("slope", activation).slope_at(x, out)


def custom_activation(
    name: str,
    value: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    saves: str = "x",
) -> CustomActivation:
    """A custom activation from two NumPy functions, for ``dense``, ``Dense`` and ``Activation``.

    Parameters
    ----------
    name : an identifier that no activation of the library has; networks are saved with it, and ``load`` is given the
        activation back as ``custom={name: activation}``
    value : function of an array of float32 or float64, any shape, that returns f(x) of the same shape
    slope : the same for f', from x, or from y = f(x) where saves is "y"
    saves : "x" (default), or "y": backward needs less memory where the slope follows from the output

    Both run at NumPy's speed, in either backend. Results are rounded to the dtype of the array. Raises TypeError or
    ValueError for a name that is taken, and where the functions do not give an array of the shape they were given.

    >>> square = custom_activation("square", value=lambda x: x * x, slope=lambda x: 2 * x)
    """
    function = "custom_activation"
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{function}: expected name to be an identifier, got {name!r}")
    if name in ACTIVATIONS or name in LEARNED or name in ROW_FUNCTIONS:
        raise ValueError(f"{function}: {name} is an activation of the library; choose another name")
    checks.choice(function, "saves", saves, ("x", "y"))
    for role, given in (("value", value), ("slope", slope)):
        if not callable(given):
            raise TypeError(f"{function}: expected {role} to be a function of an array, got {checks.describe(given)}")
        with np.errstate(all="ignore"):
            result = np.asarray(given(np.linspace(-1, 1, 6).reshape(2, 3)))
        if result.shape != (2, 3) or result.dtype.kind not in "fiub":
            raise ValueError(
                f"{function}: expected {role} to return numbers of the shape it is given, (2, 3), "
                f"got {checks.describe(result)}"
            )
    entry = Entry(
        name=name, init="he", formula=f"{name}(x)", slope_formula=f"{name}'({saves})", value=value, slope=slope,
        saves=saves, limits=("value(-inf)", "value(inf)"),
    )  # fmt: skip
    return CustomActivation(entry, ())
