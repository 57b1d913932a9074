"""``fastact export``: models that ``fastact train`` saved, and others, as ONNX files."""

import json

import numpy as np
import pytest

import fastact as fa

pytest.importorskip("onnx")


def reference(file, x):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(file))
    return evaluator.run(None, {evaluator.input_names[0]: x})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("double", [False, True])
def test_a_trained_model_takes_raw_features(call, tmp_path, double):
    rng = np.random.default_rng(5)
    kinds = np.array(["aster", "daisy", "poppy"])[rng.integers(0, 3, 90)]
    x = rng.normal(size=(90, 2)) * (1000, 0.01) + 5000
    data, model, out = (tmp_path / name for name in ("flowers.csv", "flowers.safetensors", "flowers.onnx"))
    rows = [f"{float(a)!r},{float(b)!r},{kind}" for (a, b), kind in zip(x, kinds, strict=True)]
    data.write_text("\n".join(["width,height,kind", *rows]))
    assert call("train", "--data", data, "--save", model, "--json", "--epochs", "2")[0] == 0
    code, printed, _ = call("export", "--model", model, "--out", out, "--json", *(["--float64"] if double else []))
    assert code == 0
    report = json.loads(printed)
    assert (report["inputs"], report["outputs"], report["opset"]) == (["X"], ["label", "probabilities"], 20)
    assert report["bytes"] == out.stat().st_size
    predicted = json.loads(call("predict", "--model", model, "--data", data, "--json")[1])
    label, probabilities = reference(out, x.astype(np.float64 if double else np.float32))
    # single precision holds 5000.01 to 0.0005, a twentieth of that column's deviation
    np.testing.assert_allclose(probabilities, predicted["probabilities"], atol=2e-6 if double else 0.05)
    assert np.mean(label == np.array(predicted["labels"])) >= (1 if double else 0.9)
    assert fa.onnx.load(out).metadata.keys() == {"classes", "features", "label"}


def test_numbers_in_their_units_from_columns_of_all_kinds(call, tmp_path):
    rng = np.random.default_rng(2)
    size, kind = rng.normal(50, 10, 60), rng.choice(["a", "b"], 60)
    lines = [f"{a:.3f},{k},{3 * a + 100 * (k == 'a'):.2f}" for a, k in zip(size, kind, strict=True)]
    data, model, out = (tmp_path / name for name in ("t.csv", "t.safetensors", "t.onnx"))
    data.write_text("\n".join(["size,kind,price", *lines]))
    assert call("train", "--data", data, "--save", model, "--json", "--epochs", "5")[0] == 0
    assert call("export", "--model", model, "--out", out, "--float64")[0] == 0
    predicted = json.loads(call("predict", "--model", model, "--data", data, "--json")[1])["predictions"]["price"]
    features = json.loads(fa.onnx.load(out).metadata["features"])
    given = {"size": np.round(size, 3), "kind = a": kind == "a", "kind = b": kind == "b"}
    x = np.column_stack([given[name] for name in features]).astype(float)
    np.testing.assert_allclose(reference(out, x)[0][:, 0], predicted, rtol=1e-5)


def test_another_network(call, tmp_path):
    net = fa.Sequential(fa.Dense(3, 4, "mish"), fa.Dense(4, 2), dtype="float64", rng=0)
    model, out = tmp_path / "net.npz", tmp_path / "net.onnx"
    net.save(model)
    code, printed, _ = call("export", "--model", model, "--out", out, "--opset", 18)
    assert code == 0
    assert printed == f"{out}: input to output, {out.stat().st_size} bytes\n"
    x = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(reference(out, x)[0], net(x), rtol=1e-12)


def test_refused(refused, tmp_path):
    net = fa.Sequential(fa.Dense(3, 2), rng=0)
    model = tmp_path / "net.safetensors"
    fa.save({"pi": net, "v": fa.Parameter(2)}, model)
    assert "holds the networks pi, v" in refused("export", "--model", model, "--out", tmp_path / "a.onnx")
    net.save(model)
    assert "opset" in refused("export", "--model", model, "--out", tmp_path / "a.onnx", "--opset", "9")
    assert "ends in .onnx" in refused("export", "--model", model, "--out", tmp_path / "a.bin")
    assert "no file" in refused("export", "--model", tmp_path / "b", "--out", tmp_path / "a.onnx")
    net.save(model, metadata={"task": "fastact train: classification"})
    assert "expected a model saved by fastact train" in refused(
        "export", "--model", model, "--out", tmp_path / "a.onnx"
    )
    assert not (tmp_path / "a.onnx").exists()
