"""Compare fastact with other libraries: python bench/compare.py [NAME ...] [options]

Prints nanoseconds per element (the minimum over all rounds) and how many times faster fastact is than the best other
library and than PyTorch. See bench/workers.py for how it is measured, bench/peers.py for what each library runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import re
import sys
from pathlib import Path
from typing import Any

import peers
import workers

RESULTS = Path(__file__).parent / "results"


def comma_list(choices: tuple[str, ...]) -> Any:
    """An argument type: names separated by commas."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(filter(None, text.split(",")))
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f"expected some of {', '.join(choices)}, got {name!r}")
        return names

    return parse


def sizes(text: str) -> tuple[int, ...]:
    """An argument type: whole numbers separated by commas."""
    return tuple(int(part) for part in text.split(","))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="activations (default: all)")
    parser.add_argument("--direction", type=comma_list(peers.DIRECTIONS), default=peers.DIRECTIONS)
    parser.add_argument("--dtype", type=comma_list(peers.DTYPES), default=("float32",))
    parser.add_argument("--size", type=sizes, default=(65_536,), help="elements, e.g. 64,65536,1048576")
    parser.add_argument("--threads", type=int, default=1, help="of every library")
    parser.add_argument(
        "--isa", help="fastact's instruction set (default: its choice); avx2 holds the others to it too"
    )
    parser.add_argument("--peers", type=comma_list(peers.LIBRARIES[1:]), help="default: those that are installed")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each library in a row")
    parser.add_argument("--milliseconds", type=float, default=5, help="of one turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument("--save", action="store_true", help=f"write the results to {RESULTS.name}/speed-CPU-....json")
    return parser.parse_args()


def record(row: peers.Row, samples: dict[str, list[float]]) -> dict[str, Any]:
    """A row's entry in the results file."""
    return {
        "name": row.name,
        "direction": row.direction,
        "dtype": row.dtype,
        "size": row.size,
        "bytes": row.bytes_moved,
        "libraries": {library: workers.summary(times) for library, times in samples.items()},
    }


def ratios(entry: dict[str, Any]) -> dict[str, float]:
    """How many times faster fastact is than the best peer and than PyTorch."""
    times = {library: result["min_ns"] for library, result in entry["libraries"].items()}
    own = times.pop("fastact")
    found = {"best": min(times.values()) / own} if times else {}
    return found | ({"torch": times["torch"] / own} if "torch" in times else {})


def geometric_mean(values: list[float]) -> float:
    """The geometric mean of positive numbers; NaN of none."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if values else math.nan


class Table:
    """Prints records as they come, and their means at the end."""

    def __init__(self, libraries: list[str]):
        self.libraries, self.records = libraries, []
        columns = [*libraries, "best", "torch"]
        print("ns per element, and how many times faster fastact is than the best peer and than PyTorch\n")
        print(f"{'activation':14}{'':10}{'':9}{'elements':>9}" + "".join(f"{c:>12}" for c in columns))

    def add(self, entry: dict[str, Any]) -> None:
        """Print one row."""
        self.records.append(entry)
        times, ratio = entry["libraries"], ratios(entry)
        cells = [f"{times[n]['min_ns'] / entry['size']:.3f}" if n in times else "-" for n in self.libraries]
        cells += [f"{ratio[key]:.2f}x" if key in ratio else "-" for key in ("best", "torch")]
        print(
            f"{entry['name']:14}{entry['direction']:10}{entry['dtype']:9}{entry['size']:9}"
            + "".join(f"{cell:>12}" for cell in cells),
            flush=True,
        )

    def means(self) -> None:
        """Print the geometric mean per direction, dtype and size."""
        print("\ngeometric means")
        groups: dict[tuple[str, str, int], list[dict[str, float]]] = {}
        for entry in self.records:
            groups.setdefault((entry["direction"], entry["dtype"], entry["size"]), []).append(ratios(entry))
        for (direction, dtype, size), found in groups.items():
            cells = []
            for key in ("best", "torch"):
                values = [ratio[key] for ratio in found if key in ratio]
                cells.append(f"{geometric_mean(values):.2f}x" if values else "-")
            print(
                f"{f'({len(found)} rows)':14}{direction:10}{dtype:9}{size:9}"
                + " " * 12 * len(self.libraries)
                + "".join(f"{cell:>12}" for cell in cells)
            )


def default_file(cpu: str, isa: str, threads: int) -> Path:
    """Where the results of this machine and these settings belong."""
    slug = re.sub(r"\b(r|tm|cpu|processor)\b|[^a-z0-9]+", "-", cpu.lower())
    return RESULTS / f"speed-{re.sub('-+', '-', slug).strip('-')}-{isa}-{threads}t.json"


def main() -> None:
    """Measure and print."""
    options = arguments()
    wanted = options.peers or tuple(n for n in peers.LIBRARIES[1:] if workers.importable(n))
    try:
        rows = list(peers.rows(tuple(options.names), options.direction, options.dtype, options.size))
    except LookupError as error:
        sys.exit(str(error.args[0]))
    with workers.Bench(["fastact", *wanted], options.threads, options.isa) as bench:
        cpu, versions = workers.cpu_model(), bench.versions
        for library, about in versions.items():
            print(f"{library:12}{about['version']:16}{about['isa']:10}{about['threads']} thread(s)")
        print(f"{cpu}\n")
        table = Table(["fastact", *wanted])
        for row in rows:
            table.add(record(row, bench.measure(row, options.rounds, options.milliseconds / 1000)))
        table.means()
    own = versions["fastact"]
    results = {
        "cpu": cpu,
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "threads": options.threads,
        "isa": own["isa"],
        "versions": versions,
        "rows": table.records,
    }
    targets = [options.json] if options.json else []
    if options.save:
        targets.append(default_file(cpu, own["isa"], options.threads))
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten to {target}")


if __name__ == "__main__":
    main()
