"""The comparison of activations, its command and the figures."""

import json
import sys

import numpy as np
import pytest

import fastact as fa
from fastact import cli
from fastact.examples.comparison import Comparison, compare, table

QUICK = {"seeds": 2, "epochs": 3, "hidden": (16,)}
QUICK_OPTIONS = ("--seeds", "2", "--epochs", "3", "--hidden", "16")


@pytest.fixture(autouse=True)
def one_thread():
    """These products are small, and the machine may be busy."""
    with fa.num_threads(1):
        yield


def test_same_data_and_seeds_for_all_and_every_run():
    relu, tanh = fa.activation("relu"), fa.activation("tanh")
    together, alone = compare([relu, tanh], **QUICK), compare([tanh], **QUICK)
    assert [r.activation for r in together] == ["relu", "tanh"]
    assert together[1].training_error == alone[0].training_error
    assert together[1].test_accuracy == alone[0].test_accuracy
    for result in together:
        assert [len(errors) for errors in result.training_error] == [3, 3]
        assert all(0.5 < accuracy <= 1 for accuracy in result.test_accuracy)
        assert result.microseconds > 0
        assert result.training_error[0] != result.training_error[1]  # the seeds differ


def test_relu_has_zeros_and_tanh_has_none():
    relu, tanh, sigmoid = compare([fa.activation(name) for name in ("relu", "tanh", "sigmoid")], **QUICK)
    assert 0.1 < relu.zeros < 0.9
    assert (tanh.zeros, sigmoid.zeros, tanh.dead, sigmoid.dead) == (0, 0, 0, 0)
    assert (relu.small_slopes, relu.saturated) == (0, 0)
    (driven,) = compare([fa.activation("sigmoid")], **QUICK, lr=5.0)
    assert sigmoid.small_slopes < 0.01
    assert driven.small_slopes > 0.1
    assert sigmoid.accuracy_mean < relu.accuracy_mean  # three epochs: the logistic is slower


def test_dead_units_are_counted():
    (dead,) = compare([fa.activation("hard_shrink", lambd=1000.0)], **QUICK)
    assert (dead.dead, dead.zeros, dead.saturated) == (1, 1, 0)
    assert dead.accuracy_mean < 0.2
    assert dead.epochs is None


def test_summary_numbers():
    result = Comparison("relu", [0.9, 0.96], [4, None], 0.0, 0.0, 0.0, 0.5, 10.0, [[0.1], [0.2]])
    assert result.accuracy_mean == pytest.approx(0.93)
    assert result.accuracy_spread == pytest.approx(np.std([0.9, 0.96], ddof=1))
    assert result.epochs is None
    assert Comparison("relu", [0.9], [4], 0, 0, 0, 0, 1, [[0.1]]).accuracy_spread == 0
    assert Comparison("relu", [0.9] * 3, [4, 6, None], 0, 0, 0, 0, 1, [[0.1]] * 3).epochs == 6
    assert "93.00 +- 4.24 %" in table([result])


def test_command(capsys):
    assert cli.main(["compare", "--activations", "relu,elu:alpha=0.5,tanh", *QUICK_OPTIONS]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("digits, 64-16-10, 3 epochs, 2 seeds")
    assert [line.split()[0] for line in lines[2:]] == ["relu", "elu(alpha=0.5)", "tanh"]
    assert err == ""  # no bar where there is no terminal


def test_command_json(capsys, tmp_path):
    assert cli.main(["compare", "--activations", "relu", *QUICK_OPTIONS, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["layers"] == [64, 16, 10]
    (result,) = report["results"]
    assert result["activation"] == "relu"
    assert {"accuracy_mean", "accuracy_spread", "epochs", "dead", "saturated", "zeros", "microseconds"} <= set(result)
    file = tmp_path / "c.json"
    assert cli.main(["compare", "--activations", "relu", *QUICK_OPTIONS, "--json", str(file)]) == 0
    assert "relu" in capsys.readouterr().out
    assert json.loads(file.read_text())["results"][0]["test_accuracy"] == result["test_accuracy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--activations", "relu,rellu"], "unknown activation 'rellu'"),
        (["--seeds", "0"], "expected a whole number >= 1"),
        (["--hidden", "none"], "expected at least one hidden layer"),
        (["--json", "c.txt"], "expected a file name that ends in .json"),
        (["--plot", "c.gif"], "expected a file name that ends in .png or .svg or .pdf"),
        (["--threshold", "0"], "expected a finite number > 0"),
    ],
)
def test_command_refuses(capsys, options, message):
    assert cli.main(["compare", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


# ------------------------------------------------------------------------------------------------ figures


def without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def test_missing_matplotlib_is_told_before_the_work(capsys, monkeypatch, tmp_path):
    without_matplotlib(monkeypatch)
    monkeypatch.setattr("fastact.examples.comparison.compare", lambda *_, **__: pytest.fail("it trained"))
    for command in (["compare", "--plot"], ["plot", "relu", "--out"]):
        assert cli.main([*command, str(tmp_path / "f.png")]) == 2
        assert "pip install fastact[plot]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_figures_of_activations(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "f.png"
    assert cli.main(["plot", "relu", "elu:alpha=0.5", "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [f.name for f in tmp_path.iterdir()] == ["f.png"]

    from fastact import plot

    left, right = plot.activations(["relu", "tanh"], -2, 3).axes
    x, y = left.lines[0].get_data()
    np.testing.assert_array_equal(y, np.maximum(0, x))
    assert (x[0], x[-1]) == (-2, 3)
    np.testing.assert_allclose(right.lines[1].get_ydata(), 1 - np.tanh(x) ** 2, atol=1e-12)
    assert len(plot.activations(sorted(fa.registry.ACTIVATIONS)).axes[0].lines) == len(fa.registry.ACTIVATIONS)


def test_figures_of_reports(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    report, picture = tmp_path / "c.json", tmp_path / "c.svg"
    options = ["compare", "--activations", "relu,tanh", *QUICK_OPTIONS, "--json", str(report), "--plot", str(picture)]
    assert cli.main(options) == 0
    assert "<svg" in picture.read_text()
    capsys.readouterr()
    assert cli.main(["plot", "--from", str(report), "--out", str(tmp_path / "d.pdf"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(tmp_path / "d.pdf"), "axes": 2}
    assert (tmp_path / "d.pdf").read_bytes().startswith(b"%PDF")
    (tmp_path / "t.json").write_text(json.dumps({"train_losses": [2.0, 1.0, 0.5]}))
    assert cli.main(["plot", "--from", str(tmp_path / "t.json"), "--out", str(tmp_path / "t.png")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["relu"], "the following arguments are required: --out"),
        (["rellu", "--out", "f.png"], "unknown activation 'rellu'"),
        (["prelu", "--out", "f.png"], "prelu has a learned weight; name an activation without one"),
        (["relu", "--out", "f.gif"], "expected a file name that ends in .png"),
        (["relu", "--out", "no/f.png"], "cannot write into no"),
        (["relu", "--low", "3", "--high", "1", "--out", "f.png"], "expected low < high"),
        (["--from", "no.json", "--out", "f.png"], "No such file"),
        (["--from", "bad.json", "--out", "f.png"], "expected JSON"),
        (["--from", "other.json", "--out", "f.png"], "expected what fastact compare --json"),
        (["relu", "--from", "other.json", "--out", "f.png"], "not both"),
    ],
)
def test_plot_refuses(capsys, monkeypatch, tmp_path, options, message):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "other.json").write_text('{"results": [{"activation": "relu"}]}')
    assert cli.main(["plot", *options]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err
    assert sorted(f.name for f in tmp_path.iterdir()) == ["bad.json", "other.json"]
