"""ONNX files and other libraries: what ONNX Runtime computes of ours, and what PyTorch and skl2onnx write."""

import io
import json
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx_cases import CASES, TOLERANCE, WIDTH, difference, inputs, network  # noqa: E402

import fastact as fa  # noqa: E402

runtime = pytest.importorskip("onnxruntime")
OPTIONS = runtime.SessionOptions()
OPTIONS.log_severity_level = 4
OPTIONS.intra_op_num_threads = 1


def run(model, x):
    session = runtime.InferenceSession(model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_numbers_of_onnx_runtime(case, dtype):
    net, x = network(case, dtype), inputs(case, dtype)
    for opset in (14, 18, 20, 24):
        (got,) = run(fa.onnx.export(net, opset=opset), x)
        assert difference(got, net(x)) <= TOLERANCE[dtype], opset


@pytest.mark.parametrize("kind", ["binary", "several", "texts", "labels", "regression", "two", "scaled", "counts"])
@pytest.mark.parametrize("zipmap", [False, True])
def test_estimators(kind, zipmap):
    sklearn = pytest.importorskip("fastact.sklearn")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 5)).astype(np.float32)
    y = rng.integers(0, 3, 80)
    common = {"hidden_layer_sizes": (7,), "max_iter": 3, "random_state": 0, "batch_norm": True, "dropout": 0.2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind in ("regression", "two", "scaled", "counts"):
            targets = x[:, :2] * 3 + 7 if kind == "two" else np.abs(x[:, 0]) * 5 + 100 * (kind == "scaled")
            more = {"scaled": {"scale_targets": True}, "counts": {"loss": "poisson"}}.get(kind, {})
            estimator = sklearn.MLPRegressor(**common, **more).fit(x, targets)
            (got,) = run(fa.onnx.export(estimator, zipmap=zipmap), x)
            expected = estimator.predict(x).reshape(len(x), -1)
            np.testing.assert_allclose(got.reshape(len(x), -1), expected, rtol=2e-6, atol=1e-6)
            again = fa.onnx.load(fa.onnx.export(estimator)) if kind != "counts" else None
            if again is not None:
                np.testing.assert_allclose(again(x), got, rtol=1e-5, atol=1e-5)
            return
        texts, labels = np.array(["a", "bc", "d"])[y], np.eye(3, dtype=int)[y]
        targets = {"binary": y > 0, "several": y * 10, "texts": texts, "labels": labels}[kind]
        estimator = sklearn.MLPClassifier(**common, activation="silu").fit(x, targets)
    label, probabilities = run(fa.onnx.export(estimator, zipmap=zipmap), x)
    if zipmap:
        keys = list(probabilities[0])
        assert keys == [str(c) if kind == "texts" else int(c) for c in estimator.classes_]
        probabilities = np.array([[row[key] for key in keys] for row in probabilities], np.float32)
    np.testing.assert_allclose(probabilities, estimator.predict_proba(x), rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(label, estimator.predict(x).astype(label.dtype))
    again = fa.onnx.load(fa.onnx.export(estimator, zipmap=zipmap))
    np.testing.assert_allclose(again(x), estimator.predict_proba(x), rtol=1e-5, atol=1e-6)
    if kind != "labels" or zipmap:
        assert json.loads(again.metadata["classes"]) == [
            str(c) if kind == "texts" else int(c) for c in estimator.classes_
        ]


def skl2onnx_models():
    """Names, scikit-learn's estimators and options of skl2onnx."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    rng = np.random.default_rng(0)
    x = (rng.normal(size=(60, 4)) * (1, 10, 0.1, 3) + (0, 100, 0, -5)).astype(np.float32)
    y = rng.integers(0, 3, 60)
    small = {"hidden_layer_sizes": (6, 5), "max_iter": 4, "random_state": 0}
    scaled = make_pipeline(StandardScaler(), MLPClassifier(**small, activation="tanh"))
    yield "binary", MLPClassifier(**small).fit(x, y > 0), {}, x, 1
    yield "pipeline, texts", scaled.fit(x, np.array(["a", "b", "c"])[y]), {}, x, 1
    yield "no map", MLPClassifier(**small, activation="logistic").fit(x, y), {"options": {"zipmap": False}}, x, 1
    yield "labels", MLPClassifier(**small).fit(x, np.eye(3)[y]), {"options": {"zipmap": False}}, x, 1
    yield "regressor", make_pipeline(MinMaxScaler(), MLPRegressor(**small)).fit(x, x[:, 0]), {}, x, 0
    yield "two targets", MLPRegressor(**small, activation="identity").fit(x, x[:, :2]), {}, x, 0


@pytest.mark.filterwarnings("ignore")
def test_files_of_skl2onnx():
    convert = pytest.importorskip("skl2onnx").to_onnx
    for name, estimator, options, x, place in skl2onnx_models():
        model = convert(estimator, x[:1], **options)
        net, expected = fa.onnx.load(model), run(model, x)[place]
        if isinstance(expected, list):
            expected = np.array([list(row.values()) for row in expected])
        np.testing.assert_allclose(net(x), expected.reshape(len(x), -1), rtol=1e-4, atol=1e-5, err_msg=name)
        if "pipeline" in name:
            assert json.loads(net.metadata["classes"]) == ["a", "b", "c"]


def torch_modules(nn):
    yield from (nn.ReLU(), nn.LeakyReLU(0.2), nn.Sigmoid(), nn.Tanh(), nn.ELU(0.5), nn.CELU(0.5), nn.SELU(), nn.GELU())
    yield from (nn.GELU("tanh"), nn.Softplus(), nn.Softplus(2), nn.LogSigmoid(), nn.SiLU(), nn.Mish(), nn.Hardsigmoid())
    yield from (nn.Hardswish(), nn.Hardtanh(-2, 3), nn.ReLU6(), nn.Softsign(), nn.Softshrink(0.3), nn.Hardshrink(0.3))
    yield from (nn.Tanhshrink(), nn.PReLU(), nn.PReLU(5), nn.LayerNorm(5), nn.BatchNorm1d(5), nn.Softmax(-1))
    yield from (nn.LogSoftmax(1), nn.Dropout(), nn.AlphaDropout(), nn.Flatten(), nn.Identity())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_files_of_pytorch(opset):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32) * 4
    read = 0
    for module in torch_modules(torch.nn):
        stack = torch.nn.Sequential(torch.nn.Linear(4, 5), module, torch.nn.Linear(5, 2, bias=False)).eval()
        file = io.BytesIO()
        try:
            torch.onnx.export(
                stack, (torch.zeros(2, 4),), file, dynamo=False, opset_version=opset, input_names=["x"],
                dynamic_axes={"x": {0: "rows"}},
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError:
            continue
        net = fa.onnx.load(onnx.load_model_from_string(file.getvalue()))
        with torch.no_grad():
            expected = stack(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(net(x), expected, rtol=1e-5, atol=5e-6, err_msg=str(module))
        read += 1
    assert read >= 29


@pytest.mark.filterwarnings("ignore")
def test_a_module_of_pytorch_with_a_branch():
    torch = pytest.importorskip("torch")

    class Policy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = (torch.nn.Linear(*s) for s in ((WIDTH, 8), (8, 8), (8, 3)))

        def forward(self, x):
            x = torch.relu(self.first(x.view(x.size(0), -1)))
            return torch.sigmoid(self.third(x + torch.tanh(self.second(x))))

    policy, file = Policy(), io.BytesIO()
    torch.onnx.export(
        policy, (torch.zeros(2, 2, 3),), file, dynamo=False, opset_version=17, input_names=["x"],
        dynamic_axes={"x": {0: "rows"}},
    )  # fmt: skip
    net = fa.onnx.load(onnx.load_model_from_string(file.getvalue()))
    x = torch.randn(9, 2, 3)
    with torch.no_grad():
        np.testing.assert_allclose(net(x.numpy().reshape(9, 6)), policy(x).numpy(), rtol=1e-5, atol=1e-6)
    assert [type(layer).__name__ for layer in net.layers] == ["Dense", "Residual", "Dense"]
