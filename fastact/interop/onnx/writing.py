"""From a network, or an estimator around one, to an ONNX model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ... import checks
from ..._version import __version__
from ...layers import (
    Activation,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Maxout,
    PReLU,
    Residual,
    Standardize,
    Swish,
)
from ...network import Sequential
from .expressions import Expression, Hole, Node, Number
from .operators import (
    ACTIVATIONS,
    BOTH_CLASSES,
    DEFAULT_OPSET,
    EXP,
    LAYER_NORM,
    MAXOUT,
    OPSETS,
    SIGMOID,
    SOFTMAX,
)

TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
ML = "ai.onnx.ml"
MOST_BYTES = 2**31 - 2**20  # of a protobuf message, with room for what is not weights
AXES_ARE_INPUTS = 18  # the opset from which reductions take them so


class Graph:
    """Nodes and constants as they are written, in one dtype and for one opset."""

    def __init__(self, opset: int, dtype: np.dtype) -> None:
        self.opset, self.dtype = opset, np.dtype(dtype)
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[Any, str] = {}
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """A name that nothing else has."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name

    def array(self, name: str, values: Any, dtype: Any = None) -> str:
        """An initializer of that name."""
        name = self.name(name)
        self.initializers.append(numpy_helper.from_array(np.array(values, dtype or self.dtype, order="C"), name))
        return name

    def number(self, value: float, dtype: Any = None) -> str:
        """A constant of no dimensions, the same for all that need it."""
        key = value, np.dtype(dtype or self.dtype)
        if key not in self._constants:
            self._constants[key] = self.array(f"{value:.8g}", value, dtype)
        return self._constants[key]

    def node(self, prefix: str, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Another node; its output's name."""
        if "axes" in attributes and self.opset >= AXES_ARE_INPUTS:
            inputs = *inputs, self.array(f"{prefix}.axes", attributes.pop("axes"), np.int64)
        name = self.name(f"{prefix}.{operator}")
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, domain=domain or None, **attributes))
        return name

    def write(self, prefix: str, expression: Expression, given: Mapping[str, Any]) -> str:
        """The nodes of an expression whose holes are given: names of tensors, or numbers."""
        done: dict[int, str] = {}

        def value(inner: Hole) -> Any:
            found = given[inner.name.lstrip("-")]
            return -found if inner.name[0] == "-" else found

        def visit(inner: Expression) -> str:
            if isinstance(inner, Number):
                return self.number(inner.value)
            if isinstance(inner, Hole):
                found = value(inner)
                return found if isinstance(found, str) else self.number(found)
            assert isinstance(inner, Node)
            if id(inner) not in done:
                attributes = {k: value(v) if isinstance(v, Hole) else v for k, v in inner.attributes.items()}
                done[id(inner)] = self.node(prefix, inner.operator, *map(visit, inner.inputs), **attributes)
            return done[id(inner)]

        return visit(expression)

    def in_double(self, prefix: str, x: str, *steps: tuple[str, str, np.ndarray]) -> str:
        """x through operators with constants (operator, name, values) in double, and back: as NumPy does it."""
        x = self.node(prefix, "Cast", x, to=TensorProto.DOUBLE)
        for operator, name, values in steps:
            x = self.node(prefix, operator, x, self.array(f"{prefix}.{name}", values, np.float64))
        return self.node(prefix, "Cast", x, to=TYPES[self.dtype.name])

    def output(self, x: str, name: str) -> str:
        """The tensor under the name that it shall have outside."""
        name = self.name(name)
        node = next((node for node in reversed(self.nodes) if x in node.output), None)
        if node is None:
            self.nodes.append(helper.make_node("Identity", [x], [name], name=name))
            return name
        for each in self.nodes:
            for names in (each.input, each.output):
                names[:] = [name if one == x else one for one in names]
        return name

    def activation(self, prefix: str, name: str, given: Mapping[str, Any], x: str) -> str:
        """An activation of the table."""
        if name not in ACTIVATIONS:
            raise ValueError(
                f"export: expected activations of the library, got {name} in layer {prefix}, which no file can say"
            )
        form = next(form for form in ACTIVATIONS[name] if form.writable(self.opset, self.dtype, given))
        return self.write(prefix, form.expression, {**given, "x": x})


# ------------------------------------------------------------------------------------------ layers


def _dense(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    weight = graph.array(f"{prefix}.weight", layer.parameters["weight"])
    if layer.bias:
        y = graph.node(prefix, "Gemm", x, weight, graph.array(f"{prefix}.bias", layer.parameters["bias"]))
    else:
        y = graph.node(prefix, "MatMul", x, weight)
    activation = layer.activation
    if activation.name == "identity":
        return y
    if activation.name == "maxout":
        return _pieces(graph, prefix, layer.outputs, activation.parameters["pieces"], y)
    given = activation.parameters
    if activation.learns:
        given = dict.fromkeys(given, graph.array(f"{prefix}.activation", layer.parameters["activation"]))
    return graph.activation(prefix, activation.name, given, y)


def _activation(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    return graph.activation(prefix, layer.activation.name, layer.activation.described.get("parameters", {}), x)


def _learned(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    name = layer.weight_name
    return graph.activation(prefix, layer.function, {name: graph.array(f"{prefix}.{name}", layer.parameters[name])}, x)


def _pieces(graph: Graph, prefix: str, outputs: int, pieces: int, x: str) -> str:
    shape = graph.array(f"{prefix}.shape", [0, outputs, pieces], np.int64)
    return graph.write(prefix, MAXOUT, {"x": x, "shape": shape})


def _maxout(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    return _pieces(graph, prefix, layer.outputs, layer.pieces, x)


def _layer_norm(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    exact = float(np.float32(layer.eps)) == layer.eps or graph.dtype == np.float32
    arrays = {name: graph.array(f"{prefix}.{name}", array) for name, array in layer.parameters.items()}
    if graph.opset >= 17 and exact:
        weight = arrays.get("weight") or graph.array(f"{prefix}.weight", np.ones(layer.inputs))
        rest = [weight, arrays["bias"]] if layer.bias else [weight]
        return graph.node(prefix, "LayerNormalization", x, *rest, axis=-1, epsilon=layer.eps)
    y = graph.write(prefix, LAYER_NORM, {"x": x, "eps": layer.eps})
    for name, operator in (("weight", "Mul"), ("bias", "Add")):
        y = graph.node(prefix, operator, y, arrays[name]) if name in arrays else y
    return y


def _batch_norm(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    eps = np.float32(layer.eps)  # as an attribute holds it; what that leaves of it is a part of the variance
    variance = layer.buffers["running_var"].astype(np.float64) + (layer.eps - float(eps))
    defaults = {"weight": np.ones(layer.inputs), "bias": np.zeros(layer.inputs)}
    arrays = {**defaults, **layer.parameters, "running_mean": layer.buffers["running_mean"], "running_var": variance}
    names = [graph.array(f"{prefix}.{name}", array) for name, array in arrays.items()]
    momentum = {} if layer.momentum is None else {"momentum": 1 - layer.momentum}
    return graph.node(prefix, "BatchNormalization", x, *names, epsilon=float(eps), **momentum)


def _standardize(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    mean, scale = (graph.array(f"{prefix}.{name}", layer.buffers[name]) for name in ("mean", "scale"))
    return graph.node(prefix, "Div", graph.node(prefix, "Sub", x, mean), scale)


def _dropout(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    """Which does nothing, but says the rate to who trains on."""
    return graph.node(prefix, "Dropout", x, graph.number(layer.rate, np.float32))


def _nothing(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    return x


def _residual(graph: Graph, prefix: str, layer: Any, x: str) -> str:
    return graph.node(prefix, "Add", _layers(graph, layer.block, x, f"{prefix}."), x)


#: How each layer is written.
LAYERS: dict[type[Layer], Callable[[Graph, str, Any, str], str]] = {
    Dense: _dense,
    Activation: _activation,
    PReLU: _learned,
    Swish: _learned,
    Maxout: _maxout,
    LayerNorm: _layer_norm,
    BatchNorm: _batch_norm,
    Standardize: _standardize,
    Dropout: _dropout,
    AlphaDropout: _nothing,
    Residual: _residual,
}


def _layers(graph: Graph, layers: Sequence[Layer], x: str, prefix: str = "") -> str:
    for i, layer in enumerate(layers):
        write = LAYERS.get(type(layer))
        if write is None:
            raise ValueError(
                f"export: expected layers of the library, got {type(layer).__name__} as layer {prefix}{i}, which no "
                "file can say; replace it by layers of the library"
            )
        x = write(graph, f"{prefix}{i}", layer, x)
    return x


# ------------------------------------------------------------------------------------------ models


@dataclass(frozen=True)
class Model:
    """A network and what stands around it: how raw data become its input, and its output what people ask for."""

    net: Sequential
    #: "output" (as it is), "softmax", "exp"; "classes" (softmax over them), "binary" (one output), "labels" (each on or
    #: off)
    ending: str = "output"
    classes: np.ndarray | None = None
    scaling: tuple[Any, Any] | None = None  # mean and scale of raw features
    target_scaling: tuple[Any, Any] | None = None  # of the output
    names: tuple[str, ...] = ("input", "output")

    def scaled(self, graph: Graph, x: str) -> str:
        """The network's input."""
        if self.scaling is None:
            return x
        mean, scale = self.scaling
        return graph.in_double("input", x, ("Sub", "mean", mean), ("Div", "scale", scale))

    def outputs(self, graph: Graph, y: str, zipmap: bool) -> list[Any]:
        """The graph's outputs, from the network's."""
        number, (_, *names) = TYPES[graph.dtype.name], self.names
        if self.classes is None:
            if self.ending != "output":
                y = graph.write("output", {"softmax": SOFTMAX, "exp": EXP}[self.ending], {"x": y})
            if self.target_scaling is not None:
                mean, scale = self.target_scaling
                y = graph.in_double("output", y, ("Mul", "scale", scale), ("Add", "mean", mean))
            shape = ["rows", self.net.outputs]
            return [helper.make_tensor_value_info(graph.output(y, names[0]), number, shape)]
        expression = {"classes": SOFTMAX, "binary": BOTH_CLASSES, "labels": SIGMOID}[self.ending]
        probabilities = graph.write("probabilities", expression, {"x": y})
        shape = ["rows", len(self.classes)]
        if self.ending == "labels":
            on = graph.node("label", "Greater", probabilities, graph.number(0.5))
            label, kind, rows = graph.node("label", "Cast", on, to=TensorProto.INT64), TensorProto.INT64, shape
        else:
            chosen = graph.node("label", "ArgMax", probabilities, axis=1, keepdims=0)
            classes = _classes(self.classes)
            kind, rows = helper.np_dtype_to_tensor_dtype(classes.dtype), shape[:1]
            label = graph.node("label", "Gather", graph.array("classes", classes, classes.dtype), chosen)
        label = graph.output(label, names[0])
        found = helper.make_tensor_value_info(label, kind, rows)
        if not zipmap:
            return [found, helper.make_tensor_value_info(graph.output(probabilities, names[1]), number, shape)]
        return [found, _zipmap(graph, probabilities, names[1], self.classes)]


def _classes(values: np.ndarray) -> np.ndarray:
    """As ONNX holds them: whole numbers, or texts."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        return values.astype(np.int64)
    return np.array([str(value) for value in values.tolist()], object)


def _zipmap(graph: Graph, probabilities: str, name: str, values: np.ndarray) -> Any:
    """A map of classes to probabilities for each row, as skl2onnx gives them unless told otherwise."""
    classes = _classes(values)
    kind = helper.np_dtype_to_tensor_dtype(classes.dtype)
    key = "classlabels_int64s" if kind == TensorProto.INT64 else "classlabels_strings"
    zipped = graph.node("output", "ZipMap", probabilities, domain=ML, **{key: classes.tolist()})
    value = helper.make_tensor_type_proto(TYPES[graph.dtype.name], [])
    type_ = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, value))
    return helper.make_value_info(graph.output(zipped, name), type_)


def model_of(value: Any, softmax: bool, scaling: Any, classes: Any, zipmap: bool) -> Model:
    """The model of a network, or of a fitted estimator of ``fastact.sklearn``, under the names of skl2onnx."""
    labels = ("X", "output_label", "output_probability") if zipmap else ("X", "label", "probabilities")
    if isinstance(value, Sequential):
        scaling = None if scaling is None else _scaling(scaling, value.inputs)
        if classes is None:
            return Model(value, "softmax" if softmax else "output", scaling=scaling)
        classes = np.asarray(classes)
        if classes.ndim != 1 or len(classes) != max(value.outputs, 2):
            raise ValueError(f"export: expected {max(value.outputs, 2)} classes, one an output, got {len(classes)}")
        return Model(value, "binary" if value.outputs == 1 else "classes", classes, scaling, names=labels)
    net = getattr(value, "net_", None)
    if not isinstance(net, Sequential):
        hint = "; fit it first" if hasattr(value, "hidden_layer_sizes") else ""
        raise TypeError(f"export: expected a Sequential or a fitted estimator, got {checks.describe(value)}{hint}")
    if softmax or scaling is not None or classes is not None:
        raise ValueError("export: softmax, scaling and classes are for networks; an estimator knows its own")
    if not hasattr(value, "classes_"):
        scaling = (value.target_mean_, value.target_scale_) if hasattr(value, "target_scale_") else None
        ending = "exp" if value.out_activation_ == "exp" else "output"
        return Model(net, ending, target_scaling=scaling, names=("X", "variable"))
    many = value.out_activation_ == "softmax"
    ending = "classes" if many else "binary" if net.outputs < len(value.classes_) else "labels"
    return Model(net, ending, np.asarray(value.classes_), names=labels)


def _scaling(value: Any, inputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and scale, one number a feature."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"export: expected scaling to be (mean, scale), got {checks.describe(value)}")
    mean, scale = (np.asarray(one, np.float64) for one in value)
    for name, array in (("mean", mean), ("scale", scale)):
        if array.shape != (inputs,) or not np.isfinite(array).all():
            raise ValueError(f"export: expected {name} to be {inputs} finite numbers, got shape {array.shape}")
    if not scale.all():
        raise ValueError("export: expected a scale without 0")
    return mean, scale


def build(
    model: Model,
    opset: int | None,
    input_name: str | None,
    input_dtype: Any,
    metadata: Mapping[str, str],
    zipmap: bool,
) -> Any:
    """The ONNX model, checked by ONNX itself."""
    opset = DEFAULT_OPSET if opset is None else checks.whole("export", "opset", opset, OPSETS[0])
    if opset > OPSETS[1]:
        raise ValueError(f"export: expected opset from {OPSETS[0]} to {OPSETS[1]}, got {opset}")
    net = model.net
    if net.parameters.nbytes + net.buffers.nbytes > MOST_BYTES:
        raise ValueError(
            f"export: an ONNX file holds at most 2 GiB, and the parameters are {net.parameters.nbytes} bytes"
        )
    for key, text in metadata.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"export: expected metadata of texts, got {key!r}: {checks.describe(text)}")
    dtype = net.dtype if input_dtype is None else checks.float_dtype("export", input_dtype)
    if dtype != net.dtype and model.scaling is None:
        raise ValueError(f"export: input_dtype={dtype.name} goes with scaling; the network takes {net.dtype.name}")
    graph = Graph(opset, net.dtype)
    name = graph.name(model.names[0] if input_name is None else input_name)
    y = _layers(graph, net.layers, model.scaled(graph, name))
    outputs = model.outputs(graph, y, zipmap)
    imports = [helper.make_opsetid("", opset), *([helper.make_opsetid(ML, 1)] if zipmap else [])]
    given = helper.make_tensor_value_info(name, TYPES[dtype.name], ["rows", net.inputs])
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "fastact", [given], outputs, graph.initializers),
        producer_name="fastact",
        producer_version=__version__,
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for(imports),
    )
    helper.set_model_props(proto, {**net.metadata, **metadata})
    onnx.checker.check_model(proto, full_check=True)
    return proto
