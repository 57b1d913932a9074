"""The command line: ``fastact train``, ``predict``, ``examples``, ``info`` and others, each with ``--json``.

A command is a module ``command_<name>`` here and a row of ``COMMANDS``. The module has ``add_options(parser)`` and
``run(options)``, which returns the exit code; it is imported when its command is called, and no other is.
Mistakes in what the user gave are ``CommandError``: one line on standard error, exit code 2.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from .._version import __version__
from .options import CommandError

__all__ = ["main"]

#: Commands, and their lines in the help.
COMMANDS = {
    "train": "train a network on a table, or on the bundled digits",
    "predict": "predict the rows of a table with a saved model",
    "evaluate": "say how well a saved model predicts a table",
    "export": "write a saved model as an ONNX file",
    "examples": "compute the lectures' worked examples",
    "compare": "train one network with each activation",
    "plot": "draw activations, trainings and comparisons",
    "check": "compare the kernels with NumPy and exact values",
    "accuracy": "measure the largest error of the kernels",
    "info": "print what is installed and in use",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _parser(called: str | None) -> argparse.ArgumentParser:
    """The parser, with the options of the called command."""
    parser = _Parser(prog="fastact", description="Fast training of dense networks on CPUs.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastact {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        if name == called:
            module = import_module(f".command_{name}", __name__)
            module.add_options(command)
            command.set_defaults(run=module.run)
    return parser


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command's options."""
    parser = _Parser(prog=f"fastact {name}", allow_abbrev=False)
    import_module(f".command_{name}", __name__).add_options(parser)
    return parser


def _configured(path: Path) -> list[str]:
    """The options that a .toml file holds, as they are given on a command line."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CommandError(f"--config {path}: expected TOML, as in epochs = 50 ({error})") from error
    given: list[str] = []
    for key, value in content.items():
        option = f"--{key.replace('_', '-')}"
        if isinstance(value, dict) or key == "config":
            raise CommandError(f"--config {path}: expected options, as in epochs = 50, got {key}")
        if value is not False:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            given += [option] if value is True else [f"{option}={text}"]
    return given


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    parser = _parser(called)
    options = parser.parse_args(arguments)
    if getattr(options, "config", None) is None:
        return options
    place = list(arguments).index(str(called)) + 1
    return parser.parse_args([*arguments[:place], *_configured(options.config), *arguments[place:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        options = _parsed(arguments)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except CommandError as error:
        sys.stderr.write(f"fastact: error: {' '.join(str(error).split())}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("fastact: interrupted\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; the interpreter's last flush must not fail on it
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit as stop:  # argparse, after --help and --version
        return stop.code if isinstance(stop.code, int) else 0
