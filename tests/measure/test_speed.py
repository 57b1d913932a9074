"""The harness: workers, rows, and what is written."""

import json
import runpy
import sys

import numpy as np
import pytest

from fastact.measure import activations, dense_layers, estimators, limits, peers, processes, steps
from fastact.registry import ACTIVATIONS, LEARNED


def test_every_activation_has_rows():
    """Without an edit: an activation that the peers do not list is measured beside the registry's formulas."""
    rows = list(activations.rows())
    assert {row.name for row in rows} >= {*ACTIVATIONS, *LEARNED}
    for row in rows:
        assert row.request("fastact") is not None
        assert row.request("numpy") is not None


def test_the_default_row(entry, monkeypatch):
    monkeypatch.delitem(peers.PEERS, entry.name, raising=False)
    for row in activations.rows([entry.name], size=(64,)):
        library = activations.use_numpy()
        expected = activations.use_fastact()(*row.request("fastact")).result()
        np.testing.assert_allclose(library(*row.request("numpy")).result(), expected, rtol=1e-5, atol=1e-6)
        assert row.request("torch") is row.request("jax") is row.request("onnxruntime") is None


def test_numpy_forms_compute_the_same():
    for row in activations.rows(size=(64,), dtype=("float32", "float64")):
        results = [
            make()(*row.request(name)).result()
            for name, make in (("fastact", activations.use_fastact), ("numpy", activations.use_numpy))
        ]
        np.testing.assert_allclose(*results, *row.tolerance, err_msg=str(row))


@pytest.mark.parametrize(
    ("module", "rows"),
    [
        (activations, activations.rows(["tanh", "softmax"], size=(256,))),
        (dense_layers, dense_layers.rows(activation=["relu"], shape=["8x16x4"])),
        (steps, steps.rows(["sgd", "policy"], ["relu", "tanh"], ["8x16x4x3"])),
    ],
    ids=["activations", "dense", "steps"],
)
def test_libraries_are_measured_and_agree(module, rows):
    with processes.Bench(module.__name__.rpartition(".")[2], ["numpy"]) as bench:
        for row in rows:
            samples = bench.measure(row, rounds=2, seconds=0)
            assert list(samples) == ["fastact", "numpy"]
            assert all(ns > 0 and len(times) >= 2 for times in samples.values() for ns in times)
        about = bench.conditions()
    assert about["libraries"]["numpy"]["version"] == np.__version__
    assert processes.file_name("steps", about).startswith("steps-")


def test_what_differs_stops_the_run():
    row = next(activations.rows(["relu"], size=(64,)))
    wrong = type("Wrong", (), {"tolerance": row.tolerance, "request": lambda _, library: self_request(library)})()

    def self_request(library):
        form, *rest = row.request(library)
        return ("np.negative(x, out=x)" if library == "numpy" else form, *rest)

    with (
        processes.Bench("activations", ["numpy"]) as bench,
        pytest.raises(processes.WorkerError, match="numpy computes something else"),
    ):
        bench.measure(wrong, rounds=1, seconds=0)


def test_a_worker_says_what_is_wrong():
    with pytest.raises(processes.WorkerError, match="nothing"):
        processes.Bench("activations", ["nothing"])


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("Intel(R) Xeon(R) Processor", "intel-xeon"),
        ("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "intel-xeon-platinum-8481c"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
    ],
)
def test_results_are_named_by_processor(name, family):
    about = {"processor": name, "isa": "avx2", "threads": 2}
    assert processes.file_name("dense", about) == f"dense-{family}-avx2-2t.json"


def test_results_have_a_line_a_row():
    content = {"a": 1, "rows": [{"x": [1, 2]}, {"x": [3]}], "none": {}}
    text = processes.dumps(content)
    assert json.loads(text) == content
    assert '  {"x": [1, 2]},\n  {"x": [3]}\n' in text


def test_everybody_has_what_the_machine_has_by_default(monkeypatch):
    for name in (*processes.LIMITED, "FASTACT_ISA"):
        monkeypatch.delenv(name, raising=False)
    free, held = processes.environment(1, None), processes.environment(1, "avx2")
    assert not {"FASTACT_ISA", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE"} & set(free)
    assert held["FASTACT_ISA"] == held["ATEN_CPU_CAPABILITY"] == "avx2"
    assert "AVX2" in held["XLA_FLAGS"]


def test_limits_where_a_compiler_is():
    try:
        limits.compiled("native")
    except Exception as error:  # no compiler, or one without OpenMP
        pytest.skip(str(error))
    assert limits.fma_peak("baseline", "float32") is None
    row = next(activations.rows(["relu"], direction=["backward"], size=(1000,)))
    with processes.Bench("activations", ["memory"], threads=2) as bench:
        assert list(bench.measure(row, rounds=1, seconds=0)) == ["fastact", "memory"]


def test_the_command(monkeypatch, capsys, tmp_path):
    path = tmp_path / "found.json"
    arguments = ["activations", "name=relu", "size=64", "--peers", "numpy", "--rounds", "1", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["measure", *arguments])
    runpy.run_module("fastact.measure.__main__", run_name="__main__")
    assert "relu-forward-float32-64" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [(row["name"], row["direction"], list(row["ns"])) for row in found["rows"]] == [
        ("relu", "forward", ["fastact", "numpy"]),
        ("relu", "backward", ["fastact", "numpy"]),
    ]
    monkeypatch.setattr(sys, "argv", ["measure", "steps", "colour=red"])
    with pytest.raises(SystemExit):
        runpy.run_module("fastact.measure.__main__", run_name="__main__")
    assert "optimizer, activation, shape" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_are_measured_and_agree():
    with processes.Bench("estimators", ["scikit-learn"]) as bench:
        for row in (estimators.Row("fit", "float64", "digits", 200, (8,), 1), *estimators.rows(["step"])):
            samples = bench.measure(row, rounds=1, seconds=0)
            assert list(samples) == ["fastact", "scikit-learn"][: 1 + (row.task == "fit")]
    assert {row.task for row in estimators.rows()} == {"fit", "lbfgs", "partial_fit", "step", "predict"}
