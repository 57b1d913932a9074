"""``fastact accuracy``: measure the largest error of the kernels in use."""

from __future__ import annotations

import argparse
import sys

from tqdm.auto import tqdm

from ..measure.accuracy import check, measure, write_results
from ..registry import ACTIVATIONS
from .options import CommandError, add_json_file, json_file, parse_whole, print_json, user_errors


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Measures the largest error of every kernel in units in the last place: forward; backward against the slope at "
        "what was saved; backward against the true derivative at x. float32 against NumPy in float64, float64 against "
        "mpmath (extra: bench), on the worst of a guided search too. Within 0.25 of a root of the slope backward is "
        "measured in eps * |grad| (near root)."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="activations, default parameters (all)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="one dtype only")
    parser.add_argument(
        "--exhaustive", action="store_true", help="all 2^32 float32 inputs, a minute or more a function"
    )
    parser.add_argument("--points", type=parse_whole(30), default=3000, metavar="N", help="float64 inputs (3000)")
    parser.add_argument(
        "--search", type=parse_whole(0), default=1_000_000, metavar="N", help="float64 inputs of the search (1000000)"
    )
    add_json_file(parser, "merge the results into")


def run(options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in ACTIVATIONS:
            raise CommandError(f"unknown activation {name!r}; known: {', '.join(sorted(ACTIVATIONS))}")
    dtypes = (options.dtype,) if options.dtype else ("float32", "float64")
    with user_errors():
        check(dtypes)
    file = json_file(options)
    show = options.json != "-"
    if show:
        sys.stdout.write(
            f"{'function':14}{'dtype':9}{'forward':>10}{'backward':>10}{'derivative':>12}{'near root':>11}\n"
        )
    results = []
    for name in options.names or ACTIVATIONS:
        for dtype in dtypes:
            total = 1 << 32 if options.exhaustive and dtype == "float32" else None
            # disable=None: draws where there is a terminal
            bar = tqdm(
                total=total, desc=f"{name} {dtype}", unit="input", unit_scale=True, leave=False, disable=None
            )  # fmt: skip
            with user_errors(), bar:
                result = measure(
                    ACTIVATIONS[name], dtype, exhaustive=options.exhaustive, points=options.points,
                    searched=options.search, progress=bar.update,
                )  # fmt: skip
            results.append(result)
            if show:
                sys.stdout.write(
                    f"{name:14}{dtype:9}{result.forward.ulp:10.3f}{result.backward.ulp:10.3f}"
                    f"{result.derivative.ulp:12.4g}{result.backward.near_root:11.3f}\n"
                )
                sys.stdout.flush()
    if file is not None:
        write_results(results, file)
    elif not show:
        print_json({f"{r.name} {r.dtype}": r.as_dict() for r in results})
    return 0
