"""``fastact train``: what it prints, what it saves, and what it refuses."""

import json
import statistics
import sys

import numpy as np
import pytest

import fastact as fa
from fastact import runtime, training
from fastact.measure import processes

QUICK = ("--epochs", "2", "--hidden", "8")


def test_train_prints_accuracy_and_both_times(call):
    code, out, err = call("train", *QUICK)
    assert code == 0
    assert "digits: 1438 training and 359 test rows, 64 features, 10 classes" in out
    assert "network: 64-8-10, relu, 610 parameters, float32" in out
    for line in ("test accuracy", "time per step", "NumPy by hand", "ratio"):
        assert sum(text.startswith(line) for text in out.splitlines()) == 1
    assert f"(the same step, in place; {processes.blas()}, " in out
    assert "step" in err  # the progress bar


def test_the_blas_is_named(monkeypatch):
    """With its architecture where threadpoolctl knows it, else by what NumPy was built with."""
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    assert all(pool["architecture"] in processes.blas() for pool in pools)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    assert processes.blas() == f"{built['name']} {built['version']}"


def test_train_json_is_one_object(call):
    code, out, _ = call("train", "--json", *QUICK, "--seed", "3", "--batch-size", "100", "--activation", "tanh")
    assert code == 0
    report = json.loads(out)
    assert out.count("\n") == 1
    assert 0.1 < report["test_accuracy"] <= 1
    assert report["ratio"] == pytest.approx(report["numpy_seconds_per_step"] / report["seconds_per_step"])
    assert report["seconds_per_step"] > 0
    expected = {"epochs": 2, "steps": 30, "layers": [64, 8, 10], "activation": "tanh", "batch_size": 100, "seed": 3}
    assert expected.items() <= report.items()
    assert (report["backend"], report["threads"]) == (fa.get_backend(), fa.get_num_threads())


@pytest.mark.usefixtures("quick")
def test_defaults_reach_97_percent_on_the_digits(call):
    reports = [json.loads(call("train", "--json", "--seed", seed)[1]) for seed in range(5)]
    assert statistics.median(report["test_accuracy"] for report in reports) >= 0.97


@pytest.mark.usefixtures("quick")
def test_seed_decides_everything_but_the_rows_held_out(call, monkeypatch):
    seen = []

    def evaluate(net, x, y, loss):
        seen.append((net.parameters.copy(), np.array(x), np.array(y)))
        return {"loss": 0.0, "accuracy": 0.0}

    monkeypatch.setattr(training, "evaluate", evaluate)
    for seed in (1, 1, 2):
        assert call("train", "--json", *QUICK, "--seed", seed)[0] == 0
    assert (seen[0][0] == seen[1][0]).all()
    assert (seen[0][0] != seen[2][0]).any()
    assert all((rows == seen[0][1]).all() and (labels == seen[0][2]).all() for _, rows, labels in seen)


@pytest.mark.usefixtures("quick")
def test_backend_and_threads_are_used_and_given_back(call):
    before = fa.get_backend(), fa.get_num_threads()
    threads = 2 if runtime.config()["openmp"] else 1
    report = json.loads(call("train", "--json", *QUICK, "--backend", "numpy", "--threads", threads)[1])
    assert (report["backend"], report["instruction_set"], report["threads"]) == ("numpy", None, threads)
    assert (fa.get_backend(), fa.get_num_threads()) == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("activation", ["prelu", "swish:beta=0.5"])
def test_learned_activation(call, tmp_path, activation):
    file = tmp_path / "model.safetensors"
    code, out, _ = call("train", "--json", *QUICK, "--activation", activation, "--save", file)
    assert code == 0
    assert json.loads(out)["activation"].startswith(activation.partition(":")[0])
    assert "activation" in fa.load(file).layers[0].parameters


@pytest.mark.usefixtures("quick")
def test_activation_with_parameters_and_no_hidden_layer(call, tmp_path):
    file = tmp_path / "m.safetensors"
    activation = "leaky_relu:negative_slope=0.25"
    assert call("train", *QUICK, "--activation", activation, "--save", file)[0] == 0
    assert fa.load(file).layers[0].activation.parameters == {"negative_slope": 0.25}
    report = json.loads(call("train", "--json", "--epochs", "1", "--hidden", "none")[1])
    assert report["layers"] == [64, 10]


def test_interrupted(call, monkeypatch):
    def fit(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", fit)
    code, _, err = call("train", "--json")
    assert (code, err) == (130, "fastact: interrupted\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", "0"], "argument --epochs: expected a whole number >= 1, got '0'"),
        (["--epochs", "many"], "argument --epochs: expected a whole number >= 1, got 'many'"),
        (["--batch-size", "1.5"], "argument --batch-size: expected a whole number >= 1"),
        (["--lr", "0"], "argument --lr: expected a finite number > 0, got '0'"),
        (["--lr", "inf"], "argument --lr: expected a finite number > 0"),
        (["--lr", "fast"], "argument --lr: expected a finite number > 0"),
        (["--momentum", "1"], "argument --momentum: expected a number from 0 to below 1"),
        (["--seed", "-1"], "argument --seed: expected a whole number >= 0"),
        (["--threads", "0"], "argument --threads: expected a whole number >= 1"),
        (["--hidden", "64,"], "argument --hidden: expected whole numbers >= 1"),
        (["--hidden", "64,0"], "argument --hidden: expected whole numbers >= 1"),
        (["--activation", "rellu"], "unknown activation 'rellu'"),
        (["--activation", "leaky_relu:slope=1"], "no parameter 'slope'"),
        (["--activation", "leaky_relu:negative_slope=-1"], "expected negative_slope to be a finite number >= 0"),
        (["--activation", "leaky_relu:0.5"], "expected name:parameter=number"),
        (["--activation", "maxout"], "maxout, with several inputs for each output, is for use from Python"),
        (["--backend", "cuda"], "argument --backend: invalid choice: 'cuda'"),
        (["--label", "kind"], "--label NAME goes with --data FILE"),
        (["--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["--save", "model.pt"], "--save model.pt: expected a file name that ends in .safetensors"),
    ],
)
def test_bad_options(refused, options, message):
    assert message in refused("train", *options)
    assert message in refused("train", "--json", *options)


BAD_DATA = {
    "ragged": ("1,2,0\n1,2\n", "line 2 has 2 column(s)"),
    "one class": ("a,y\n1,5\n2,5\n", "'y' (the last column) is the same in every row, there is nothing to predict"),
    "huge numbers": ("a,y\n1e200,0\n-2e200,0\n3e200,1\n-4e200,1\n", "column 'a' holds numbers too large"),
    "empty": ("", "the file is empty"),
    "names to predict": ("a,name\n1,ann\n2,bob\n3,cid\n", "such as --label a"),
    "names to predict from": ("name,a\nann,1\nbob,2\ncid,1\ndot,2\neli,1\n", "pass --categorical name"),
    "unclear dates": ("d,a\n1/2/2020,1\n2/3/2020,2\n3/3/2020,1\n4/5/2020,1\n", "pass --dates day-first or"),
    "one column": ("a\n1\n2\n3\n", "at least one feature and a label"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(refused, tmp_path, case):
    content, message = BAD_DATA[case]
    file = tmp_path / "t.csv"
    file.write_text(content)
    assert message in refused("train", "--data", file)
    assert f"{file}: " in refused("train", "--data", file, "--json")


def test_paths_that_are_no_data(refused, tmp_path):
    assert "there is no such file" in refused("train", "--data", tmp_path / "no.csv")
    assert "got a folder" in refused("train", "--data", tmp_path)
    (tmp_path / "t.json").write_text("{}")
    assert ".parquet or .npz, got '.json'" in refused("train", "--data", tmp_path / "t.json")


def test_unwritable_model_is_refused_before_the_training(refused, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    for target in ("no/m.safetensors", "file/m.safetensors", "folder.safetensors"):
        assert "--save" in refused("train", "--save", tmp_path / target)


def test_diverging_training_is_told(call, tmp_path):
    model = tmp_path / "m.safetensors"
    code, out, err = call("train", "--json", "--lr", "1e9", "--save", model)
    assert (code, out) == (2, "")
    assert "the loss became" in err.splitlines()[-1]
    assert "Warning" not in err
    assert not model.exists()


def test_network_beyond_memory_is_told(refused):
    assert "fastact: error: Unable to allocate" in refused("train", "--json", "--hidden", "100000000,100000000")
