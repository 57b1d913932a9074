"""What the commands share: option values, checks of files, mistakes of the user, JSON."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import functional
from ..epilogues import FixedActivation as BoundActivation
from ..epilogues import LearnedActivation as BoundLearned
from ..epilogues import MaxoutEpilogue as BoundMaxout


class CommandError(Exception):
    """A mistake in what the user gave, told in one line."""


@contextmanager
def told() -> Iterator[None]:
    """What the library refuses in here is the user's mistake, not a bug."""
    try:
        yield
    except (ValueError, OSError, ImportError, MemoryError) as error:
        raise CommandError(str(error) or f"not enough memory ({type(error).__name__})") from error


def whole(low: int) -> Callable[[str], int]:
    """The converter of whole numbers from low on."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"expected a whole number >= {low}, got {text!r}")
        return value

    return convert


def rate(text: str) -> float:
    """A finite number above 0."""
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a finite number > 0, got {text!r}")
    return value


def momentum(text: str) -> float:
    """A number from 0 to below 1."""
    value = number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text!r}")
    return value


def number(text: str) -> float:
    """A number; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def hidden(text: str) -> tuple[int, ...]:
    """Widths with commas between them; none for no hidden layer."""
    if text == "none":
        return ()
    try:
        return tuple(whole(1)(part) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected whole numbers >= 1 with commas between them, or none, got {text!r}"
        ) from None


def activation(text: str) -> BoundActivation | BoundLearned:
    """``name`` or ``name:parameter=value,parameter=value``, with one input for each output."""
    name, _, given = text.partition(":")
    parameters = {}
    for part in given.split(",") if given else ():
        key, equals, value = part.partition("=")
        if not equals or math.isnan(number(value)):
            raise argparse.ArgumentTypeError(f"expected name:parameter=number,..., got {text!r}")
        parameters[key.strip()] = float(value)
    if name == "maxout":
        raise argparse.ArgumentTypeError("maxout, with several inputs for each output, is for use from Python")
    try:
        found = functional.activation(name, **parameters)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    assert not isinstance(found, BoundMaxout)
    return found


def elementwise(text: str) -> BoundActivation:
    """The same, without a learned weight."""
    found = activation(text)
    if isinstance(found, BoundLearned):
        raise argparse.ArgumentTypeError(f"{found.name} has a learned weight; name an activation without one")
    return found


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
    sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
