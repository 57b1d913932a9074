"""``fastact plot``, and ``fastact compare --plot``."""

import json
import sys

import pytest

from fastact import cli
from fastact.registry import ACTIVATIONS, LEARNED

QUICK = ("--seeds", "2", "--epochs", "3", "--hidden", "16")


def without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def test_missing_matplotlib_is_told_before_the_work(capsys, monkeypatch, tmp_path):
    without_matplotlib(monkeypatch)
    monkeypatch.setattr("fastact.examples.comparison.compare_activations", lambda *_, **__: pytest.fail("it trained"))
    for command in (["compare", "--plot"], ["plot", "relu", "--out"]):
        assert cli.main([*command, str(tmp_path / "f.png")]) == 2
        assert "pip install fastact[plot]" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_activations(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "f.png"
    assert cli.main(["plot", "relu", "elu:alpha=0.5", "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_bytes().startswith(b"\x89PNG")
    assert [f.name for f in tmp_path.iterdir()] == ["f.png"]


def test_without_names_all_are_drawn_and_those_of_lectures_by_name(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    file = str(tmp_path / "f.svg")
    assert cli.main(["plot", "--json", "--out", file]) == 0
    assert json.loads(capsys.readouterr().out)["axes"] == len(ACTIVATIONS) + len(LEARNED)
    assert cli.main(["plot", "prelu:weight=0.1", "maxout", "maxout:pieces=3", "--json", "--out", file]) == 0
    assert json.loads(capsys.readouterr().out)["axes"] == 2
    assert cli.main(["compare", "--activations", "maxout"]) == 2
    assert "maxout, with several inputs for each output, is for use from Python" in capsys.readouterr().err


def test_figures_of_reports(capsys, tmp_path):
    pytest.importorskip("matplotlib")
    report, picture = tmp_path / "c.json", tmp_path / "c.svg"
    options = ["compare", "--activations", "relu,tanh", *QUICK, "--json", str(report), "--plot", str(picture)]
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
        (["maxout:pieces=2.5", "--out", "f.png"], "expected pieces to be a whole number"),
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
