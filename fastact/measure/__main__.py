"""Measure fastact beside other libraries, each in a process of its own: what it does is in bench/README.md.

    python -m fastact.measure activations name=relu,gelu direction=forward dtype=float32,float64 size=64,65536
    python -m fastact.measure activations size=16777216 --peers memory --threads 2   # against a bare C loop
    python -m fastact.measure dense shape=64x784x128 activation=relu
    python -m fastact.measure steps optimizer=sgd,policy --threads 2 --save
    python -m fastact.measure estimators task=fit,predict --threads 2
    python -m fastact.measure accuracy name=elu   # errors at other parameter values than the defaults

Without KEY=VALUE,VALUE all rows are measured. The least time of each library is shown, and how many times as long as
fastact the best of the others and PyTorch take.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import sys
from pathlib import Path
from typing import Any

from ..registry import ACTIVATIONS
from . import accuracy, activations, dense_layers, estimators, limits, steps
from .processes import LIBRARIES, Bench, WorkerError, dumps, file_name, importable

KINDS: dict[str, Any] = {"activations": activations, "dense": dense_layers, "steps": steps, "estimators": estimators}
RESULTS = Path("bench", "results")


def parse_libraries(text: str) -> tuple[str, ...]:
    names = tuple(filter(None, text.split(",")))
    for name in names:
        if name not in LIBRARIES[1:]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(LIBRARIES[1:])}, got {name!r}")
        if not importable(name):
            raise argparse.ArgumentTypeError(f"{name} is not installed")
    return names


def parse_choice(text: str) -> tuple[str, list[str]]:
    key, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE,VALUE, got {text!r}")
    return key, values.split(",")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m fastact.measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=(*KINDS, "accuracy"))
    parser.add_argument("choices", nargs="*", type=parse_choice, metavar="KEY=VALUES", help="which rows")
    parser.add_argument("--threads", type=int, default=1, help="of every library")
    parser.add_argument("--isa", help="fastact's instruction set (default: the best); avx2 holds the others to it too")
    parser.add_argument("--peers", type=parse_libraries, help="default: the usual ones that are installed")
    parser.add_argument("--rounds", type=int, help="turns of each library in a row")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument(
        "--save", action="store_true", help=f"write the results to {RESULTS}/WHAT-CPU-ISA-THREADSt.json"
    )
    options = parser.parse_intermixed_args()
    rows = accuracy.settings if options.what == "accuracy" else KINDS[options.what].rows
    known = inspect.signature(rows).parameters
    for key, _ in options.choices:
        if key not in known:
            parser.error(f"expected one of {', '.join(known)} before '=', got {key!r}")
    try:
        options.rows = list(rows(**dict(options.choices)))
    except (LookupError, ValueError) as error:
        parser.error(str(error.args[0]))
    return options


class Table:
    """Prints rows as they come, and geometric means at the end."""

    def __init__(self, libraries: list[str], unit: str, peak: float | None) -> None:
        self.libraries, self.peak = libraries, peak
        self.ratios: list[dict[str, float]] = []
        print(f"{unit}; best, torch: how many times as long they take\n")
        self.line("", [*libraries, "best", "torch", *(["of peak"] if peak else [])])

    def line(self, label: str, cells: list[str]) -> None:
        print(f"{label:42}" + "".join(f"{cell:>12}" for cell in cells), flush=True)

    def add(self, row: Any, least: dict[str, float]) -> None:
        peers = {name: ns / least["fastact"] for name, ns in least.items() if name not in ("fastact", "memory")}
        torch = [ratio for name, ratio in peers.items() if name.startswith("torch")]
        ratio = ({"best": min(peers.values())} if peers else {}) | ({"torch": min(torch)} if torch else {})
        self.ratios.append(ratio)
        cells = [f"{least[n] * row.scale:.3f}" if n in least else "-" for n in self.libraries]
        cells += [f"{ratio[key]:.2f}x" if key in ratio else "-" for key in ("best", "torch")]
        if self.peak:
            cells.append(f"{100 * row.flops / least['fastact'] / self.peak:.0f}%")
        self.line(str(row), cells)

    def means(self) -> None:
        each = [[r[key] for r in self.ratios if key in r] for key in ("best", "torch")]
        cells = [f"{statistics.geometric_mean(values):.2f}x" if values else "-" for values in each]
        self.line(f"\ngeometric mean of {len(self.ratios)}", [*[""] * len(self.libraries), *cells])


def measure_speed(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; what is to be kept."""
    kind = KINDS[options.what]
    peers = options.peers if options.peers is not None else tuple(filter(importable, kind.PEERS))
    rounds = options.rounds or kind.ROUNDS
    with Bench(kind.__name__.rpartition(".")[2], peers, options.threads, options.isa) as bench:
        about = bench.conditions()
        print(", ".join([about["processor"], about["isa"], f"{options.threads} thread(s), {rounds} rounds"]))
        print(", ".join(f"{library} {i['version']} ({i['isa']})" for library, i in about["libraries"].items()))
        dtypes = {row.dtype for row in options.rows if hasattr(row, "flops")}
        peak = limits.fma_peak(about["isa"], *dtypes) if len(dtypes) == 1 else None
        if peak:
            print(f"at most {peak:.1f} GFLOP/s a thread")
        table = Table(list(bench.workers), kind.UNIT, peak and peak * options.threads)
        rows = []
        for row in options.rows:
            samples = bench.measure(row, rounds, kind.SECONDS)
            least = {library: min(times) for library, times in samples.items()}
            table.add(row, least)
            rows.append({**vars(row), "ns": {library: float(f"{ns:.6g}") for library, ns in least.items()}})
        table.means()
    return {**about, "rounds": rounds, **({"peak_gflops": round(peak, 1)} if peak else {}), "rows": rows}


def measure_accuracy(options: argparse.Namespace) -> None:
    """The errors at other parameter values than the defaults."""
    print(f"{'setting':36}{'dtype':9}{'forward':>10}{'backward':>10}{'derivative':>12}")
    for name, dtype, values in options.rows:
        m = accuracy.measure(ACTIVATIONS[name], dtype, values, points=300)
        setting = f"{name} " + " ".join(f"{key}={value:g}" for key, value in m.parameters.items())
        errors = f"{m.forward.ulp:10.3f}{m.backward.ulp:10.3f}{m.derivative.ulp:12.4g}"
        print(f"{setting:36}{dtype:9}{errors}", flush=True)
        if options.json:
            accuracy.write_results([m], options.json)


def main() -> None:
    options = arguments()
    if options.what == "accuracy":
        measure_accuracy(options)
        return
    try:
        found = measure_speed(options)
    except WorkerError as error:
        sys.exit(str(error))
    what = options.what + "-float64" * all(row.get("dtype") == "float64" for row in found["rows"])
    for path in [options.json] * bool(options.json) + [RESULTS / file_name(what, found)] * options.save:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dumps(found), encoding="utf-8")
        print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
