"""What the commands share: options and their values, checks of files, mistakes of the user, JSON."""

from __future__ import annotations

import argparse
import functools
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .. import backends, functional, losses, runtime, wording
from ..epilogues import Epilogue
from ..files import to_json

#: Of --loss, for what is predicted as numbers.
NUMBER_LOSSES = ("squared_error", "absolute_error", "huber", "quantile")


class CommandError(Exception):
    """A mistake in what the user gave; the text is one line."""


@contextmanager
def user_errors() -> Iterator[None]:
    """What the library refuses in here is the user's mistake, not a bug."""
    try:
        yield
    except (ValueError, OSError, ImportError, MemoryError) as error:
        raise CommandError(str(error) or f"not enough memory ({type(error).__name__})") from error


def parse_whole(low: int) -> Callable[[str], int]:
    """The converter to whole numbers from low on."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {low}, got {text!r}")
        return value

    return parse


def parse_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def parse_positive(text: str) -> float:
    value = parse_number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number > 0, got {text!r}")
    return value


def parse_momentum(text: str) -> float:
    value = parse_number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text!r}")
    return value


def parse_widths(text: str) -> tuple[int, ...]:
    """Widths with commas between them; "none" for no hidden layer."""
    if text == "none":
        return ()
    try:
        return tuple(parse_whole(1)(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers >= 1 with commas between them, or none, got {text!r}"
        ) from None


def parse_activation(text: str) -> Epilogue:
    """As ``parse_any_activation``, with one input for each output."""
    found = parse_any_activation(text)
    if found.columns(1) != 1:
        raise argparse.ArgumentTypeError(f"{found.name}, with several inputs for each output, is for use from Python")
    return found


def parse_any_activation(text: str) -> Epilogue:
    """``name`` or ``name:parameter=value,parameter=value``; maxout has two pieces unless it says otherwise."""
    name, _, given = text.partition(":")
    parameters: dict[str, float] = {}
    for part in given.split(",") if given else ():
        key, equals, value = part.partition("=")
        if not equals or math.isnan(parse_number(value)):
            raise argparse.ArgumentTypeError(f"expected name:parameter=number,..., got {text!r}")
        number = float(value)
        parameters[key.strip()] = int(number) if number.is_integer() else number
    if name == "maxout":
        parameters.setdefault("pieces", 2)
    try:
        return functional.activation(name, **parameters)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on standard output")


def add_json_file(parser: argparse.ArgumentParser, into_file: str) -> None:
    """``--json`` or ``--json FILE``: "-" or the file's name."""
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE",
        help=f"{into_file} FILE, or without FILE print exactly one JSON object on standard output",
    )  # fmt: skip


def json_file(options: argparse.Namespace) -> Path | None:
    """The file of ``--json FILE``, found to be writable; None without one."""
    if options.json in (None, "-"):
        return None
    check_writable("--json", Path(options.json), ".json")
    return Path(options.json)


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=backends.BACKENDS, help="compiled kernels, or their NumPy twins")


def add_training(parser: argparse.ArgumentParser, hidden: tuple[int, ...], epochs: int, hidden_help: str) -> None:
    """The hidden layers, how to train them, and with what."""
    whole = parse_whole(1)
    parser.add_argument("--hidden", type=parse_widths, default=hidden, metavar="N,N", help=hidden_help)
    parser.add_argument("--epochs", type=whole, default=epochs, metavar="N", help=f"passes over the data ({epochs})")
    parser.add_argument("--batch-size", type=whole, default=64, metavar="N", help="rows per step (64)")
    parser.add_argument("--lr", type=parse_positive, default=0.1, metavar="RATE", help="learning rate (0.1)")
    parser.add_argument("--momentum", type=parse_momentum, default=0.9, metavar="M", help="momentum of SGD (0.9)")
    add_backend(parser)
    parser.add_argument("--threads", type=whole, metavar="N", help="threads for large arrays")


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How a file of text is read, where that is not found by itself."""
    group = parser.add_argument_group("reading (found by itself where not given)")
    group.add_argument("--encoding", metavar="NAME", help="of text, as in latin-1 (UTF-8, or UTF-16 with a mark)")
    group.add_argument("--delimiter", metavar="C", help="between cells, as in ';'")
    group.add_argument("--decimal", choices=(".", ","), help="of numbers")
    group.add_argument(
        "--header", action=argparse.BooleanOptionalAction, help="whether the first line holds names of columns"
    )


def parse_fraction(text: str) -> float:
    value = parse_number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text!r}")
    return value


def parse_loss(text: str) -> Any:
    """A loss of numbers, ``name`` or ``name:parameter=value``: its name, or a function."""
    name, _, given = text.partition(":")
    if name not in NUMBER_LOSSES:
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(NUMBER_LOSSES)}, as in quantile:q=0.9, got {text!r}"
            + wording.meant(name, NUMBER_LOSSES)
        )
    if not given:
        return name
    key, equals, value = given.partition("=")
    if not equals or math.isnan(parse_number(value)):
        raise argparse.ArgumentTypeError(f"expected {name}:parameter=number, got {text!r}")
    loss = functools.partial(getattr(losses, name), **{key.strip(): float(value)})
    try:
        loss(np.zeros((1, 1)), np.zeros((1, 1)))
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    return loss


@contextmanager
def chosen_backend(options: argparse.Namespace) -> Iterator[None]:
    """Compute with ``--backend`` and ``--threads`` where they are given."""
    threads = getattr(options, "threads", None)
    with ExitStack() as stack:
        with user_errors():
            if options.backend is not None:
                stack.enter_context(backends.use_backend(options.backend))
            if threads is not None:
                stack.enter_context(runtime.num_threads(threads))
        yield


def check_writable(option: str, path: Path, *endings: str) -> None:
    """Whether a file can be written there, found out before the work and not after it."""
    if path.suffix not in endings:
        raise CommandError(f"{option} {path}: expected a file name that ends in {' or '.join(endings)}")
    if path.is_dir():
        raise CommandError(f"{option} {path}: there is a folder of that name")
    try:
        with tempfile.TemporaryFile(dir=path.parent):  # a file beside it, as the atomic write makes one
            pass
    except OSError as error:
        raise CommandError(f"{option} {path}: cannot write into {path.parent} ({error.strerror})") from error


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(to_json(content) + "\n")
