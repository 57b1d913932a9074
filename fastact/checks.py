"""Checks of arguments that public functions share.

A message names the function, what was expected, what came, and how to fix it. Everything is checked before anything
is written.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import dtypes, wording

FLOATS = tuple(row.dtype for row in dtypes.FLOATS)

#: What is said of negative weights: they are met where a policy is trained.
ADVANTAGES = """; advantages, which may be negative, scale the gradient:
    loss, grad = fastact.softmax_cross_entropy(net.forward(x, training=True), actions)
    grad *= advantages[:, None]
    net.backward(grad)"""


def describe(value: object) -> str:
    """What came, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, np.generic):
        return f"a NumPy {value.dtype} scalar"
    return type(value).__name__


def real_array(function: str, name: str, value: object, *beside: object) -> np.ndarray:
    """Value as a float32 or float64 ndarray of any layout and byte order, without a copy.

    What shows its CPU memory (``viewed``) is looked at where it lies. A Python number and a list of them have no dtype:
    they become float64, or what the first array (or dtype) beside them is.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array, which the kernels would ignore; fill it first")
    if isinstance(value, np.ndarray) and value.dtype.newbyteorder("=") in FLOATS:
        return value.view(np.ndarray) if type(value) is not np.ndarray else value
    if isinstance(value, np.floating):
        return real_array(function, name, np.asarray(value), *beside)
    view = None if isinstance(value, np.ndarray) else viewed(function, name, value)
    if view is not None:
        if view.dtype.newbyteorder("=") in FLOATS:
            return view
        got = f"{describe(value)} of {view.dtype}"
        raise TypeError(
            f"{function}: expected float32 or float64, got {got}; convert with np.asarray({name}, np.float32)"
        )
    dtypes_beside = (one if isinstance(one, np.dtype) else getattr(seen(one), "dtype", None) for one in beside)
    floats = (one.newbyteorder("=") for one in dtypes_beside if isinstance(one, np.dtype))
    dtype = next((one for one in floats if one in FLOATS), None)
    if isinstance(value, np.ndarray):
        hint = f"convert with {name}.astype(np.{dtype or 'float32'})"
        raise TypeError(f"{function}: expected float32 or float64, got {value.dtype}; {hint}")
    array = _untyped(function, name, value)
    if array is None:
        hint = f"convert with np.asarray({name}, dtype=np.{dtype or 'float32'})"
        raise TypeError(f"{function}: expected {name} to be a NumPy array, got {describe(value)}; {hint}")
    return array.astype(dtype or np.float64)


def viewed(function: str, name: str, value: Any) -> np.ndarray | None:
    """What an object shows of its memory, without a copy; None where it shows nothing.

    Through ``__array_interface__``, Python's buffer protocol, or ``__dlpack__``: tensors of PyTorch and arrays of JAX,
    MLX or Arrow on the CPU, ``array.array``, ``memoryview``. Raises TypeError for memory of another device and for what
    cannot be shown as it is.
    """
    if isinstance(value, (np.generic, bool, int, float, list, tuple, str, bytes)) or value is None:
        return None
    kind = type(value)
    try:
        if hasattr(kind, "__dlpack_device__") and hasattr(kind, "__dlpack__"):
            device = int(value.__dlpack_device__()[0])
            if device not in _CPU_DEVICES:
                raise TypeError(f"its memory is another device's ({getattr(value, 'device', device)})")
            return np.from_dlpack(value)
        if hasattr(value, "__array_interface__"):
            return np.asarray(value)
        view = memoryview(value)
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        if not hasattr(kind, "__dlpack__") and not hasattr(value, "__array_interface__"):
            return None
        raise TypeError(
            f"{function}: expected {name} to be an array in the CPU's memory that can be taken as it is, got "
            f"{describe(value)}: {str(error).splitlines()[0]}{_way_out(name, value)}"
        ) from error
    return np.asarray(view)


#: DLPack's numbers of memory that the CPU reads: its own, and what CUDA and ROCm have pinned.
_CPU_DEVICES = (1, 3, 11)


def _way_out(name: str, value: Any) -> str:
    """What to do with an object whose memory cannot be taken."""
    if getattr(value, "requires_grad", False):
        return f"; pass {name}.detach(), or use the function of fastact.torch, which has the gradient"
    return f"; copy it with np.asarray({name}), or from another device with its library's own function first"


def seen(value: Any) -> Any:
    """An array or dtype, or what another object shows; where that fails, it is said when its turn comes."""
    try:
        view = None if isinstance(value, (np.ndarray, np.dtype)) else viewed("", "", value)
    except TypeError:
        view = None
    return value if view is None else view


def _untyped(function: str, name: str, value: object) -> np.ndarray | None:
    """The array of a Python number, or of a list of numbers; None for anything else."""
    if isinstance(value, bool) or type(value) not in (int, float, list, tuple):
        return None
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{function}: expected {name} to be an array of numbers ({error})") from error
    return array if array.dtype.kind in "iu" or array.dtype in FLOATS else None


def same_shape(function: str, **arrays: np.ndarray) -> None:
    """All arrays have one dtype and shape."""
    (first, a), *others = arrays.items()
    for name, b in others:
        if a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
            raise TypeError(
                f"{function}: expected {first} and {name} to have one dtype, got {a.dtype} and {b.dtype}; "
                f"convert with {name}.astype({first}.dtype)"
            )
        if a.shape != b.shape:
            raise ValueError(f"{function}: expected {name} to have {first}'s shape {a.shape}, got {b.shape}")


def _same_place(a: np.ndarray, b: np.ndarray) -> bool:
    return (
        a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
        and a.strides == b.strides
        and a.shape == b.shape
    )


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a and b share memory; where that is too hard to tell, yes."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type] # the stub knows two values only
    except np.exceptions.TooHardError:
        return True


def repeats(a: np.ndarray) -> bool:
    """Whether two elements of a share memory, as in a broadcast array or in sliding windows."""
    axes = sorted((abs(step), length) for step, length in zip(a.strides, a.shape, strict=True) if length > 1)
    extent = a.itemsize  # of one element, then of all the axes that came before
    for step, length in axes:
        if step < extent:
            break
        extent += step * (length - 1)
    else:
        return False
    if a.size == 0:
        return False
    offsets = np.zeros(1, np.intp)  # such strides may still interleave without a repetition: look at every element
    for step, length in axes:
        offsets = np.add.outer(offsets, step * np.arange(length)).reshape(-1)
    offsets.sort()
    return bool(np.diff(offsets).min() < a.itemsize)


def output(
    function: str,
    out: object,
    shape: tuple[int, ...],
    dtype: np.dtype,
    sources: Mapping[str, np.ndarray],
    name: str = "out",
    exact: bool = True,
) -> np.ndarray | None:
    """Out, checked: writeable, of that shape and dtype, and each source exactly (if allowed) or disjoint."""
    if out is None:
        return None
    if isinstance(out, np.ma.MaskedArray) or not isinstance(out, np.ndarray):
        hint = f"; pass a view of its memory, np.asarray({name})" if hasattr(type(out), "__dlpack__") else ""
        raise TypeError(f"{function}: expected {name} to be a NumPy array or None, got {describe(out)}{hint}")
    dtype = dtype.newbyteorder("=")
    if out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{function}: expected {name} to be {dtype}, got {out.dtype}; nothing is cast silently")
    if out.shape != shape:
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError(f"{function}: {name} is read-only; pass a writeable array or leave {name} out")
    if repeats(out):
        raise ValueError(
            f"{function}: {name} overlaps itself (strides {out.strides}); pass an array whose elements do not"
        )
    for source, array in sources.items():
        if overlap(out, array) and not (exact and _same_place(out, array)):
            allowed = f"exactly {source} or " if exact else ""
            raise ValueError(f"{function}: {name} overlaps {source}; pass {allowed}memory that does not touch it")
    return out


def in_layout_of(source: np.ndarray, result: np.ndarray, target: np.ndarray | None, given: object) -> Any:
    """The result in the target, else in a new array of source's memory order; a scalar where a scalar was given."""
    if target is None:
        target = np.empty_like(source, dtype=result.dtype, subok=False)
        target[...] = result
        return target[()] if isinstance(given, (np.generic, int, float)) else target
    target[...] = result
    return target


def writable(target: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The target where the kernels can write to it, else memory for a plain result."""
    if target is not None and is_plain(target):
        return target
    return np.empty(shape, dtype.newbyteorder("="))


def returned(result: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """The target holding the result, or the result where no target was given."""
    if target is None or target is result:
        return result
    target[...] = result
    return target


def at_least_one_axis(function: str, name: str, value: object, *beside: object) -> np.ndarray:
    """A float array that is no scalar."""
    array = real_array(function, name, value, *beside)
    if array.ndim == 0:
        raise ValueError(f"{function}: expected {name} to have at least one dimension, got a scalar")
    return array


def byte_array(function: str, name: str, value: object, shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of that shape."""
    if not isinstance(value, np.ndarray):
        value = seen(value)
    if not isinstance(value, np.ndarray) or value.dtype != np.uint8:
        raise TypeError(f"{function}: expected {name} to be a uint8 array, got {describe(value)}")
    if value.shape != shape:
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {value.shape}")
    return value


def matrix(function: str, name: str, value: object, columns: int | None = None, *beside: object) -> np.ndarray:
    """A 2-D float array, with that many columns when a number is given."""
    array = real_array(function, name, value, *beside)
    if array.ndim != 2:
        raise ValueError(f"{function}: expected {name} to have 2 dimensions (rows, columns), got shape {array.shape}")
    if columns is not None and array.shape[1] != columns:
        raise ValueError(f"{function}: expected {name} to have {columns} columns, got shape {array.shape}")
    return array


def labels(function: str, value: object, rows: int, classes: int, ignored: int | None = None) -> np.ndarray:
    """Class numbers as contiguous int64 in [0, classes), or the ignored number."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"{function}: expected labels to be whole class numbers or rows of probabilities, got {describe(value)}; "
            "convert class numbers with labels.astype(np.int64)"
        )
    if array.shape != (rows,):
        raise ValueError(f"{function}: expected labels of shape ({rows},), one per row of logits, got {array.shape}")
    counted = array if ignored is None else array[array != ignored]
    if counted.size and (int(counted.min()) < 0 or int(counted.max()) >= classes):
        low, high = counted.min(), counted.max()
        hint = "number them from 0: classes, labels = np.unique(labels, return_inverse=True)"
        if (low, high) == (1, classes):
            hint = "they count from 1: subtract 1 (labels - 1)"
        raise ValueError(
            f"{function}: expected labels from 0 to {classes - 1} (logits have {classes} columns), "
            f"got values from {low} to {high}; {hint}"
        )
    return np.require(array, dtype=np.int64, requirements=["C", "A"])


def weights(function: str, name: str, value: object, shapes: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Finite numbers >= 0 of one of the shapes, as plain float64."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{function}: expected {name} to be an array of numbers, got {describe(value)}")
    if array.shape not in shapes:
        expected = " or ".join(map(str, dict.fromkeys(shapes)))
        raise ValueError(f"{function}: expected {name} to have shape {expected}, got {array.shape}")
    array = np.require(array, dtype=np.float64, requirements=["C", "A"])
    if not (np.isfinite(array).all() and (array >= 0).all()):
        hint = ADVANTAGES if name == "sample_weight" and (array < 0).any() else ""
        raise ValueError(f"{function}: expected {name} to hold finite numbers >= 0 only{hint}")
    return array


def rounded(function: str, name: str, value: Any, dtype: np.dtype) -> Any:
    """A finite number or numbers in that dtype, or None; ValueError where one is too large for it."""
    if value is None:
        return None
    with np.errstate(over="ignore"):
        array = np.asarray(value, dtype)
    if not np.isfinite(array).all():
        wrong = np.ravel(value)[~np.isfinite(array).ravel()][0]
        raise ValueError(f"{function}: {name} holds {wrong:g}, too large for {dtype}; scale it")
    return array


def disjoint(function: str, out: np.ndarray | None, allowed: str, **arrays: object) -> None:
    """Out touches none of the arrays (anything else than an array is passed over)."""
    for name, value in arrays.items():
        array = None if out is None else seen(value)
        if out is not None and isinstance(array, np.ndarray) and overlap(out, array):
            raise ValueError(f"{function}: out overlaps {name}; pass exactly {allowed} or memory that touches neither")


def whole(function: str, name: str, value: object, low: int) -> int:
    """A whole number >= low."""
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"{function}: expected {name} to be a whole number, got {describe(value)}")
    if value < low:
        raise ValueError(f"{function}: expected {name} to be at least {low}, got {value}")
    return int(value)


def in_range(value: float, low: float, low_included: bool) -> bool:
    """Whether value is finite and from low on."""
    return (value >= low if low_included else value > low) and math.isfinite(value)


def range_text(low: float, low_included: bool) -> str:
    """Such a range in words."""
    return "a finite number" if low == -math.inf else f"a finite number {'>=' if low_included else '>'} {low:g}"


def real(function: str, name: str, value: object, low: float = 0.0, low_included: bool = True) -> float:
    """A finite number from low on."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, numbers.Real)):
        raise TypeError(f"{function}: expected {name} to be {range_text(low, low_included)}, got {describe(value)}")
    number = float(value)
    if not in_range(number, low, low_included):
        raise ValueError(f"{function}: expected {name} to be {range_text(low, low_included)}, got {number!r}")
    return number


def generator(function: str, value: object) -> np.random.Generator:
    """The generator of a seed, or the one given."""
    try:
        return np.random.default_rng(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise TypeError(f"{function}: expected rng to be a seed or a numpy Generator ({error})") from error


class Draws:
    """The generator of a seed, made when it is first asked for, or the one given: ``draws()``."""

    def __init__(self, function: str, value: object) -> None:
        self._value = value
        self._made: np.random.Generator | None = None
        if value is not None and not (type(value) is int and value >= 0):
            self._made = generator(function, value)

    def __call__(self) -> np.random.Generator:
        """The generator, always the same one."""
        if self._made is None:
            self._made = np.random.default_rng(self._value)  # type: ignore[arg-type]
        return self._made


def float_dtype(function: str, value: object) -> np.dtype:
    """A dtype that networks can have."""
    try:
        dtype = np.dtype(value)  # type: ignore[call-overload]
    except TypeError:
        dtype = np.dtype(object)
    if value is None or dtype not in FLOATS:  # None would be float64
        raise TypeError(f"{function}: expected dtype float32 or float64, got {value!r}")
    return dtype


def choice(function: str, name: str, value: object, choices: tuple[str, ...]) -> str:
    """One of the choices."""
    if not isinstance(value, str) or value not in choices:
        hint = wording.meant(value, choices)
        raise ValueError(f"{function}: expected {name} to be one of {', '.join(choices)}, got {value!r}{hint}")
    return value


def plain(array: np.ndarray) -> np.ndarray:
    """The array as the kernels want it: exact ndarray, C-contiguous, aligned, native; a copy only where needed."""
    return array if is_plain(array) else np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "A"])


def is_plain(array: np.ndarray) -> bool:
    """Whether the kernels can take the array as it is."""
    flags = array.flags
    return type(array) is np.ndarray and flags.c_contiguous and flags.aligned and array.dtype.isnative
