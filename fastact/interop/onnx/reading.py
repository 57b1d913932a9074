"""From an ONNX graph to a ``Sequential``: from the output back to the input, one step after another.

A step is what a node, or several that the table knows, do to the rows: a product, a shift or a factor of the columns,
an activation, a normalisation, a branch that is added. ``building`` makes layers of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ... import files
from ...layers import BatchNorm, Dropout
from ...network import Sequential
from .building import Activate, Branch, Build, Make, Move, Multiply, Normalize, Reshaped, Step
from .expressions import COMMUTATIVE, Expression, Hole, Node, Number, close, holes, size
from .folding import FLOATS, defaults, simplify
from .graph import Graph, parse
from .graph import Node as GraphNode
from .operators import ACTIVATIONS, BOTH_CLASSES, FOREIGN_LAYER_NORM, LAYER_NORM, MAXOUT

#: What ``logits`` leaves out at the end.
ENDINGS = ("softmax", "log_softmax", "sigmoid")
#: Operators whose result is a class, with the place of the classes among its inputs.
CLASSES = {"ai.onnx.ml.ArrayFeatureExtractor": 0, "Gather": 0}

Found = dict[str, Any]


def load(path: Any, logits: bool, output: str | None, external_data: bool) -> Sequential:
    """The network of a file, or of a model in memory."""
    if isinstance(path, onnx.ModelProto):
        file, content = Path("model"), path.SerializeToString()
    else:
        file = files.any_path("load", path)
        if not file.is_file():
            raise FileNotFoundError(f"load: there is no file {str(file)!r}")
        content = file.read_bytes()
    with files.distrusted("load", file, "is no network that fastact can read"):
        graph = parse(content, Path(os.path.realpath(file)).parent if external_data else None)
        return Reading(graph).network(logits, output)


class Reading:
    """A graph whose constants are computed, as it is followed back from an output."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.constants = graph, graph.constants
        self.made, self.alias = simplify(graph)

    def network(self, logits: bool, output: str | None) -> Sequential:
        """The network of the one numeric output, or of the one of that name."""
        tensor = self._output(output)
        steps: list[Step] = []
        while tensor not in self.graph.inputs:
            more, tensor = self.step(tensor)
            steps += more
        steps.reverse()
        if logits and steps and isinstance(steps[-1], Activate) and steps[-1].name in ENDINGS:
            steps.pop()
        shape, _ = self.graph.inputs[tensor]
        net = Build(self._dtype(steps, tensor)).network(steps, shape)
        net.metadata = dict(self.graph.metadata)
        classes = self._classes()
        if classes is not None:
            net.metadata["classes"] = json.dumps(classes)
        return net

    def _output(self, wanted: str | None) -> str:
        outputs = self.graph.outputs
        names = [name for name, kind in outputs.items() if kind is None or kind in (0, *FLOATS)]
        if wanted is not None:
            if wanted not in outputs:
                raise ValueError(f"expected output to be one of {', '.join(outputs)}, got {wanted!r}")
            names = [wanted]
        if len(names) != 1:
            raise ValueError(
                f"expected one numeric output, got {', '.join(names) or 'none'}; say which with output=..."
            )
        return self.alias.get(names[0], names[0])

    def _dtype(self, steps: list[Step], tensor: str) -> np.dtype:
        """Of the weights of the products, else of the input."""
        weights = [step.weight.dtype for step in steps if isinstance(step, Multiply)]
        double = np.float64 in weights if weights else self.graph.inputs[tensor][1] == onnx.TensorProto.DOUBLE
        return np.dtype(np.float64 if double else np.float32)

    def _classes(self) -> list[Any] | None:
        """The classes of a classifier."""
        for node in self.made.values():
            if node.operator == "ai.onnx.ml.ZipMap":
                found = node.attributes.get("classlabels_int64s") or node.attributes.get("classlabels_strings")
                return None if found is None else list(found)
            if node.operator in CLASSES:
                array = self.constants.get(node.inputs[CLASSES[node.operator]])
                if array is not None and array.ndim == 1:
                    return array.tolist()
        return None

    # -------------------------------------------------------------------- steps

    def step(self, tensor: str) -> tuple[list[Step], str]:
        """What makes a tensor, last step first, and what of."""
        node = self.made.get(tensor)
        if node is None:
            raise ValueError(f"its output depends on {tensor[:80]!r}, which is a constant")
        for expression, make in PATTERNS.get(node.operator, ()):
            found = next(self.match(expression, tensor, {}), None)
            if found is not None:
                return make(found), found["x"]
        read = READERS.get(node.operator)
        if read is None:
            if node.operator in REFUSED:
                raise ValueError(f"{node} {REFUSED[node.operator]}")
            raise ValueError(
                f"{node} is none of the operators that become layers: {', '.join(sorted(READERS.keys() | PATTERNS))}"
            )
        return read(self, node)

    def constant(self, node: GraphNode, place: int) -> np.ndarray | None:
        """An input that is constant."""
        return self.constants.get(node.inputs[place]) if place < len(node.inputs) and node.inputs[place] else None

    def needed(self, node: GraphNode, place: int) -> np.ndarray:
        """An input that has to be constant."""
        array = self.constant(node, place)
        if array is None:
            raise ValueError(f"{node} needs a constant as its input {place}")
        return array

    def place(self, tensor: str) -> int:
        """Where in the file a tensor is made; inputs come first."""
        return self.made[tensor].number if tensor in self.made else -1

    # -------------------------------------------------------------------- recognition

    def match(self, expression: Expression, tensor: str, found: Found) -> Iterator[Found]:
        """What the holes of an expression hold where the tensor is made as it says."""
        array = self.constants.get(tensor)
        if isinstance(expression, Node):
            node = self.made.get(tensor)
            if node is not None and node.operator == expression.operator:
                yield from self._match_node(expression, node, found)
        elif isinstance(expression, Number):
            if array is not None and array.size == 1 and close(array.item(), expression.value):
                yield found
        elif isinstance(expression, Hole):
            if expression.name == "x":
                if array is None and found.get("x", tensor) == tensor:
                    yield {**found, "x": tensor}
            elif array is not None and array.dtype != object and (array.ndim if expression.many else array.size == 1):
                yield from _bind(expression, array if expression.many else array.item(), found)

    def _match_node(self, expression: Node, node: GraphNode, found: Found) -> Iterator[Found]:
        inputs = node.inputs
        if len(inputs) != len(expression.inputs) or len(node.outputs) != 1:
            return
        for name in expression.attributes.keys() | node.attributes.keys():
            said, wanted = node.attributes.get(name), expression.attributes.get(name)
            if isinstance(wanted, Hole):
                bound = next(_bind(wanted, said, found), None) if isinstance(said, (int, float)) else None
                if bound is None:
                    return
                found = bound
            elif name in expression.attributes:
                if not (said == wanted or (isinstance(wanted, float) and close(said, wanted))):
                    return
            elif said != defaults(node.operator, self.graph.opset).get(name):
                return
        for order in (inputs, inputs[::-1]) if node.operator in COMMUTATIVE else (inputs,):
            yield from self._match_inputs(expression.inputs, order, found)

    def _match_inputs(self, expressions: tuple[Expression, ...], names: list[str], found: Found) -> Iterator[Found]:
        if not expressions:
            yield found
            return
        for first in self.match(expressions[0], names[0], found):
            yield from self._match_inputs(expressions[1:], names[1:], first)


def _bind(hole: Hole, value: Any, found: Found) -> Iterator[Found]:
    """With the hole filled, unless it holds something else already."""
    name = hole.name
    if name[0] == "-":
        name, value = name[1:], -value
    held = found.get(name)
    if held is None:
        yield {**found, name: value}
    elif held is value or (not hole.many and close(value, held)):
        yield found


# ------------------------------------------------------------------------------------------ patterns


def _activate(name: str, values: Mapping[str, float]) -> Callable[[Found], list[Step]]:
    return lambda found: [Activate(name, {**values, **{key: value for key, value in found.items() if key != "x"}})]


def _maxout(found: Found) -> list[Step]:
    shape = found["shape"].ravel().tolist()
    if len(shape) != 3 or shape[0] not in (0, -1):
        raise ValueError(f"a maximum over rows of shape {shape[:9]} is none over neighbouring columns")
    return [Activate("maxout", {"pieces": shape[2]})]


def _patterns() -> dict[str, list[tuple[Expression, Callable[[Found], list[Step]]]]]:
    """What the table recognises, by the operator that comes last: the larger and the more special first."""
    rows = [
        (form.expression, _activate(name, form.values))
        for name, forms in ACTIVATIONS.items()
        for form in forms
        if name != "identity"
    ]
    rows += [(one, lambda found: [Normalize(float(found["eps"]))]) for one in (LAYER_NORM, FOREIGN_LAYER_NORM)]
    rows += [(MAXOUT, _maxout)]
    spread = np.array([[0, 1]], np.float32)
    rows += [(BOTH_CLASSES, lambda found: [Activate("softmax"), Multiply(spread, spread=True)])]
    found: dict[str, list[Any]] = {}
    for expression, make in sorted(rows, key=lambda row: (-size(row[0]), holes(row[0]))):
        assert isinstance(expression, Node)
        found.setdefault(expression.operator, []).append((expression, make))
    return found


PATTERNS = _patterns()


# ------------------------------------------------------------------------------------------ single nodes


def _short(value: float) -> float:
    """A number that the file had to round to single precision."""
    return float(f"{value:.6g}")


def _columns(node: GraphNode, values: np.ndarray) -> np.ndarray:
    """One number, or one a column."""
    if values.dtype == object or (values.size != 1 and values.size != values.shape[-1]):
        raise ValueError(f"{node} has a constant of shape {values.shape}: neither one number nor one a column")
    return values.reshape(-1)


def _gemm(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    weight, said = reading.needed(node, 1), node.attributes
    if weight.ndim != 2 or said["transA"] or weight.dtype == object or 0 in weight.shape:
        raise ValueError(f"{node} is no product of rows with a matrix")
    weight = weight.T if said["transB"] else weight
    weight = weight * weight.dtype.type(said["alpha"])
    bias = None
    if len(node.inputs) > 2 and node.inputs[2]:
        values = _columns(node, reading.needed(node, 2))
        bias = np.broadcast_to(values * values.dtype.type(said["beta"]), weight.shape[1:])
    return [Multiply(weight, bias)], node.inputs[0]


def _matmul(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    weight = reading.needed(node, 1)
    if weight.ndim != 2 or weight.dtype == object or 0 in weight.shape:
        raise ValueError(f"{node} is no product of rows with a matrix, whose shape is {weight.shape}")
    return [Multiply(weight)], node.inputs[0]


def _arithmetic(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    """A shift or a factor of columns, or a branch that is added."""
    if len(node.inputs) != 2:
        raise ValueError(f"{node} has {len(node.inputs)} inputs; two are understood")
    operator = "Add" if node.operator == "Sum" else node.operator
    for place in (1, 0):
        values = reading.constant(node, place)
        if values is None:
            continue
        values, x = _columns(node, values), node.inputs[1 - place]
        if place == 1 or operator in ("Add", "Mul"):
            return [Move(operator, values)], x
        if operator == "Sub":
            return [Move("Add", values), Move("Mul", -np.ones_like(values[:1]))], x
        raise ValueError(f"{node} divides a constant by what was computed, which no layer does")
    if operator != "Add":
        raise ValueError(f"{node} has two inputs that are computed; only their sum is understood, around layers")
    return _branch(reading, node)


def _branch(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    """x + f(x): the input that was made later is made of the other."""
    x, tensor = sorted(node.inputs, key=reading.place)
    steps: list[Step] = []
    while tensor != x:
        if reading.place(tensor) <= reading.place(x):
            raise ValueError(f"{node} adds what does not follow one from the other; only f(x) + x is understood")
        more, tensor = reading.step(tensor)
        steps += more
    if not steps:
        return [Move("Mul", np.full(1, 2.0))], x
    return [Branch(steps[::-1])], x


def _batch_norm(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    said = node.attributes
    if said.get("training_mode") or len([name for name in node.outputs if name]) > 1:
        raise ValueError(f"{node} is in training; export the model for inference")
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {name: _columns(node, reading.needed(node, i)) for i, name in enumerate(names, 1)}
    if float(arrays["running_var"].min(initial=0)) + said["epsilon"] <= 0:
        raise ValueError(f"{node} has a negative variance")
    width, eps = arrays["weight"].size, _short(said["epsilon"])
    arrays["running_var"] = arrays["running_var"] + (np.float64(said["epsilon"]) - eps)
    momentum = min(max(_short(1 - said["momentum"]), 0.0), 1.0)
    return [Make(lambda: BatchNorm(momentum, eps, inputs=width), arrays)], node.inputs[0]


def _layer_norm(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    if node.attributes["axis"] != -1:
        raise ValueError(f"{node} is over the axis {node.attributes['axis']}, not over rows")
    steps: list[Step] = [Normalize(_short(node.attributes["epsilon"]))]
    steps.append(Move("Mul", _columns(node, reading.needed(node, 1))))
    if len(node.inputs) > 2 and node.inputs[2]:
        steps.append(Move("Add", _columns(node, reading.needed(node, 2))))
    return steps[::-1], node.inputs[0]


def _dropout(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    ratio = reading.constant(node, 1)
    rate = float(ratio.item()) if ratio is not None else node.attributes.get("ratio", 0.5)
    return [Make(lambda: Dropout(_short(rate)))], node.inputs[0]


def _scaler(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    offset, scale = (np.array(node.attributes.get(name) or [value]) for name, value in (("offset", 0), ("scale", 1)))
    return [Move("Mul", scale), Move("Sub", offset)], node.inputs[0]


def _hard_sigmoid(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    """Another one than ours, as Keras has it."""
    steps = [Activate("hard_tanh", {"min_val": 0.0, "max_val": 1.0})]
    numbers = {name: np.full(1, node.attributes[name]) for name in ("alpha", "beta")}
    return [*steps, Move("Add", numbers["beta"]), Move("Mul", numbers["alpha"])], node.inputs[0]


def _negative(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    return [Move("Mul", np.full(1, -1.0))], node.inputs[0]


def _pass(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    return [], node.inputs[0]


def _flatten(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    if node.attributes["axis"] != 1 and node.attributes["axis"] != -1:
        raise ValueError(f"{node} makes one row of several: its axis is {node.attributes['axis']}")
    return [Reshaped(None, str(node))], node.inputs[0]


def _reshape(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    shape = reading.constant(node, 1)
    sizes = None if shape is None else [int(n) for n in shape.ravel()[:9]]
    if sizes is None:
        sizes = _computed_shape(reading, node)
    batch = next(iter(reading.graph.inputs.values()))[0]
    rows = {0, -1} | ({batch[0]} if batch else set())
    if len(sizes) != 2 or sizes[0] not in rows:
        raise ValueError(f"{node} makes the shape {sizes}; only (rows, columns) is understood")
    return [Reshaped(sizes[1] if sizes[1] > 0 else None, str(node))], node.inputs[0]


def _computed_shape(reading: Reading, node: GraphNode) -> list[int]:
    """[-1, columns] where the shape is made of another tensor's and a constant."""
    made = reading.made.get(node.inputs[1])
    if made is not None and made.operator == "Concat" and len(made.inputs) == 2:
        last = reading.constants.get(made.inputs[1])
        if last is not None and last.size == 1 and reading.constants.get(made.inputs[0]) is None:
            return [-1, int(last.item())]
    raise ValueError(f"{node} has a shape that is computed; only (rows, columns) is understood")


def _squeeze(reading: Reading, node: GraphNode) -> tuple[list[Step], str]:
    """One column without its dimension: here it stays."""
    if node.attributes.get("axes") not in ((1,), (-1,)):
        raise ValueError(f"{node} takes away the dimensions {node.attributes.get('axes')}; only that of one column can")
    return [Reshaped(1, str(node))], node.inputs[0]


#: How single nodes are read: to steps, last first, and the tensor that they start from.
READERS: dict[str, Callable[[Reading, GraphNode], tuple[list[Step], str]]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum"), _arithmetic),
    "Neg": _negative,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Dropout": _dropout,
    "HardSigmoid": _hard_sigmoid,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ai.onnx.ml.Scaler": _scaler,
    "ai.onnx.ml.ZipMap": _pass,
}
#: Operators that people meet, and what to do about them.
REFUSED = {
    "ai.onnx.ml.Normalizer": "divides each row by its length, which no layer does; do that to the data before",
    "LpNormalization": "divides each row by its length, which no layer does; do that to the data before",
    "ArgMax": "gives classes, not numbers; name the output with the probabilities: output=...",
    "Cast": "makes whole numbers or texts; name an output that is numeric: output=...",
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), "works on images; fastact has dense layers only"),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "works on sequences; fastact has dense layers only"),
}
