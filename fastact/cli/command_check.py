"""``fastact check``: compare the kernels with their NumPy twins and with exact values, on this machine."""

from __future__ import annotations

import argparse
import sys

from ..measure.parity import check
from .options import CommandError, add_json, print_json


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compares every kernel, dense layer, loss, optimiser and a training run with the NumPy twin, and activations "
        "with exact values: each instruction set of this processor, float32 and float64, one thread to all. The exit "
        "code is 1 where an error is beyond its bound, and the input that shows it is printed."
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    try:
        report = check()
    except RuntimeError as error:
        raise CommandError(str(error)) from error
    if options.json:
        print_json(report.as_dict())
    else:
        sys.stdout.write(f"{report}\n")
    return 0 if report.ok else 1
