"""``fastact compare``."""

import json

import pytest

import fastact as fa
from fastact import cli

QUICK = ("--seeds", "2", "--epochs", "3", "--hidden", "16")


@pytest.fixture(autouse=True)
def one_thread():
    """These products are small, and the machine may be busy."""
    with fa.num_threads(1):
        yield


def test_command(capsys):
    assert cli.main(["compare", "--activations", "relu,elu:alpha=0.5,tanh", *QUICK]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("digits, 64-16-10, 3 epochs, 2 seeds")
    assert [line.split()[0] for line in lines[2:]] == ["relu", "elu(alpha=0.5)", "tanh"]
    assert err == ""  # no bar where there is no terminal


def test_command_json(capsys, tmp_path):
    assert cli.main(["compare", "--activations", "relu", *QUICK, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["layers"] == [64, 16, 10]
    (result,) = report["results"]
    assert result["activation"] == "relu"
    assert {"accuracy_mean", "accuracy_spread", "epochs", "dead", "saturated", "zeros", "microseconds"} <= set(result)
    file = tmp_path / "c.json"
    assert cli.main(["compare", "--activations", "relu", *QUICK, "--json", str(file)]) == 0
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
