"""``fastact examples``: the numbers of the lectures' worked examples, and ours."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .. import wording
from ..examples import worked
from .options import CommandError, add_backend, add_json, chosen_backend, print_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Computes the worked examples of the lectures on activation functions and backpropagation with fastact's "
        "public functions, and prints what the lecture says, what comes out, and whether the two agree: within one "
        "unit of the last printed digit. The exit code is 1 where one does not."
    )
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help="which ones, by number or name (all)")
    parser.add_argument("--list", action="store_true", help="print their numbers, names and titles alone")
    parser.add_argument("--code", action="store_true", help="print their Python code alone")
    add_backend(parser)
    add_json(parser)


def _numbers(given: Sequence[str]) -> list[int]:
    """Numbers of examples, from numbers and names; all of them where none are given."""
    known = {text: number for number in worked.EXAMPLES for text in (str(number), worked.name(number))}
    for text in given:
        if text.replace("-", "_") not in known:
            close = wording.meant(text, known)
            raise CommandError(f"there is no example {text}{close}; fastact examples --list shows those there are")
    return [known[text.replace("-", "_")] for text in given] or list(worked.EXAMPLES)


def run(options: argparse.Namespace) -> int:
    numbers, shown, all_agree = _numbers(options.examples), [], True
    if options.list or options.code:
        return _describe(numbers, options)
    with chosen_backend(options):
        for number in numbers:
            title, rows = worked.run(number)
            agree = all(row.agrees is not False for row in rows)
            all_agree &= agree
            if options.json:
                about = {"number": number, "name": worked.name(number), "title": title}
                shown.append({**about, "agrees": agree, "rows": [asdict(row) for row in rows]})
            else:
                sys.stdout.write(f"{number}. {title}\n{worked.text(rows)}\n\n")
                sys.stdout.flush()
    if options.json:
        print_json({"examples": shown, "agrees": all_agree})
    return 0 if all_agree else 1


def _describe(numbers: Sequence[int], options: argparse.Namespace) -> int:
    """The examples without computing them: a list, or their code."""
    about: list[dict[str, Any]] = [
        {"number": n, "name": worked.name(n), "title": worked.EXAMPLES[n][0]} for n in numbers
    ]
    if options.code:
        about = [{**one, "code": worked.code(n)} for one, n in zip(about, numbers, strict=True)]
    if options.json:
        print_json({"examples": about})
    for one in about if not options.json else ():
        if options.code:
            sys.stdout.write(f"# {one['number']}. {one['title']}: fastact.examples.worked\n\n{one['code']}\n")
        else:
            sys.stdout.write(f"{one['number']:>2}  {one['name']:28}{one['title']}\n")
    return 0
