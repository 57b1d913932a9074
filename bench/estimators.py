"""The accuracy of fastact.sklearn beside scikit-learn's perceptrons: python bench/estimators.py [--seeds 10]

Five-fold cross-validation, another shuffling of the folds and another random_state for each seed, equal settings,
standardised features; the mean over the seeds of a data set's mean score (accuracy, R2) and the standard error of the
difference. Writes bench/results/estimators-accuracy.json, from which bench/regenerate.py makes the tables.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import sklearn
from sklearn import datasets, neural_network
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import fastact
from fastact import sklearn as ours
from fastact.measure.processes import dumps

RESULTS = Path(__file__).parent / "results" / "estimators-accuracy.json"
DATA = ("digits", "breast_cancer", "wine", "iris", "diabetes")
FOLDS = 5


def scores(name: str, seed: int) -> dict[str, float]:
    """The mean score over the folds: of ours on float32 and on float64 data, of scikit-learn on float64."""
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    classes = name != "diabetes"
    if not classes:
        y = (y - y.mean()) / y.std()
    kind = "MLPClassifier" if classes else "MLPRegressor"
    options = {"hidden_layer_sizes": (64,), "learning_rate_init": 0.005, "max_iter": 100, "random_state": seed}
    splitter = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=seed)
    found: dict[str, list[float]] = {"float32": [], "float64": [], "scikit-learn": []}
    for train, test in splitter.split(x, y):
        scaler = StandardScaler().fit(x[train])
        a, b = scaler.transform(x[train]), scaler.transform(x[test])
        for label, module, dtype in (
            ("float32", ours, np.float32), ("float64", ours, np.float64), ("scikit-learn", neural_network, np.float64),
        ):  # fmt: skip
            made = getattr(module, kind)(**options).fit(a.astype(dtype), y[train])
            found[label].append(float(made.score(b.astype(dtype), y[test])))
    return {label: float(np.mean(values)) for label, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    seeds = parser.parse_args().seeds
    warnings.simplefilter("ignore")
    rows = []
    print(f"{'data':16}{'scikit-learn':>16}{'float64':>16}{'float32':>16}   differences in standard errors")
    with threadpool_limits(1), fastact.num_threads(1):
        for name in DATA:
            each = [scores(name, seed) for seed in range(seeds)]
            mean = {label: float(np.mean([row[label] for row in each])) for label in each[0]}
            row: dict[str, object] = {"data": name, **{label: round(value, 6) for label, value in mean.items()}}
            for label in ("float32", "float64"):
                values = np.array([[row[label], row["scikit-learn"]] for row in each])
                spread = np.sqrt((values.var(axis=0, ddof=1) / seeds).sum())
                row[f"{label} in standard errors"] = round(float((values[:, 0] - values[:, 1]).mean() / spread), 3)
            rows.append(row)
            cells = "".join(f"{mean[label]:16.4f}" for label in ("scikit-learn", "float64", "float32"))
            away = ", ".join(f"{row[f'{label} in standard errors']:+}" for label in ("float64", "float32"))
            print(f"{name:16}{cells}   {away}", flush=True)
    about = {"date": time.strftime("%Y-%m-%d"), "fastact": fastact.__version__, "scikit-learn": sklearn.__version__}
    RESULTS.write_text(dumps({**about, "seeds": seeds, "folds": FOLDS, "rows": rows}), encoding="utf-8")


if __name__ == "__main__":
    main()
