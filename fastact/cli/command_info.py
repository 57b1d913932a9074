"""``fastact info``: what is installed and in use."""

from __future__ import annotations

import argparse

from .. import runtime
from .options import add_json, print_json


def add_options(parser: argparse.ArgumentParser) -> None:
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    if options.json:
        print_json(runtime.config())
    else:
        runtime.show_config()
    return 0
