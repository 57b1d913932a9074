"""The bytes of an ONNX file to a graph of plain Python objects. Nothing in them is believed.

What a file claims is compared with what it holds before memory is taken: first the outline of the protobuf, whose
structure, weights apart, may have ``STRUCTURE_LIMIT`` bytes (messages grow a hundredfold when they are parsed), then
each tensor's shape and its bytes. Time is in proportion to the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto

STRUCTURE_LIMIT = 4 << 20
FIELD_LIMIT = 1 << 20
NODE_LIMIT = 1 << 16
MOST_DIMENSIONS = 8

#: The messages whose fields are looked at one by one, by number; "data" is what holds weights and long texts.
OUTLINE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 6: "data"},
    "graph": {1: "node", 5: "tensor", 10: "data"},
    "node": {5: "attribute", 6: "data"},
    "attribute": {5: "tensor", 13: "data"},
    "tensor": {4: "data", 9: "data", 10: "data"},
}
#: TensorProto's types that are read, and where their numbers lie when they are no raw bytes.
TYPES: dict[int, tuple[np.dtype, str]] = {
    TensorProto.FLOAT: (np.dtype("<f4"), "float_data"),
    TensorProto.DOUBLE: (np.dtype("<f8"), "double_data"),
    TensorProto.INT32: (np.dtype("<i4"), "int32_data"),
    TensorProto.INT64: (np.dtype("<i8"), "int64_data"),
    TensorProto.BOOL: (np.dtype("?"), "int32_data"),
}
_VALUES = {
    AttributeProto.FLOAT: "f", AttributeProto.INT: "i", AttributeProto.STRING: "s", AttributeProto.TENSOR: "t",
    AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings",
}  # fmt: skip


@dataclass(eq=False)
class Node:
    """A node as it stands in the file."""

    operator: str  # with its domain where that is not ONNX's own: "ai.onnx.ml.Scaler"
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]
    number: int

    def __str__(self) -> str:
        return f"node {self.name or self.outputs[0]!r} ({self.operator})"


@dataclass
class Graph:
    """Nodes in an order in which they can be computed, and what is known beside them."""

    nodes: list[Node]
    constants: dict[str, np.ndarray]
    inputs: dict[str, tuple[tuple[int | None, ...] | None, int]]  # shape, where it is given, and type
    outputs: dict[str, int | None]  # type of a tensor, None where it is something else
    opset: int
    metadata: dict[str, str] = field(default_factory=dict)


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(content) or shift > 63:
            raise ValueError("it is no protobuf message, or cut off")
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | None]]:
    """(number, content where it has a length) of a message's fields."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            _, place = _varint(content, place)
            yield number, None
            continue
        length = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            length, place = _varint(content, place)
        if length is None or place + length > len(content):
            raise ValueError("it is no protobuf message, or cut off")
        yield number, content[place : place + length] if kind == 2 else None
        place += length


def check_outline(content: bytes) -> None:
    """ValueError for what is no message, or one that would take far more memory than it has bytes."""
    waiting = [("model", memoryview(content))]
    structure, count = len(content), 0
    while waiting:
        kind, message = waiting.pop()
        for number, inner in _fields(message):
            count += 1
            if count > FIELD_LIMIT:
                raise ValueError(f"it has more than {FIELD_LIMIT} fields")
            known = OUTLINE[kind].get(number)
            if inner is not None and known == "data":
                structure -= len(inner)
            elif inner is not None and known is not None:
                waiting.append((known, inner))
    if structure > STRUCTURE_LIMIT:
        raise ValueError(f"it has {structure} bytes beside its weights; at most {STRUCTURE_LIMIT} are read")


def parse(content: bytes, folder: Path | None) -> Graph:
    """The graph; ``folder`` is where external data may lie, None where they are refused."""
    check_outline(content)
    try:
        model = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ValueError("it is no ONNX model, or cut off") from error
    if not model.HasField("graph") or not model.graph.output:
        raise ValueError("it holds no graph with an output")
    graph = model.graph
    if len(graph.node) > NODE_LIMIT:
        raise ValueError(f"expected at most {NODE_LIMIT} nodes, got {len(graph.node)}")
    if graph.sparse_initializer:
        raise ValueError("sparse weights are not read; store them dense")
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
    constants = {}
    for tensor in graph.initializer:
        constants[tensor.name] = _array(tensor, folder)
    inputs = {one.name: _tensor_type(one) for one in graph.input if one.name not in constants}
    known = {"", *constants, *inputs}
    nodes = []
    for number, proto in enumerate(graph.node):
        node = _node(proto, number, folder)
        for name in node.inputs:
            if name not in known:
                raise ValueError(f"{node} reads {name[:80]!r}, which nothing before it makes")
        for name in node.outputs:
            if name and name in known:
                raise ValueError(f"{node} makes {name[:80]!r}, which is there already")
            known.add(name)
        nodes.append(node)
    outputs = {}
    for one in graph.output:
        if one.name not in known:
            raise ValueError(f"nothing makes its output {one.name[:80]!r}")
        tensor_type = one.type.WhichOneof("value") in (None, "tensor_type")
        outputs[one.name] = one.type.tensor_type.elem_type if tensor_type else None
    return Graph(nodes, constants, inputs, outputs, opset, {one.key: one.value for one in model.metadata_props})


def _tensor_type(value: Any) -> tuple[tuple[int | None, ...] | None, int]:
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None, kind.elem_type
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim), kind.elem_type


def _node(proto: Any, number: int, folder: Path | None) -> Node:
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
    node = Node(f"{domain}{proto.op_type}"[:80], proto.name[:80], list(proto.input), list(proto.output), {}, number)
    if not node.outputs:
        raise ValueError(f"node {node.name!r} makes nothing")
    for attribute in proto.attribute:
        kind = _VALUES.get(attribute.type)
        if kind is None:
            node.attributes[attribute.name] = None  # a graph within: such an operator is none of ours
            continue
        value = getattr(attribute, kind)
        if kind == "t":
            value = _array(value, folder)
        elif kind == "s":
            value = value.decode(errors="replace")
        elif kind in ("floats", "ints", "strings"):
            value = tuple(v.decode(errors="replace") if kind == "strings" else v for v in value)
        node.attributes[attribute.name] = value
    return node


def _array(tensor: Any, folder: Path | None) -> np.ndarray:
    """A tensor's numbers, its shape compared with how many there are."""
    name, dims = tensor.name[:80], tuple(tensor.dims)
    if len(dims) > MOST_DIMENSIONS or any(d < 0 for d in dims):
        raise ValueError(f"the tensor {name!r} claims the shape {dims[:9]}")
    count = math.prod(dims)
    if tensor.data_type == TensorProto.STRING:
        if len(tensor.string_data) != count:
            raise ValueError(f"the tensor {name!r} claims the shape {dims}, and has {len(tensor.string_data)} texts")
        return np.array([text.decode(errors="replace") for text in tensor.string_data], object).reshape(dims)
    if tensor.data_type not in TYPES:
        kinds = dict(zip(TensorProto.DataType.values(), TensorProto.DataType.keys(), strict=True))
        kind = kinds.get(tensor.data_type, tensor.data_type)
        raise ValueError(f"the tensor {name!r} is of {kind}; convert the model to float32 or float64")
    dtype, stored = TYPES[tensor.data_type]
    if tensor.data_location == TensorProto.EXTERNAL:
        content = _external(tensor, folder, count * dtype.itemsize)
    elif tensor.HasField("raw_data"):
        content = tensor.raw_data
    else:
        values = getattr(tensor, stored)
        if len(values) != count:
            raise ValueError(f"the tensor {name!r} claims the shape {dims}, and has {len(values)} numbers")
        return np.array(values, dtype).reshape(dims)
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"the tensor {name!r} claims the shape {dims} of {dtype.name}, and has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(dims)


def _external(tensor: Any, folder: Path | None, length: int) -> bytes:
    """The bytes of a tensor that lie in another file: in the model's folder or below, and as many as its shape says."""
    name, entries = tensor.name[:80], {one.key: one.value for one in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ValueError(
            f"the tensor {name!r} lies in another file, {location[:80]!r}; pass external_data=True to read it"
        )
    base = Path(os.path.realpath(folder))
    path = Path(os.path.realpath(base / location))
    if not location or Path(location).is_absolute() or not path.is_relative_to(base) or not path.is_file():
        raise ValueError(f"the tensor {name!r} lies in {location[:80]!r}, which is no file in the model's folder")
    start, claimed = int(entries.get("offset", 0)), int(entries.get("length", length))
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if claimed != length or not 0 <= start <= size - length:
            raise ValueError(
                f"the tensor {name!r} claims {claimed} bytes at {start} of {location[:80]!r}, which has {size}; its "
                f"shape asks for {length}"
            )
        file.seek(start)
        return file.read(length)
