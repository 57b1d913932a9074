"""Nodes in one form whatever the opset, and what follows from constants alone computed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from .graph import Graph, Node

ROOM = 1 << 20  # numbers that folding may make beside four times those of the file

#: Operators whose ``axes`` have become an input.
AXES = frozenset(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceMin", "Squeeze", "Unsqueeze"))
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def simplify(graph: Graph) -> tuple[dict[str, Node], dict[str, str]]:
    """The nodes that are left by the tensors they make, and tensors that are others by another name.

    ``graph.constants`` grows by what was computed.
    """
    made: dict[str, Node] = {}
    alias: dict[str, str] = {}
    room = ROOM + 4 * sum(array.size for array in graph.constants.values())
    for node in graph.nodes:
        node.inputs = [alias.get(name, name) for name in node.inputs]
        if node.operator == "Constant":
            graph.constants[node.outputs[0]] = _constant(node)
            continue
        given = [graph.constants.get(name) for name in node.inputs]
        _standard(graph, node, given)
        if node.inputs and all(array is not None for array in given) and node.operator in FOLDED:
            arrays = [array for array in given if array is not None]
            room -= _size(node, arrays)
            if room < 0:
                raise ValueError(f"{node} makes more numbers than such a file should")
            with np.errstate(all="ignore"):
                graph.constants[node.outputs[0]] = FOLDED[node.operator](node, *arrays)
        elif _is_alias(node):
            alias[node.outputs[0]] = node.inputs[0]
        else:
            made |= dict.fromkeys(filter(None, node.outputs), node)
    return made, alias


def _constant(node: Node) -> np.ndarray:
    for name, value in node.attributes.items():
        if name.startswith("value") and value is not None:
            return value if isinstance(value, np.ndarray) else np.array(value)
    raise ValueError(f"{node} has no value")


def _is_alias(node: Node) -> bool:
    """Whether it changes at most the dtype of numbers: what the network computes in is for the weights to say."""
    return node.operator == "Identity" or (node.operator == "Cast" and node.attributes.get("to") in (
        *FLOATS, onnx.TensorProto.BOOL))  # fmt: skip


def _standard(graph: Graph, node: Node, given: list[np.ndarray | None]) -> None:
    """Defaults filled in, axes as an attribute and counted from the end of two, Clip's limits as inputs."""
    node.attributes = {**defaults(node.operator, graph.opset), **node.attributes}
    if node.operator in AXES and len(given) > 1 and given[1] is not None:
        node.attributes["axes"] = tuple(int(i) for i in given[1].ravel()[:9])
        del node.inputs[1:], given[1:]
    if "axes" in node.attributes and node.operator.startswith("Reduce"):
        node.attributes["axes"] = tuple(-1 if axis == 1 else axis for axis in node.attributes["axes"] or ())
        node.attributes.pop("noop_with_empty_axes", None)
    if node.attributes.get("axis") == 1 and node.operator in ("Softmax", "LogSoftmax", "Concat", "LayerNormalization"):
        node.attributes["axis"] = -1
    if node.operator == "Clip":
        _limits(graph, node)


@functools.lru_cache(1024)
def defaults(operator: str, opset: int) -> dict[str, Any]:
    """An operator's attributes that have a default, as ONNX's own list says."""
    domain, _, name = operator.rpartition(".")
    try:
        schema = onnx.defs.get_schema(name, 1 if domain else opset, domain)
    except onnx.defs.SchemaError:
        return {}
    values = {
        key: onnx.helper.get_attribute_value(attribute.default_value)
        for key, attribute in schema.attributes.items()
        if attribute.default_value.type
    }
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in values.items()}


def _limits(graph: Graph, node: Node) -> None:
    largest = float(np.finfo(np.float32).max)
    inputs = [*node.inputs, "", ""]
    for i, (name, unlimited) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        value = node.attributes.pop(name, None)
        if not inputs[i]:
            value = unlimited if value is None or abs(value) >= largest else value
            inputs[i] = f"{node.number} {name}"
            graph.constants[inputs[i]] = np.array(value)
    node.inputs = inputs[:3]


# ------------------------------------------------------------------------------------------ operators of constants


def _size(node: Node, arrays: list[np.ndarray]) -> int:
    """The most numbers that the result can have."""
    if node.operator in ELEMENTWISE:
        return math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return sum(array.size for array in arrays)


def _cast(node: Node, x: np.ndarray) -> np.ndarray:
    dtype = {
        onnx.TensorProto.FLOAT: np.float32,
        onnx.TensorProto.DOUBLE: np.float64,
        onnx.TensorProto.INT32: np.int32,
        onnx.TensorProto.INT64: np.int64,
        onnx.TensorProto.BOOL: np.bool_,
    }.get(node.attributes.get("to"))
    if dtype is None or x.dtype == object:
        raise ValueError(f"{node} casts to a type that is not read")
    return x.astype(dtype)


def _reshape(node: Node, x: np.ndarray, shape: np.ndarray) -> np.ndarray:
    sizes = [int(n) for n in shape.ravel()[:9]]
    if not node.attributes.get("allowzero"):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes)


def _transpose(node: Node, x: np.ndarray) -> np.ndarray:
    return x.transpose(node.attributes.get("perm"))


def _squeeze(node: Node, x: np.ndarray) -> np.ndarray:
    return x.squeeze(node.attributes.get("axes"))


def _unsqueeze(node: Node, x: np.ndarray) -> np.ndarray:
    return np.expand_dims(x, node.attributes["axes"])


def _flatten(node: Node, x: np.ndarray) -> np.ndarray:
    axis = node.attributes["axis"]
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _elementwise(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda node, *arrays: np.asarray(function(*arrays))


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Neg": np.negative,
    "Sqrt": np.sqrt, "Reciprocal": np.reciprocal, "Exp": np.exp, "Log": np.log, "Abs": np.abs,
}  # fmt: skip
FOLDED: dict[str, Callable[..., np.ndarray]] = {
    **{name: _elementwise(function) for name, function in ELEMENTWISE.items()},
    "Identity": lambda node, x: x,
    "Cast": _cast,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Concat": lambda node, *arrays: np.concatenate(arrays, node.attributes["axis"]),
    "Shape": lambda node, x: np.array(x.shape, np.int64),
}
