"""ONNX files of other makers: graphs put together by hand, what they mean, what is refused, and what lies in wait."""

import random
import re
import time

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

import fastact as fa  # noqa: E402
from fastact.interop.onnx import graph as reader  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(11, 4)).astype(np.float32)


def model(nodes, arrays, shape=("n", 4), outputs=("y",), opset=17, dtype=TensorProto.FLOAT, **more):
    """A model of nodes ("Add", "x w", "y", {attributes}) and constants."""
    made = []
    for number, (operator, given, name, *attributes) in enumerate(nodes):
        domain, _, operator_name = operator.rpartition(".")
        made.append(
            helper.make_node(
                operator_name,
                given.split(),
                name.split(),
                name=f"node {number}",
                domain=domain or None,
                **(attributes[0] if attributes else {}),
            )
        )
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    ends = [one if not isinstance(one, str) else helper.make_tensor_value_info(one, dtype, None) for one in outputs]
    graph = helper.make_graph(made, "g", [helper.make_tensor_value_info("x", dtype, shape)], ends, constants)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


def weights(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


W, B, V, W2, SQUARE = weights(4, 5), weights(5), weights(4), weights(5, 2), weights(4, 4)
POSITIVE = np.abs(V) + 0.5

GRAPHS = {
    "Gemm, all of it": (
        [("Gemm", "x w b", "y", {"transB": 1, "alpha": 0.5, "beta": 2.0})],
        {"w": W.T, "b": B[None]},
        "Dense(4 -> 5)",
    ),
    "Gemm without bias": ([("Gemm", "x w", "y")], {"w": W}, "Dense(4 -> 5, bias=False)"),
    "MatMul, Add, Relu": (
        [("MatMul", "x w", "a"), ("Add", "b a", "c"), ("Relu", "c", "d"), ("MatMul", "d w2", "y")],
        {"w": W, "b": B, "w2": W2},
        "Dense(4 -> 5, relu), Dense(5 -> 2, bias=False)",
    ),
    "constants folded": (
        [
            ("Transpose", "w", "wt", {"perm": (1, 0)}),
            ("Reshape", "b shape", "flat"),
            ("Neg", "flat", "minus"),
            ("Identity", "wt", "wi"),
            ("Cast", "wi", "wc", {"to": TensorProto.FLOAT}),
            ("Concat", "wc wc", "twice", {"axis": 1}),
            ("MatMul", "x twice", "a"),
            ("Sub", "a minus", "y"),
        ],
        {"w": weights(3, 4), "b": weights(2, 3), "shape": np.array([-1])},
        "Dense(4 -> 6)",
    ),
    "batch normalisation": (
        [
            ("Gemm", "x w b", "a"),
            ("BatchNormalization", "a s b m v", "c", {"epsilon": 1e-3, "momentum": 0.8}),
            ("Tanh", "c", "y"),
        ],
        {"w": SQUARE, "b": weights(4), "s": V, "m": weights(4), "v": POSITIVE},
        "Dense(4 -> 4), BatchNorm(4 -> 4, momentum=0.2, eps=0.001), Activation(4 -> 4, tanh)",
    ),
    "layer normalisation in parts": (
        [
            ("ReduceMean", "x", "m", {"axes": (1,)}),
            ("Sub", "x m", "c"),
            ("Pow", "c two", "p"),
            ("ReduceMean", "p", "v", {"axes": (-1,)}),
            ("Add", "v eps", "e"),
            ("Sqrt", "e", "s"),
            ("Div", "c s", "n"),
            ("Mul", "n w", "nw"),
            ("Add", "nw b", "y"),
        ],
        {"two": np.float32(2), "eps": np.float32(1e-5), "w": V, "b": weights(4)},
        "LayerNorm(4 -> 4, eps=1e-05)",
    ),
    "shifts and factors": (
        [("Sub", "x m", "a"), ("Div", "a s", "b"), ("Mul", "b two", "c"), ("Add", "c m", "d"), ("Sub", "one d", "y")],
        {"m": V, "s": POSITIVE, "two": np.float32(2), "one": np.ones(1, np.float32)},
        "Standardize(4 -> 4)",
    ),
    "scaler": (
        [("ai.onnx.ml.Scaler", "x", "a", {"offset": V.tolist(), "scale": POSITIVE.tolist()}), ("MatMul", "a w", "y")],
        {"w": W},
        "Standardize(4 -> 4), Dense(4 -> 5, bias=False)",
    ),
    "branches": (
        [("Tanh", "x", "t"), ("MatMul", "t w", "a"), ("Add", "a t", "b"), ("Softsign", "b", "s"), ("Add", "x s", "y")],
        {"w": SQUARE},
        "Residual(4 -> 4, Activation(4 -> 4, tanh), Residual(4 -> 4, Dense(4 -> 4, bias=False)), "
        "Activation(4 -> 4, softsign))",
    ),
    "twice itself": ([("Add", "x x", "y")], {}, "Standardize(4 -> 4)"),
    "erf": (
        [("Div", "x r", "a"), ("Erf", "a", "e"), ("Add", "one e", "f"), ("Mul", "x f", "g"), ("Mul", "g half", "y")],
        {"r": np.float32(2**0.5), "one": np.float32(1), "half": np.array([[0.5]], np.float32)},
        "Activation(4 -> 4, gelu)",
    ),
    "Keras's hard sigmoid": (
        [("HardSigmoid", "x", "y")],
        {},
        "Standardize(4 -> 4), Activation(4 -> 4, hard_tanh(min_val=0))",
    ),
    "clipped": (
        [("Clip", "x low high", "y")],
        {"low": np.float32(-2), "high": np.float32(0.3)},
        "Activation(4 -> 4, hard_tanh(min_val=-2, max_val=0.3))",
    ),
    "clipped from below": ([("Clip", "x low", "y")], {"low": np.float32(0)}, "Activation(4 -> 4, relu)"),
    "PRelu": ([("PRelu", "x w", "y")], {"w": V}, "PReLU(4 -> 4, per_channel=True, init=0.25)"),
    "PRelu of one number": (
        [("PRelu", "x w", "y")],
        {"w": np.float32(0.1)},
        "Activation(4 -> 4, leaky_relu(negative_slope=0.1))",
    ),
    "nothing": ([("Identity", "x", "y")], {}, "Activation(4 -> 4, identity)"),
    "computed shape": (
        [
            ("Shape", "x", "s"),
            ("Gather", "s zero", "g"),
            ("Unsqueeze", "g axes", "u"),
            ("Concat", "u last", "c", {"axis": 0}),
            ("Reshape", "x c", "r"),
            ("MatMul", "r w", "y"),
        ],
        {"zero": np.array(0), "axes": np.array([0]), "last": np.array([-1]), "w": W},
        "Dense(4 -> 5, bias=False)",
    ),
    "changes of shape": (
        [("Flatten", "x", "f"), ("Reshape", "f shape", "r"), ("MatMul", "r w", "a"), ("Squeeze", "a axes", "y")],
        {"shape": np.array([-1, 4]), "axes": np.array([1]), "w": weights(4, 1)},
        "Dense(4 -> 1, bias=False)",
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_means_the_same(case):
    nodes, arrays, expected = GRAPHS[case]
    made = model(nodes, arrays)
    net = fa.onnx.load(made)
    assert ", ".join(map(repr, net.layers)) == expected
    with np.errstate(all="ignore"):
        (y,) = ReferenceEvaluator(made).run(None, {"x": X})
    np.testing.assert_allclose(net(X), y.reshape(len(X), -1), rtol=1e-5, atol=1e-6)


def test_double():
    made = model(
        [("MatMul", "x w", "a"), ("LeakyRelu", "a", "y", {"alpha": 0.3})],
        {"w": W.astype(float)},
        dtype=TensorProto.DOUBLE,
    )
    net = fa.onnx.load(made)
    assert net.dtype == np.float64
    (y,) = ReferenceEvaluator(made).run(None, {"x": X.astype(float)})
    np.testing.assert_allclose(net(X.astype(float)), y, rtol=1e-15)


def test_images_are_rows():
    made = model([("Flatten", "x", "f"), ("MatMul", "f w", "y")], {"w": weights(12, 2)}, shape=("n", 3, 2, 2))
    x = weights(5, 3, 2, 2)
    np.testing.assert_allclose(
        fa.onnx.load(made)(x.reshape(5, 12)), ReferenceEvaluator(made).run(None, {"x": x})[0], rtol=1e-5, atol=1e-6
    )


def test_one_of_several_outputs():
    made = model(
        [("Tanh", "x", "t"), ("MatMul", "t w", "pi"), ("MatMul", "t v", "value")], {"w": W, "v": W[:, :1]},
        outputs=("pi", "value"),
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected one numeric output, got pi, value; say which with output="):
        fa.onnx.load(made)
    assert fa.onnx.load(made, output="value").outputs == 1
    with pytest.raises(ValueError, match="output to be one of pi, value, got 'q'"):
        fa.onnx.load(made, output="q")


REFUSED = {
    "Conv": ([("Conv", "x w", "y")], {"w": weights(2, 4, 1, 1)}, "node 'node 0' (Conv) works on images"),
    "an operator of somebody's own": (
        [("own.Magic", "x", "y")],
        {},
        "node 'node 0' (own.Magic) is none of the operators",
    ),
    "Normalizer": ([("ai.onnx.ml.Normalizer", "x", "y")], {}, "Normalizer) divides each row by its length"),
    "a product of two inputs": (
        [("Tanh", "x", "t"), ("Mul", "x t", "y")],
        {},
        "'node 1' (Mul) has two inputs that are computed",
    ),
    "a sum of two branches": (
        [("Tanh", "x", "a"), ("Erf", "x", "b"), ("Add", "a b", "y")],
        {},
        "none of the operators",
    ),
    "a sum that follows from neither": (
        [("Tanh", "x", "a"), ("Softsign", "x", "b"), ("Add", "a b", "y")],
        {},
        "adds what does not follow one from the other",
    ),
    "a matrix from the left": ([("MatMul", "w x", "y")], {"w": W}, "needs a constant as its input 1"),
    "transposed rows": ([("Gemm", "x w", "y", {"transA": 1})], {"w": W}, "no product of rows"),
    "a cube of weights": ([("MatMul", "x w", "y")], {"w": weights(2, 4, 3)}, "no product of rows with a matrix"),
    "a matrix of shifts": ([("Add", "x w", "y")], {"w": weights(11, 4)}, "neither one number nor one a column"),
    "0 as a factor": ([("Mul", "x w", "y")], {"w": np.zeros(4, np.float32)}, "multiplied by 0"),
    "1 / x": ([("Div", "w x", "y")], {"w": np.ones(4, np.float32)}, "divides a constant"),
    "another axis": ([("Softmax", "x", "y", {"axis": 0})], {}, "none of the operators that become layers"),
    "other rows": ([("Reshape", "x s", "y")], {"s": np.array([-1, 2])}, "makes other rows of those of 4 columns"),
    "the other way round": ([("Reshape", "x s", "y")], {"s": np.array([4, -1])}, "only (rows, columns) is understood"),
    "training": (
        [("BatchNormalization", "x s s s s", "y p q", {"training_mode": 1})],
        {"s": POSITIVE},
        "is in training",
    ),
    "weights that do not fit": (
        [("MatMul", "x w", "a"), ("MatMul", "a w", "y")],
        {"w": W},
        "expected layer 1 to take 5 inputs",
    ),
    "a constant": ([("Neg", "w", "y")], {"w": W}, "which is a constant"),
    "classes": ([("ArgMax", "x", "y", {"axis": 1})], {}, "gives classes, not numbers"),
    "half precision": (
        [("MatMul", "x w", "y")],
        {"w": W.astype(np.float16)},
        "is of FLOAT16; convert the model to float32",
    ),
    "an infinite weight": ([("MatMul", "x w", "y")], {"w": W * np.inf}, "too large for float32"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_refused(case):
    nodes, arrays, said = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(said)):
        fa.onnx.load(model(nodes, arrays))


def test_rows_of_rows_are_refused():
    with pytest.raises(ValueError, match="its input has 3 dimensions"):
        fa.onnx.load(model([("MatMul", "x w", "y")], {"w": W}, shape=("n", 7, 4)))
    with pytest.raises(ValueError, match="does not say how many columns"):
        fa.onnx.load(model([("Relu", "x", "y")], {}, shape=("n", "m")))


# ------------------------------------------------------------------------------------------ not to be believed


def outside(made, location, offset=None, length=None):
    """The first weight moved to another file, as the entries say."""
    tensor = made.graph.initializer[0]
    content = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return content


def test_external_data(tmp_path):
    made = model([("MatMul", "x w", "y")], {"w": W})
    folder = tmp_path / "models"
    folder.mkdir()
    content = outside(made, "weights.bin", 8, W.nbytes)
    (folder / "weights.bin").write_bytes(b"12345678" + content)
    (folder / "a.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=r"a\.onnx .*lies in another file, 'weights\.bin'; pass external_data=True"):
        fa.onnx.load(folder / "a.onnx")
    np.testing.assert_allclose(fa.onnx.load(folder / "a.onnx", external_data=True)(X), X @ W, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("location", "offset", "length", "said"),
    [
        ("../secret", None, None, "no file in the model's folder"),
        ("link", None, None, "no file in the model's folder"),
        ("/etc/passwd", None, None, "no file in the model's folder"),
        ("", None, None, "no file in the model's folder"),
        (".", None, None, "no file in the model's folder"),
        ("weights", None, 2**40, "claims 1099511627776 bytes"),
        ("weights", 2**40, None, "which has 80; its shape asks for 80"),
        ("weights", 4, None, "which has 80"),
        ("weights", -4, None, "which has 80"),
        ("weights", "x", None, "invalid literal"),
    ],
)
def test_external_data_elsewhere(tmp_path, location, offset, length, said):
    folder = tmp_path / "models"
    folder.mkdir()
    made = model([("MatMul", "x w", "y")], {"w": W})
    content = outside(made, location, offset, length)
    for file in (tmp_path / "secret", folder / "weights"):
        file.write_bytes(content)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "a.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(ValueError, match=said):
        fa.onnx.load(folder / "a.onnx", external_data=True)


def claiming(**fields):
    made = model([("MatMul", "x w", "y")], {"w": W})
    tensor = made.graph.initializer[0]
    for name, value in fields.items():
        if name == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, name, value)
    return made


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: claiming(dims=[2**31, 2**31]), "claims the shape .* and has 80 bytes"),
        (lambda: claiming(dims=[-4, -5]), "claims the shape"),
        (lambda: claiming(dims=[1] * 40), "claims the shape"),
        (lambda: claiming(dims=[0, 2**62, 5]), "claims the shape|too big|too large"),
        (lambda: claiming(data_type=99), "is of 99; convert"),
        (lambda: model([("Add", "x later", "y"), ("Tanh", "y", "later")], {}), "reads 'later', which nothing before"),
        (lambda: model([("Tanh", "x", "y"), ("Relu", "x", "y")], {}), "makes 'y', which is there already"),
        (lambda: model([("Tanh", "x", "a")], {}), "nothing makes its output 'y'"),
        (lambda: model([("Relu", "x", "y")], {}, shape=("n", 2**40)), "wider than its arrays"),
        (
            lambda: model(
                [("Add", "a b", "c"), ("Add", "x c", "y")], {"a": np.ones((4000, 1)), "b": np.ones((1, 4000))}
            ),
            "more numbers than such a file should",
        ),
        (onnx.ModelProto, "no graph"),
    ],
)
def test_claims(made, said):
    made = made()
    start = time.process_time()
    with pytest.raises(ValueError, match=said):
        fa.onnx.load(made)
    assert time.process_time() - start < 1


def test_a_structure_that_would_grow(monkeypatch, tmp_path):
    file = tmp_path / "a.onnx"
    for content in (
        b"\x3a\x00" * 3_000_000,
        b"\xa2\x01\x00" * 2_000_000,
        b"\x0a" * 7,
        b"\x3a\xff\xff\xff\xff\x7f",
        b"\x80" * 40,
    ):
        file.write_bytes(content)
        start = time.process_time()
        with pytest.raises(ValueError, match=r"a\.onnx is no network"):
            fa.onnx.load(file)
        assert time.process_time() - start < 10
    with pytest.raises(FileNotFoundError, match="load: there is no file"):
        fa.onnx.load(tmp_path / "b.onnx")
    with pytest.raises(TypeError, match="load: expected a path"):
        fa.onnx.load(3)
    monkeypatch.setattr(reader, "NODE_LIMIT", 1)
    with pytest.raises(ValueError, match="at most 1 nodes, got 2"):
        fa.onnx.load(model([("Tanh", "x", "a"), ("Tanh", "a", "y")], {}))


def test_many_nodes_take_linear_time():
    def seconds(count):
        nodes = [("Neg", f"t{i}" if i else "x", f"t{i + 1}") for i in range(count)]
        made = model([*nodes, ("Identity", f"t{count}", "y")], {})
        start = time.process_time()
        assert len(fa.onnx.load(made).layers) == 1
        return time.process_time() - start

    seconds(10)
    assert seconds(8000) < 40 * max(seconds(800), 0.01)


def damaged(content, draw):
    content = bytearray(content)
    for _ in range(draw.randint(1, 3)):
        place, other = draw.randrange(len(content)), draw.randrange(len(content))
        length = draw.choice([1, 2, 4, 8, 30])
        piece = draw.choice([
            draw.randbytes(length), b"\xff" * length, bytes(length), bytes(content[other : other + length]), b"",
        ])  # fmt: skip
        content[place : place + len(piece) if draw.random() < 0.8 else max(place, other)] = piece
    return bytes(content)


def test_damaged_files(tmp_path):
    """Only ValueError, in bounded time, or a network."""
    net = fa.Sequential(
        fa.Standardize(4), fa.Dense(4, 6, "gelu_tanh"), fa.BatchNorm(), fa.PReLU(per_channel=True), fa.Maxout(2),
        fa.Residual(fa.Dense(3, 3, "selu"), fa.Dropout(0.2)), fa.LayerNorm(), fa.Swish(), fa.Dense(3, 2), rng=0,
    )  # fmt: skip
    file = tmp_path / "a.onnx"
    contents = [
        fa.onnx.export(
            net, opset=opset, classes=["a", "b"], scaling=(np.ones(4), np.ones(4)), zipmap=True
        ).SerializeToString()
        for opset in (14, 20)
    ]
    contents += [
        model(*GRAPHS[case][:2]).SerializeToString() for case in ("constants folded", "computed shape", "branches")
    ]
    for number in range(400):
        draw = random.Random(number)
        file.write_bytes(damaged(draw.choice(contents), draw))
        start = time.process_time()
        try:
            with np.errstate(all="ignore"):
                fa.onnx.load(file)
        except ValueError as error:
            if not str(error).startswith("load: a.onnx is no network"):
                raise AssertionError(number) from error
        assert time.process_time() - start < 2, number
