"""``fastact examples``: the numbers of the lectures' worked examples, and ours."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from ..examples import worked
from .options import CommandError, add_backend, add_json, chosen_backend, parse_whole, print_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Computes the worked examples of the lectures on activation functions and backpropagation with fastact's "
        "public functions, and prints what the lecture says, what comes out, and whether the two agree: within one "
        "unit of the last printed digit. The exit code is 1 where one does not."
    )
    parser.add_argument("numbers", nargs="*", type=parse_whole(1), metavar="NUMBER", help="which ones (all)")
    add_backend(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    for number in options.numbers:
        if number not in worked.EXAMPLES:
            raise CommandError(f"there is no example {number}; they are 1 to {max(worked.EXAMPLES)}")
    shown, all_agree = [], True
    with chosen_backend(options):
        for number in options.numbers or worked.EXAMPLES:
            title, rows = worked.run(number)
            agree = all(row.agrees is not False for row in rows)
            all_agree &= agree
            if options.json:
                shown.append({"number": number, "title": title, "agrees": agree, "rows": [asdict(row) for row in rows]})
            else:
                sys.stdout.write(f"{number}. {title}\n{worked.text(rows)}\n\n")
                sys.stdout.flush()
    if options.json:
        print_json({"examples": shown, "agrees": all_agree})
    return 0 if all_agree else 1
