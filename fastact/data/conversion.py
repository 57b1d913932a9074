"""Conversion of users' data, once, to arrays as the network takes them.

From lists, NumPy arrays of any number type, pandas frames and series, CPU torch tensors. Features have one converter,
targets one for each kind of them that a loss may have (``TARGETS``). ``function`` is what messages begin with.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backends, checks
from ..network import Sequential

#: What stands for a missing value, by its type's name.
MISSING = {"NoneType": "None", "NAType": "pd.NA", "NaTType": "pd.NaT"}


def numeric(function: str, name: str, value: Any) -> np.ndarray:
    """Value as an array of real numbers or booleans, its dtype kept; no copy where it is one already."""
    if type(value) is np.ndarray and value.dtype.kind in "fiub":
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{function}: {name} is a masked array, whose mask would be lost; fill it first")
    if hasattr(value, "tocsr"):
        raise TypeError(f"{function}: {name} is a sparse matrix, which is not supported; convert with {name}.toarray()")
    if type(value).__module__.partition(".")[0] == "torch":
        if value.device.type != "cpu":
            raise TypeError(f"{function}: {name} is a tensor on {value.device}; convert with {name}.cpu()")
        value = value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; torch's types that NumPy lacks
        raise ValueError(f"{function}: expected {name} to be an array of numbers ({error})") from error
    if array.dtype.kind == "O" and all(isinstance(v, (numbers.Real, np.bool_)) for v in array.flat):
        array = array.astype(np.float64)  # a frame of several number types
    if array.dtype.kind not in "fiub":
        got, hint = checks.describe(array), ""
        if array.dtype.kind in "OSUT":
            got, hint = _no_number(value, array, got), "; drop or encode what is no number"
            if name == "y":
                hint += ": classes, numbers = np.unique(y, return_inverse=True)"
        raise TypeError(f"{function}: expected {name} to hold numbers, got {got}{hint}")
    return array


def _no_number(value: Any, array: np.ndarray, got: str) -> str:
    """The first element that is no number, and its place; got where each is one, written as a text."""
    for place, element in np.ndenumerate(array):
        if isinstance(element, (str, bytes)):
            try:
                float(element)
            except ValueError:
                text = element.item() if isinstance(element, np.generic) else element
                return f"the text {text!r} at {_place(value, place)}"
        elif not isinstance(element, (numbers.Real, np.bool_)):
            return f"{MISSING.get(type(element).__name__, checks.describe(element))} at {_place(value, place)}"
    return f"{got}, numbers written as texts; convert with astype(float)" if array.size else got


def _place(value: Any, place: tuple[int, ...]) -> str:
    """Where an element is, with the column's name where it has one."""
    if len(place) < 2:
        return f"row {place[0]}" if place else "the only place"
    names = getattr(value, "columns", None)
    return f"row {place[0]}, column {place[1]}" + ("" if names is None else f" ({names[place[1]]!r})")


def floats(function: str, name: str, array: np.ndarray, dtype: np.dtype, value: Any = None) -> np.ndarray:
    """Numbers as finite plain floats of that dtype; value is what they were given as, which may name columns."""
    result = array
    if array.dtype != dtype or not checks.is_plain(array):
        with np.errstate(over="ignore"):
            result = np.require(array, dtype=dtype, requirements=["C", "A"])
    if not finite(result):
        place = tuple(np.argwhere(~np.isfinite(result))[0].tolist())
        where = _place(value, place)
        if np.isfinite(array[place]):
            raise ValueError(f"{function}: {name} holds {array[place]:g} at {where}, too large for {dtype}; scale it")
        raise ValueError(f"{function}: {name} holds NaN or infinity at {where}; clean it first")
    return result


def finite(array: np.ndarray) -> bool:
    """Whether all numbers of a plain array of float32 or float64 are finite."""
    return math.isfinite(backends.current().largest(array))


def features(function: str, net: Sequential, x: Any) -> np.ndarray:
    """Data of shape (rows, inputs) in the network's dtype."""
    array = numeric(function, "x", x)
    if array.ndim != 2 or array.shape[1] != net.inputs:
        hint = "; one row is x[None, :], one column x[:, None]" if array.ndim == 1 else ""
        raise ValueError(f"{function}: expected x of shape (rows, {net.inputs}), got {array.shape}{hint}")
    return floats(function, "x", array, net.dtype, x)


def _column(array: np.ndarray) -> np.ndarray:
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _are_labels(array: np.ndarray, classes: int, ignored: int | None) -> bool:
    """Whether these are class numbers as the loss takes them, seen at a glance."""
    if classes == 1 or array.dtype != np.int64 or not checks.is_plain(array) or type(ignored) is not int:
        return False
    _, low, high = backends.current().label_range(array, ignored)
    return low >= 0 and high < classes


def _classes(function: str, net: Sequential, y: Any, rows: int, ignored: int | None) -> np.ndarray:
    """Class numbers as int64, or rows of probabilities in the network's dtype."""
    array = numeric(function, "y", y)
    if array.shape == (rows,) and _are_labels(array, net.outputs, ignored):
        return array
    if net.outputs == 1:
        raise ValueError(
            f"{function}: expected a network with one output for each class for softmax_cross_entropy, got 1 output; "
            "for values pass loss='squared_error', for yes or no loss='bce_with_logits'"
        )
    if array.shape == (rows, net.outputs):
        return _distributions(function, floats(function, "y", array, net.dtype))
    array = _column(array)
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    elif array.dtype.kind == "f" and array.shape == (rows,):
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        if (whole != array).any():
            row = int(np.argmax(whole != array))
            raise ValueError(
                f"{function}: expected whole class numbers, got {array[row]:g} at row {row} of y; for values pass "
                "loss='squared_error'"
            )
        array = whole
    if array.shape != (rows,):
        raise ValueError(
            f"{function}: expected y to be class numbers of shape ({rows},) or probabilities of shape "
            f"({rows}, {net.outputs}), got {np.shape(y)}"
        )
    return checks.labels(function, array, rows, net.outputs, ignored)


def _distributions(function: str, array: np.ndarray) -> np.ndarray:
    """Rows of probabilities, as they are: not values to be met, nor several classes at once."""
    wrong = (array < 0).any(axis=1) | ~(np.abs(array.sum(axis=1, dtype=np.float64) - 1) <= 1e-3)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{function}: expected class numbers or rows of probabilities that sum to 1 for softmax_cross_entropy, got "
            f"{array[row].tolist()} at row {row} of y; for values use loss='squared_error', for several classes at "
            "once loss='bce_with_logits'"
        )
    return array


def _values(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    """Targets of the outputs' shape in the network's dtype; for one output, (rows,) will do."""
    array = numeric(function, "y", y)
    if array.shape == (rows,) and net.outputs == 1:
        array = array[:, None]
    if array.shape != (rows, net.outputs):
        also = f"({rows},) or " if net.outputs == 1 else ""
        raise ValueError(f"{function}: expected y of shape {also}({rows}, {net.outputs}), got {array.shape}")
    return floats(function, "y", array, net.dtype)


def _value(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    """Targets of one column, for every output; or of the outputs' shape."""
    array = numeric(function, "y", y)
    if array.shape in ((rows,), (rows, 1)):
        array = np.repeat(array.reshape(rows, 1), net.outputs, axis=1)
    elif array.shape != (rows, net.outputs):
        raise ValueError(f"{function}: expected y of shape ({rows},) or ({rows}, {net.outputs}), got {array.shape}")
    return floats(function, "y", array, net.dtype)


def _probabilities(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    array = _values(function, net, y, rows, None)
    if ((array < 0) | (array > 1)).any():
        row = int(np.argmax(((array < 0) | (array > 1)).any(axis=1)))
        raise ValueError(f"{function}: expected y between 0 and 1, got {array[row].tolist()} at row {row}")
    return array


def _signs(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    """-1 and 1; no and yes as 0 and 1 become them."""
    array = _values(function, net, y, rows, None)
    if np.isin(array, (0, 1)).all():
        return 2 * array - 1
    wrong = np.abs(array) != 1
    wrong = wrong & (array != 0) if (wrong & (array != 0)).any() else wrong
    if wrong.any():
        row = int(np.argmax(wrong.any(axis=1)))
        raise ValueError(f"{function}: expected y of -1 and 1, or of 0 and 1, got {array[row].tolist()} at row {row}")
    return array


def _counts(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    """Numbers of events, or what may be one's expectation."""
    array = _values(function, net, y, rows, None)
    if (array < 0).any():
        row = int(np.argmax((array < 0).any(axis=1)))
        raise ValueError(f"{function}: expected y >= 0 for poisson, got {array[row].tolist()} at row {row}")
    return array


def _any(function: str, net: Sequential, y: Any, rows: int, _: int | None) -> np.ndarray:
    """Targets of a custom loss: whole numbers as int64 (not of one output), others as ``floats``, one row each."""
    array = numeric(function, "y", y)
    if array.shape[:1] != (rows,):
        raise ValueError(f"{function}: expected y to have {rows} rows as x, got shape {array.shape}")
    if net.outputs == 1 and array.size == rows:
        array = array.reshape(rows, 1)  # (rows, 1) - (rows,) would be (rows, rows)
    elif array.dtype.kind in "iub":
        return np.require(array, dtype=np.int64, requirements=["C", "A"])
    return floats(function, "y", array, net.dtype)


#: By the kind of targets: (function, net, y, rows, ignored label or None) -> targets.
TARGETS: dict[str, Callable[[str, Sequential, Any, int, int | None], np.ndarray]] = {
    "classes": _classes,
    "probabilities": _probabilities,
    "values": _values,
    "value": _value,
    "signs": _signs,
    "counts": _counts,
    "any": _any,
}


def sample_weight(function: str, value: Any, rows: int, part: bool = False) -> np.ndarray | None:
    """Sample weights of shape (rows,), as float64, which is what the losses take without a copy.

    part : whether they are of some rows of the data, which may all weigh 0
    """
    if value is None:
        return None
    array = checks.weights(function, "sample_weight", _column(numeric(function, "sample_weight", value)), ((rows,),))
    if rows and not part and not array.any():
        raise ValueError(f"{function}: expected a sample_weight above 0 in at least one row")
    return array
