"""The command line as a whole: help, mistakes, processes; and ``fastact info``."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastact as fa
from fastact import backends, cli, runtime


@pytest.mark.parametrize("arguments", [["fly"], ["predict"], ["--json"]])
def test_bad_command(refused, arguments):
    assert "fastact" in refused(*arguments)


def test_info(call):
    code, out, _ = call("info", "--json")
    assert code == 0
    assert json.loads(out) == runtime.config()
    assert fa.__version__ in call("info")[1]


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(name in out for name in cli.COMMANDS)
    assert call() == (0, out, "")  # nothing at all asks for help
    code, out, _ = call("train", "--help")
    assert code == 0
    assert "threadpoolctl" in out
    assert call("--version")[:2] == (0, f"fastact {fa.__version__}\n")


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_each_command(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert "--json" in out


def test_only_the_called_command_is_loaded(python):
    program = """
        import sys
        from fastact.cli import main
        assert main(["info"]) == 0
        heavy = "matplotlib", "sklearn", "fastact.sklearn", "fastact.measure", "fastact.examples"
        print("loaded", [name for name in sys.modules if name in heavy or "command_" in name])
    """
    assert "loaded ['fastact.cli.command_info']" in python(program).stdout


def test_reader_that_leaves(tmp_path):
    program = "import sys; sys.stdin.read(); from fastact.cli import main; sys.exit(main(['info']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=tmp_path,
    )  # fmt: skip
    process.stdout.close()  # before the program writes: it waits for its input
    process.stdin.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (141, b"")


@pytest.mark.skipif(not backends.compiled, reason="no compiled core")
def test_module_in_a_source_folder_runs_the_compiled_installation(tmp_path):
    source = Path(fa.__file__).parent
    shutil.copytree(source, tmp_path / "fastact", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-m", "fastact", "info", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = json.loads(result.stdout)
    assert (shown["backend"], Path(shown["path"])) == ("native", source)
    assert "these sources are not compiled" in result.stderr


def test_a_missing_extra_is_named(monkeypatch, refused, call):
    monkeypatch.setitem(sys.modules, "mpmath", None)
    for arguments in ([], ["relu"], ["relu", "--dtype", "float64"]):
        assert "pip install fastact[bench]" in refused("accuracy", *arguments)
    assert call("accuracy", "relu", "--dtype", "float32")[0] == 0
