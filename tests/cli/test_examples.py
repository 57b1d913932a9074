"""``fastact examples``."""

import ast
import inspect
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


def test_command_refuses_others(capsys):
    for given in ("21", "xor_", "0"):
        assert cli.main(["examples", "1", given]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert f"there is no example {given}" in err
        assert "fastact examples --list shows those there are" in err


def test_examples_have_names_and_a_list(capsys):
    assert cli.main(["examples", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(worked.EXAMPLES)
    names = [line.split()[1] for line in lines]
    assert len(set(names)) == len(names)
    assert lines[6].split() == ["7", "xor", "XOR"]
    assert cli.main(["examples", "xor", "dead-relu", "--list", "--json"]) == 0
    assert [one["number"] for one in json.loads(capsys.readouterr().out)["examples"]] == [7, 14]
    assert cli.main(["examples", "xor"]) == 0
    assert capsys.readouterr().out.startswith("7. XOR\n")


def test_the_code_of_an_example_is_whole(capsys):
    """It is Python, and what it calls is there, or what the module imports, or how rows are made."""
    assert cli.main(["examples", "xor", "--code"]) == 0
    assert "def _train(" in capsys.readouterr().out
    for number, (_, function) in worked.EXAMPLES.items():
        source = worked.code(number)
        defined = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
        assert function.__name__ in defined
        called = {
            node.func.id
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        own = {
            name
            for name, value in vars(worked).items()
            if inspect.isfunction(value) and value.__module__ == worked.__name__
        }
        reporting = {one.__name__ for one in worked.REPORTING}
        assert called & own <= defined | reporting
        assert not defined & reporting
