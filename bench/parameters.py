"""Measure the errors at other parameter values than the defaults: python bench/parameters.py [NAME ...]

Every parameter takes the values of ``fastact.accuracy.grid`` in turn. The results are merged into
results/accuracy-parameters.json, one entry for each setting ("elu alpha=0.3").
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fastact.measure.accuracy import grid, measure, write_results
from fastact.registry import ACTIVATIONS

RESULTS = Path(__file__).parent / "results" / "accuracy-parameters.json"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="activations (default: all with parameters)")
    parser.add_argument("--points", type=int, default=300, help="float64 inputs")
    options = parser.parse_args()
    print(f"{'setting':36}{'dtype':9}{'forward':>10}{'backward':>10}{'derivative':>12}")
    for name in options.names or [entry.name for entry in ACTIVATIONS.values() if entry.parameters]:
        for values in grid(ACTIVATIONS[name]):
            for dtype in ("float32", "float64"):
                m = measure(ACTIVATIONS[name], dtype, values, points=options.points)
                setting = f"{name} " + " ".join(f"{key}={value:g}" for key, value in m.parameters.items())
                print(
                    f"{setting:36}{dtype:9}{m.forward.ulp:10.3f}{m.backward.ulp:10.3f}{m.derivative.ulp:12.4g}",
                    flush=True,
                )
                write_results([m], RESULTS)


if __name__ == "__main__":
    main()
