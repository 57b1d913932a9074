"""``fastact examples``."""

import json

from fastact import cli
from fastact.examples import worked


def test_command_prints_lecture_ours_and_agreement(capsys):
    assert cli.main(["examples", "1", "5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1. Forward table\n")
    assert "\n5. A sigmoid neuron\n" in out
    assert "lecture  0.73\n      fastact  0.7311   agrees" in out


def test_command_json(capsys):
    assert cli.main(["examples", "4", "--json", "--backend", "numpy"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["agrees"] is True
    (example,) = report["examples"]
    assert (example["number"], example["agrees"], len(example["rows"])) == (4, True, 13)
    assert example["rows"][0] == {
        "name": "f = w x + b at w=-2, x=5, b=3",
        "lecture": "-7",
        "fastact": "-7",
        "agrees": True,
    }


def test_command_says_where_it_differs(capsys, monkeypatch):
    monkeypatch.setitem(worked.EXAMPLES, 2, ("Backward table", lambda: [worked.Row("relu", "10", "-10", False)]))
    assert cli.main(["examples", "2"]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_command_refuses_other_numbers(capsys):
    assert cli.main(["examples", "21"]) == 2
    assert "there is no example 21; they are 1 to 20" in capsys.readouterr().err
