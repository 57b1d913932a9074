"""The command line: what it prints, what it writes, and what it refuses."""

import csv
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastact as fa
from fastact import backends, cli, registry, runtime, training
from fastact.cli import train_command as cli_train
from fastact.data.tables import load_digits
from fastact.measure import by_hand

QUICK = ("--epochs", "2", "--hidden", "8")


@pytest.fixture
def quick(monkeypatch):
    """Do not spend time on timing."""
    monkeypatch.setattr(cli_train, "time_in_turns", lambda *_: (1e-4, 2e-4))


@pytest.fixture
def call(capfd):
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*arguments):
        code = cli.main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(call):
    """Run a command that must fail: one line on standard error, which is returned, and nothing else."""

    def run(*arguments):
        code, out, err = call(*arguments)
        assert code == 2
        assert out == ""
        assert err.startswith("fastact: error: ")
        assert err.count("\n") == 1
        return err

    return run


def flowers(folder, header="width,height,kind", delimiter=",", rows=90, name="flowers.csv"):
    """Three kinds that lie well apart; the label last."""
    rng = np.random.default_rng(5)
    kinds = np.array(["aster", "daisy", "poppy"])
    number = rng.integers(0, 3, rows)
    x = rng.normal(size=(rows, 2)) * (1000, 0.01) + number[:, None] * (10_000, -0.1) + 5000
    lines = [header.replace(",", delimiter)] if header else []
    lines += [delimiter.join([repr(float(a)), repr(float(b)), k]) for (a, b), k in zip(x, kinds[number], strict=True)]
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file, x, kinds[number]


# --------------------------------------------------------------------------------------------------------------- train


def test_train_prints_accuracy_and_both_times(call):
    code, out, err = call("train", *QUICK)
    assert code == 0
    assert "digits: 1438 training and 359 test rows, 64 features, 10 classes" in out
    assert "network: 64-8-10, relu, 610 parameters, float32" in out
    for line in ("test accuracy", "time per step", "NumPy by hand", "ratio"):
        assert sum(text.startswith(line) for text in out.splitlines()) == 1
    assert "step" in err  # the progress bar


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

    def evaluate(net, x, y):
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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*registry.ACTIVATIONS, *registry.LEARNED])
def test_step_by_hand_is_the_same_step(name, dtype):
    def network():
        layers = (fa.Dense(7, 5, activation=name), fa.Dense(5, 9, activation=name), fa.Dense(9, 3))
        return fa.Sequential(*layers, dtype=dtype, rng=1)

    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(11, 7)).astype(dtype), rng.integers(0, 3, 11)
    net = network()
    ours = by_hand.library_step(net, fa.optim.SGD(lr=0.1, momentum=0.9))
    numpy_step = by_hand.NumpyStep(network(), fa.activation(name), 11, 0.1, 0.9)
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for _ in range(10):
        assert ours(x, labels) == pytest.approx(numpy_step(x, labels), rel=tolerance)
    np.testing.assert_allclose(numpy_step.parameters, net.parameters, rtol=tolerance, atol=tolerance)


def test_timing_takes_turns():
    calls = []
    first, second = by_hand.time_in_turns(lambda _: calls.append("a"), lambda _: calls.append("b"), [(0,)], 5, 1e-4)
    assert first > 0
    assert second > 0
    turns = "".join(calls).lstrip("a").lstrip("b")  # after the warm-up
    assert turns.count("ab") == 5
    assert turns.count("a") == turns.count("b")


# ------------------------------------------------------------------------------------------------------------- predict


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_save_and_predict_with_names_and_scales(call, tmp_path, delimiter):
    data, x, kinds = flowers(tmp_path, delimiter=delimiter)
    model = tmp_path / "flowers.safetensors"
    code, out, _ = call("train", "--data", data, "--save", model, "--json", "--epochs", "20")
    assert code == 0
    report = json.loads(out)
    assert report["test_accuracy"] == 1  # only because the features were standardised: their scales differ by 1e5
    assert report["saved"] == str(model)

    code, out, err = call("predict", "--model", model, "--data", data)
    assert (code, err) == (0, "accuracy 100.00 % of 90 labelled rows\n")
    assert out.splitlines() == kinds.tolist()

    np.savez(tmp_path / "new.npz", x=x)
    code, out, err = call("predict", "--model", model, "--data", tmp_path / "new.npz", "--json")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert answer["labels"] == kinds.tolist()
    assert answer["classes"] == ["aster", "daisy", "poppy"]
    assert answer["accuracy"] is None
    np.testing.assert_allclose(np.sum(answer["probabilities"], axis=1), 1)

    output = tmp_path / "out.csv"
    code, out, _ = call("predict", "--model", model, "--data", tmp_path / "new.npz", "--output", output)
    assert (code, out) == (0, f"{output}: 90 rows\n")
    rows = list(csv.reader(output.read_text().splitlines()))
    assert rows[0] == ["label", "probability aster", "probability daisy", "probability poppy"]
    assert [row[0] for row in rows[1:]] == kinds.tolist()
    np.testing.assert_allclose(np.array(rows[1:])[:, 1:].astype(float), answer["probabilities"])
    assert sorted(f.name for f in tmp_path.iterdir()) == ["flowers.csv", "flowers.safetensors", "new.npz", "out.csv"]


@pytest.mark.usefixtures("quick")
def test_digits_model_takes_pixels_and_says_digits(call, tmp_path):
    model = tmp_path / "digits.safetensors"
    assert call("train", "--save", model, "--epochs", "5")[0] == 0
    x, y = load_digits()
    np.savez(tmp_path / "few.npz", x=x[:50], y=y[:50])
    answer = json.loads(call("predict", "--json", "--model", model, "--data", tmp_path / "few.npz")[1])
    assert answer["accuracy"] > 0.9
    assert answer["classes"] == list(range(10))


@pytest.mark.usefixtures("quick")
def test_predict_refuses_other_features(call, refused, tmp_path):
    data, _, _ = flowers(tmp_path)
    model = tmp_path / "m.safetensors"
    assert call("train", "--data", data, "--save", model, *QUICK)[0] == 0
    other, _, _ = flowers(tmp_path, header="height,width,kind", name="other.csv")
    assert "feature 1 should be 'width', got 'height'" in refused("predict", "--model", model, "--data", other)
    np.savez(tmp_path / "n.npz", x=np.ones((3, 5)))
    assert "expected 2 features as the model has (and perhaps a label), got 5" in refused(
        "predict", "--json", "--model", model, "--data", tmp_path / "n.npz"
    )
    np.savez(tmp_path / "n.npz", x=np.full((3, 2), 1e300))
    assert "feature 1 of row 1 is too far from the others" in refused(
        "predict", "--model", model, "--data", tmp_path / "n.npz"
    )
    for target in (tmp_path / "no" / "out.csv", tmp_path, tmp_path / "out.txt"):
        assert "--output" in refused("predict", "--model", model, "--data", data, "--output", target)


def test_predict_refuses_what_is_no_model(refused, tmp_path):
    data, _, _ = flowers(tmp_path)
    assert "there is no file" in refused("predict", "--model", tmp_path / "no.safetensors", "--data", data)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a model")
    assert "is not a whole fastact network" in refused("predict", "--model", broken, "--data", data)
    plain = tmp_path / "plain.safetensors"
    fa.Sequential(fa.Dense(2, 3), rng=0).save(plain)
    assert "expected a model saved by fastact train" in refused("predict", "--model", plain, "--data", data)


# ------------------------------------------------------------------------------------------------------------ bad input


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


@pytest.mark.parametrize("arguments", [[], ["fly"], ["predict"], ["--json"]])
def test_bad_command(refused, arguments):
    assert "fastact" in refused(*arguments)


BAD_DATA = {
    "text": ("a,b,y\n1,2,0\n3,x,1\n", "line 3, column 2 (b): expected a number, got text 'x'"),
    "nan": ("a,b,y\n1,nan,0\n", "line 2, column 2 (b): expected a finite number, got nan"),
    "ragged": ("1,2,0\n1,2\n", "line 2 has 2 column(s)"),
    "one class": ("a,y\n1,5\n2,5\n", "expected at least two classes, got only 5"),
    "rare class": ("a,y\n1,0\n2,0\n3,1\n", "expected at least two rows of each class"),
    "measurements": ("a,y\n1,0.25\n2,0.75\n", "expected a class as label"),
    "huge numbers": ("a,y\n1e200,0\n-2e200,0\n3e200,1\n-4e200,1\n", "feature 1 holds numbers too large"),
    "empty": ("", "the file is empty"),
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
    assert "ends in .npz or .csv, got '.json'" in refused("train", "--data", tmp_path / "t.json")


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


# ------------------------------------------------------------------------------------------------ info, help, processes


def test_info(call):
    code, out, _ = call("info", "--json")
    assert code == 0
    assert json.loads(out) == runtime.config()
    assert fa.__version__ in call("info")[1]


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(name in out for name in cli.COMMANDS)
    code, out, _ = call("train", "--help")
    assert code == 0
    assert "threadpoolctl" in out
    assert call("--version")[:2] == (0, f"fastact {fa.__version__}\n")


def test_reader_that_leaves(tmp_path):
    program = "import sys; sys.stdin.read(); from fastact.cli import main; sys.exit(main(['info']))"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=tmp_path,
    )  # fmt: skip
    process.stdout.close()  # before the program writes: it waits for its input
    process.stdin.close()
    error = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), error) == (141, b"")


@pytest.mark.skipif(not backends.compiled, reason="no compiled core")
def test_module_in_a_source_folder_runs_the_compiled_installation(tmp_path):
    source = Path(fa.__file__).parent
    shutil.copytree(source, tmp_path / "fastact", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    command = [sys.executable, "-m", "fastact", "info", "--json"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    shown = json.loads(result.stdout)
    assert (shown["backend"], Path(shown["path"])) == ("native", source)
    assert "these sources are not compiled" in result.stderr


README = Path(__file__).parents[2] / "README.md"


@pytest.mark.skipif(not README.is_file(), reason="not in a checkout")
def test_examples_of_the_readme_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert fa.__version__ in capsys.readouterr().out
