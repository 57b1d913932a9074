"""``fastact predict`` with what ``fastact train`` saved."""

import csv
import json

import numpy as np
import pytest

import fastact as fa
from fastact.data.tables import load_digits

QUICK = ("--epochs", "2", "--hidden", "8")


def flowers(folder, header="width,height,kind", delimiter=",", rows=90, name="flowers.csv"):
    """Three kinds that lie well apart; the label last."""
    rng = np.random.default_rng(5)
    kinds = np.array(["aster", "daisy", "poppy"])
    number = rng.integers(0, 3, rows)
    x = rng.normal(size=(rows, 2)) * (1000, 0.01) + number[:, None] * (10_000, -0.1) + 5000
    lines = [header.replace(",", delimiter)] if header else []
    lines += [delimiter.join([repr(float(a)), repr(float(b)), k]) for (a, b), k in zip(x, kinds[number], strict=True)]
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file, x, kinds[number]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_save_and_predict_with_names_and_scales(call, tmp_path, delimiter):
    data, x, kinds = flowers(tmp_path, delimiter=delimiter)
    model = tmp_path / "flowers.safetensors"
    code, out, _ = call("train", "--data", data, "--save", model, "--json")
    assert code == 0
    report = json.loads(out)
    assert report["test_accuracy"] == 1  # only because the features were standardised: their scales differ by 1e5
    assert report["saved"] == str(model)

    code, out, err = call("predict", "--model", model, "--data", data)
    assert (code, err) == (0, "accuracy 100.00 % of 90 labelled rows\n")
    assert out.splitlines() == kinds.tolist()

    np.savez(tmp_path / "new.npz", x=x)
    code, out, err = call("predict", "--model", model, "--data", tmp_path / "new.npz", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["labels"] == kinds.tolist()
    assert answer["classes"] == ["aster", "daisy", "poppy"]
    assert answer["accuracy"] is None
    np.testing.assert_allclose(np.sum(answer["probabilities"], axis=1), 1)

    output = tmp_path / "out.csv"
    code, out, _ = call("predict", "--model", model, "--data", tmp_path / "new.npz", "--output", output)
    assert (code, out) == (0, f"{output}: 90 rows\n")
    rows = list(csv.reader(output.read_text().splitlines()))
    assert rows[0] == ["label", "probability aster", "probability daisy", "probability poppy"]
    assert [row[0] for row in rows[1:]] == kinds.tolist()
    np.testing.assert_allclose(np.array(rows[1:])[:, 1:].astype(float), answer["probabilities"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["flowers.csv", "flowers.safetensors", "new.npz", "out.csv"]


@pytest.mark.usefixtures("quick")
def test_digits_model_takes_pixels_and_says_digits(call, tmp_path):
    model = tmp_path / "digits.safetensors"
    assert call("train", "--save", model, "--epochs", "5")[0] == 0
    x, y = load_digits()
    np.savez(tmp_path / "few.npz", x=x[:50], y=y[:50])
    answer = json.loads(call("predict", "--json", "--model", model, "--data", tmp_path / "few.npz")[1])
    assert answer["accuracy"] > 0.9
    assert answer["classes"] == list(range(10))


@pytest.mark.usefixtures("quick")
def test_predict_refuses_other_features(call, refused, tmp_path):
    data, _, _ = flowers(tmp_path)
    model = tmp_path / "m.safetensors"
    assert call("train", "--data", data, "--save", model, *QUICK)[0] == 0
    other, _, _ = flowers(tmp_path, header="height,breadth,kind", name="other.csv")
    assert "expected a column named 'width', got 'height', 'breadth', 'kind'" in refused(
        "predict", "--model", model, "--data", other
    )
    np.savez(tmp_path / "n.npz", x=np.ones((3, 5)))
    assert "expected 2 features as the model has (and perhaps a label), got 5" in refused(
        "predict", "--json", "--model", model, "--data", tmp_path / "n.npz"
    )
    np.savez(tmp_path / "n.npz", x=np.full((3, 2), 1e300))
    assert "row 1, column 'width': the number is too far from the others for float32" in refused(
        "predict", "--model", model, "--data", tmp_path / "n.npz"
    )
    for target in (tmp_path / "no" / "out.csv", tmp_path, tmp_path / "out.txt"):
        assert "--output" in refused("predict", "--model", model, "--data", data, "--output", target)


def test_predict_refuses_what_is_no_model(refused, tmp_path):
    data, _, _ = flowers(tmp_path)
    assert "there is no file" in refused("predict", "--model", tmp_path / "no.safetensors", "--data", data)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    assert "is not a whole fastact network" in refused("predict", "--model", broken, "--data", data)
    plain = tmp_path / "plain.safetensors"
    fa.Sequential(fa.Dense(2, 3), rng=0).save(plain)
    assert "expected a model saved by fastact train" in refused("predict", "--model", plain, "--data", data)
