"""ONNX files of networks: the same numbers by ONNX's own evaluator, and the same networks when they are read again."""

import json
import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx_cases import CASES, TOLERANCE, WIDTH, difference, inputs, network  # noqa: E402

import fastact as fa  # noqa: E402
from fastact.epilogues import ROW_FUNCTIONS  # noqa: E402
from fastact.interop.onnx import operators, writing  # noqa: E402
from fastact.layers import catalogue  # noqa: E402
from fastact.registry import ACTIVATIONS, LEARNED  # noqa: E402

OPSETS = (14, 17, 18, 20, 24)


def evaluate(model, x):
    """The outputs by ONNX's reference implementation, which overflows on the way now and then."""
    evaluator = ReferenceEvaluator(model)
    with np.errstate(all="ignore"):
        return evaluator.run(None, {evaluator.input_names[0]: x})


def test_the_table_has_every_activation():
    assert set(operators.ACTIVATIONS) == {*ACTIVATIONS, *LEARNED, *ROW_FUNCTIONS}
    assert set(writing.LAYERS) == set(catalogue.LAYERS.values())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_numbers_of_the_reference(case, dtype):
    net, x = network(case, dtype), inputs(case, dtype)
    for opset in OPSETS:
        model = fa.onnx.export(net, opset=opset)
        assert [one.version for one in model.opset_import] == [opset]
        (got,) = evaluate(model, x)
        assert difference(got, net(x)) <= TOLERANCE[dtype], opset


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_read_again(case, dtype):
    net, x = network(case, dtype), inputs(case, dtype)
    if case == "Dense":
        net.metadata["who"] = "I"
    for opset in OPSETS:
        again = fa.onnx.load(fa.onnx.export(net, opset=opset))
        assert again.dtype == net.dtype
        assert again.metadata == net.metadata
        assert difference(again(x), net(x)) <= TOLERANCE[dtype] / 10, opset
        if case != "AlphaDropout":  # which no operator says
            assert [type(layer) for layer in again.layers] == [type(layer) for layer in net.layers]
            for mine, other in zip(net.layers, again.layers, strict=True):
                if (
                    case not in ("Swish", "Swish per channel", "BatchNorm alone", "LayerNorm alone")
                    and "Dense " not in case
                ):
                    assert repr(other) == repr(mine)


def test_what_is_read_can_be_trained(tmp_path):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(90, 4)).astype(np.float32), np.arange(90) % 3
    x[np.arange(90), labels] += 3
    net = fa.Sequential(fa.Dense(4, 8, "gelu"), fa.BatchNorm(), fa.Dropout(0.1), fa.Dense(8, 3), rng=0)
    fa.onnx.export(net, tmp_path / "net.onnx", softmax=True)
    again = fa.onnx.load(tmp_path / "net.onnx", logits=True)
    assert repr(again) == repr(net)
    fa.fit(again, x, labels, epochs=20, batch_size=16, optimizer=fa.optim.Adam(1e-2), rng=0, progress=False)
    assert fa.evaluate(again, x, labels)["accuracy"] > 0.9
    with_softmax = fa.onnx.load(tmp_path / "net.onnx")
    np.testing.assert_allclose(with_softmax(x), fa.softmax(net(x)), rtol=2e-6)


def test_names(tmp_path):
    net = fa.Sequential(fa.Dense(4, 3, "swish"), fa.Residual(fa.Dense(3, 3)), fa.BatchNorm(), rng=0)
    net.metadata["made by"] = "me"
    model = fa.onnx.export(net, tmp_path / "a.onnx", input_name="features", metadata={"on": "Friday"})
    assert onnx.load(tmp_path / "a.onnx") == model
    held = {array.name for array in model.graph.initializer}
    assert held >= {*net.named_parameters(), "2.running_mean", "2.running_var"}
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ["features", "output"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, shape[1].dim_value) == ("rows", 4)
    assert {one.key: one.value for one in model.metadata_props} == {"made by": "me", "on": "Friday"}
    assert (model.producer_name, model.producer_version) == ("fastact", fa.__version__)
    assert fa.onnx.load(tmp_path / "a.onnx").metadata == {"made by": "me", "on": "Friday"}


def test_no_rows_and_many():
    net = fa.Sequential(fa.Dense(WIDTH, 6, "relu"), fa.Maxout(2), fa.LayerNorm(), rng=0)
    model = fa.onnx.export(net)
    for rows in (0, 1, 257):
        x = np.random.default_rng(rows).normal(size=(rows, WIDTH)).astype(np.float32)
        np.testing.assert_allclose(evaluate(model, x)[0], net(x), rtol=2e-6, atol=2e-6)


def test_scaling_and_classes():
    net = fa.Sequential(fa.Dense(2, 8, "tanh"), fa.Dense(8, 3), rng=0)
    mean, scale = np.array([1e6, -3.0]), np.array([10.0, 0.1])
    x = (np.random.default_rng(0).normal(size=(20, 2)) * scale + mean).astype(np.float32)
    model = fa.onnx.export(net, scaling=(mean, scale), classes=["aster", "daisy", "poppy"])
    label, probabilities = evaluate(model, x)
    expected = net(((x - mean) / scale).astype(np.float32))
    np.testing.assert_allclose(probabilities, fa.softmax(expected), rtol=2e-6)
    assert label.tolist() == [["aster", "daisy", "poppy"][i] for i in expected.argmax(axis=1)]
    again = fa.onnx.load(model, logits=True)
    assert json.loads(again.metadata["classes"]) == ["aster", "daisy", "poppy"]
    np.testing.assert_allclose(again(x), expected, rtol=1e-5, atol=1e-5)


def test_two_classes_from_one_output():
    net = fa.Sequential(fa.Dense(2, 1), rng=0)
    x = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32) * 5
    model = fa.onnx.export(net, classes=[10, 20])
    assert [one.name for one in model.graph.output] == ["label", "probabilities"]
    label, probabilities = evaluate(model, x)
    p = fa.sigmoid(net(x))[:, 0]
    assert label.tolist() == np.where(p > 0.5, 20, 10).tolist()
    np.testing.assert_allclose(probabilities, np.stack([1 - p, p], 1), rtol=2e-6, atol=1e-7)
    again = fa.onnx.load(model)
    np.testing.assert_allclose(again(x), np.stack([1 - p, p], 1), atol=2e-7)
    assert fa.onnx.load(model, logits=True).outputs == 2


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"opset": 13}, ValueError, "opset to be at least 14, got 13"),
        ({"opset": 25}, ValueError, "opset from 14 to 24, got 25"),
        ({"metadata": {"a": 1}}, TypeError, "metadata of texts"),
        ({"classes": ["a"]}, ValueError, "3 classes, one an output, got 1"),
        ({"scaling": ([0.0], [1.0])}, ValueError, "mean to be 2 finite numbers"),
        ({"scaling": ([0.0, 1.0], [1.0, 0.0])}, ValueError, "a scale without 0"),
        ({"scaling": 3}, TypeError, r"scaling to be \(mean, scale\)"),
        ({"input_dtype": "float64"}, ValueError, "input_dtype=float64 goes with scaling"),
        ({"path": "/nowhere/a.onnx"}, FileNotFoundError, "no folder"),
    ],
)
def test_refused_arguments(arguments, error, said):
    with pytest.raises(error, match=f"export: .*{said}"):
        fa.onnx.export(fa.Sequential(fa.Dense(2, 3), rng=0), **arguments)


def test_what_no_file_can_say(tmp_path):
    class Twice(fa.Dense):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

    square = fa.custom_activation("square", lambda x: x * x, lambda x: 2 * x)
    for net, said in (
        (fa.Sequential(fa.Dense(2, 3), fa.Residual(Twice(3, 3))), "Twice as layer 1.0"),
        (fa.Sequential(fa.Dense(2, 3, square)), "square in layer 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            fa.onnx.export(net, tmp_path / "a.onnx")
    for value in (3, fa.Dense(2, 3), fa.Parameter(3)):
        with pytest.raises(TypeError, match="export: expected a Sequential or a fitted estimator"):
            fa.onnx.export(value)
    assert not list(tmp_path.iterdir())


def test_without_onnx(python):
    said = python(
        "import sys; sys.modules['onnx'] = None\n"
        "import fastact as fa\n"
        "for call in (lambda: fa.onnx.load('a'), lambda: fa.onnx.export(None)):\n"
        "    try: call()\n"
        "    except ImportError as error: print(error)\n"
    )
    assert said.stdout.split("\n")[:2] == ["fastact.onnx needs onnx; install it with pip install 'fastact[onnx]'"] * 2
