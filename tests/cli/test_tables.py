"""``fastact train``, ``evaluate``, ``predict`` and ``info`` with people's tables: all kinds of columns and targets."""

import csv
import io
import json
import re
import shlex
import sys

import numpy as np
import pytest

import fastact as fa
from fastact.cli import experiment as experiments

FAST = ("--epochs", "3", "--hidden", "8")


def houses(folder, rows=300, name="houses.csv"):
    """Prices of houses: numbers, words, dates, true and false, gaps, names, and a column that is always the same."""
    rng = np.random.default_rng(0)
    area, town, garden = rng.uniform(50, 250, rows), rng.choice(["Ulm", "Bonn", "Kiel"], rows), rng.random(rows) < 0.5
    built = np.datetime64("1950-01-01") + rng.integers(0, 25_000, rows)
    price = 2.0 * area + 100 * (town == "Bonn") + 40 * garden + rng.normal(0, 5, rows)
    lines = ["address,area,town,garden,built,country,price"]
    for i in range(rows):
        size = "NA" if i % 17 == 3 else f"{area[i]:.1f}"
        place = "" if i % 29 == 5 else town[i]
        lines.append(f"Street {i},{size},{place},{str(garden[i]).upper()},{built[i]},DE,{price[i]:.2f}")
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def trained(call, tmp_path):
    data, model = houses(tmp_path), tmp_path / "m.safetensors"
    code, out, _ = call("train", "--data", data, "--save", model, "--json")
    assert code == 0
    return data, model, json.loads(out)


def test_numbers_are_predicted_in_their_units(call, trained):
    data, model, report = trained
    assert (report["task"], report["labels"]) == ("regression", ["price"])
    scores = report["test_targets"]["price"]
    assert report["test_r2"] == scores["r2"] > 0.8
    assert scores["mae"] < scores["rmse"] < 0.5 * scores["mean_rmse"]
    assert scores["mean_mae"] > 50
    kinds = {one["name"]: one["kind"] for one in report["columns"]}
    assert kinds == {
        "address": "dropped", "area": "number", "town": "category", "garden": "number", "built": "date",
        "country": "dropped",
    }  # fmt: skip
    assert report["layers"] == [sum(one["inputs"] for one in report["columns"]), 256, 1]
    assert (report["train_rows"], report["validation_rows"], report["test_rows"]) == (204, 36, 60)

    code, out, err = call("predict", "--model", model, "--data", data)
    assert code == 0
    predicted = np.array(out.split(), float)
    with data.open() as file:
        price = np.array([float(row["price"]) for row in csv.DictReader(file)])
    assert np.sqrt(np.mean((predicted - price) ** 2)) < 0.4 * price.std()
    assert re.fullmatch(r"price: R2 0\.[89]\d+, MAE [\d.]+, RMSE [\d.]+ \(300 labelled rows\)\n", err)


def test_what_is_printed(call, tmp_path):
    data = houses(tmp_path)
    code, out, err = call("train", "--data", data, *FAST, "--importance", "--seed", "5")
    assert code == 0
    assert f"{data}: 240 training and 60 test rows, " in out
    assert "predicts 'price' (a number): the last column; another: --label NAME\n" in out
    assert "task: regression (numbers with decimals)\n" in out
    assert re.search(r"^address +dropped +a text of its own in each row$", out, re.MULTILINE)
    assert re.search(r"^country +dropped +always 'DE'$", out, re.MULTILINE)
    assert re.search(r"^garden +number +1 +true 1, false 0; mean ", out, re.MULTILINE)
    assert re.search(r"^area +number +2 +\d+ missing: [\d.]+, and a column that says so; ", out, re.MULTILINE)
    assert re.search(r"^price( +-?[\d.]+){5}$", out, re.MULTILINE)
    assert "largest errors" in out
    assert re.search(r"^line \d+ +price", out, re.MULTILINE)
    assert re.search(r"^area +-?[\d.]+ +[\d.]+$", out, re.MULTILINE)
    again = out.splitlines()[-1].removeprefix("again").strip()
    assert shlex.split(again) == [
        "fastact", "train", "--data", str(data), "--label", "price", "--task", "regression", "--hidden", "8",
        "--epochs", "3", "--seed", "5", "--importance",
    ]  # fmt: skip
    assert len(err.splitlines()) <= 10


def test_the_line_that_repeats_a_run_does(call, tmp_path):
    data = houses(tmp_path)
    options = ["--label", "town", "--drop", "country,address", "--dropout", "0.1", "--activation", "elu:alpha=0.5"]
    options += ["--class-weight", "balanced", "--optimizer", "adamw", "--weight-decay", "0.01", "--batch-norm", *FAST]
    first = json.loads(call("train", "--data", data, *options, "--json")[1])
    again = json.loads(call(*shlex.split(first["repeat"])[1:], "--json")[1])
    times = {"training_seconds", "why"}
    assert {key: again[key] for key in again.keys() - times} == {key: first[key] for key in first.keys() - times}
    assert (first["optimizer"], first["test_accuracy"] > 0) == ("AdamW", True)


def test_progress_is_at_most_ten_lines(call, tmp_path):
    _, _, err = call("train", "--data", houses(tmp_path), "--epochs", "37", "--patience", "0", "--hidden", "4")
    assert 5 <= len(err.splitlines()) <= 10
    assert err.splitlines()[-1].startswith("epoch 37/37: ")


def test_held_out_rows_decide_nothing(call, tmp_path, monkeypatch):
    """Neither those that are tested on nor those that are stopped by change the plan."""
    data = houses(tmp_path)
    plans = []
    decide = experiments.Plan.decide
    watched = lambda table, **named: plans.append(table) or decide(table, **named)  # noqa: E731
    monkeypatch.setattr(experiments.Plan, "decide", watched)
    report = json.loads(call("train", "--data", data, *FAST, "--json")[1])
    assert [table.rows for table in plans] == [report["train_rows"]]
    content = data.read_text().splitlines()
    kept = {plans[0].place(row) for row in range(plans[0].rows)}
    spoilt = [
        line if f"line {number}" in kept else re.sub(r",[\d.]+,\w*,", ",1e6,Rome,", line)
        for number, line in enumerate(content[1:], 2)
    ]
    (tmp_path / "spoilt.csv").write_text("\n".join([content[0], *spoilt]) + "\n")
    again = json.loads(call("train", "--data", tmp_path / "spoilt.csv", *FAST, "--json")[1])
    assert again["columns"] == report["columns"]
    assert again["train_losses"] == report["train_losses"]


# -------------------------------------------------------------------------------------------------- classes and options


def test_classes_with_their_matrix(call, tmp_path):
    data = houses(tmp_path)
    code, out, _ = call("train", "--data", data, "--label", "garden", *FAST)
    assert code == 0
    assert "predicts 'garden' (2 classes: FALSE, TRUE): as asked" in out
    assert re.search(r"^test accuracy +[\d.]+ %  \(always '\w+': [\d.]+ %\)$", out, re.MULTILINE)
    assert re.search(r"^true, predicted: +FALSE +TRUE +precision +recall +rows$", out, re.MULTILINE)
    rows = re.findall(r"^(?:FALSE|TRUE) +(\d+) +(\d+) +([\d.]+|-) +[\d.]+ +(\d+)$", out, re.MULTILINE)
    assert len(rows) == 2
    assert sum(int(row[3]) for row in rows) == sum(int(row[0]) + int(row[1]) for row in rows)


def test_rows_without_a_label_are_left_out_and_said(call, tmp_path):
    data = houses(tmp_path)
    code, out, _ = call("train", "--data", data, "--label", "town", *FAST)
    assert code == 0
    assert "11 rows have no town and are left out" in out
    report = json.loads(call("train", "--data", data, "--label", "town", *FAST, "--json")[1])
    assert report["rows_without_label"] == 11
    assert report["train_rows"] + report["validation_rows"] + report["test_rows"] == 289
    assert [one["class"] for one in report["test_classes"]] == ["Bonn", "Kiel", "Ulm"]
    assert np.sum(report["test_confusion"]) == report["test_rows"]


def test_task_by_hand(call, tmp_path):
    file = tmp_path / "t.csv"
    rng = np.random.default_rng(1)
    file.write_text("a,grade\n" + "".join(f"{a:.2f},{int(a * 3)}\n" for a in rng.random(60)))
    _, out, _ = call("train", "--data", file, *FAST)
    assert "task: classification (few whole numbers; numbers: --task regression)" in out
    assert json.loads(call("train", "--data", file, *FAST, "--json", "--task", "regression")[1])["layers"][-1] == 1


@pytest.mark.parametrize("loss", ["absolute_error", "huber:delta=0.5", "quantile:q=0.9"])
def test_losses_of_numbers(call, tmp_path, loss):
    data, model = houses(tmp_path), tmp_path / "m.safetensors"
    assert call("train", "--data", data, "--loss", loss, "--save", model, "--epochs", "60")[0] == 0
    predicted = np.array(call("predict", "--model", model, "--data", data)[1].split(), float)
    with data.open() as file:
        price = np.array([float(row["price"]) for row in csv.DictReader(file)])
    above = np.mean(price < predicted)
    assert (0.8 < above < 0.99) if "quantile" in loss else 0.3 < above < 0.7


def test_several_targets(call, tmp_path):
    data, model = houses(tmp_path), tmp_path / "m.safetensors"
    report = json.loads(call("train", "--data", data, "--label", "price,area", "--save", model, *FAST, "--json")[1])
    assert list(report["test_targets"]) == ["price", "area"]
    assert report["rows_without_label"] == 18
    code, out, err = call("predict", "--model", model, "--data", data)
    assert code == 0
    assert all(len(line.split(",")) == 2 for line in out.splitlines())
    assert "(282 labelled rows)" in err
    answer = json.loads(call("predict", "--model", model, "--data", data, "--json")[1])
    assert list(answer["predictions"]) == ["price", "area"]
    assert len(answer["predictions"]["area"]) == 300


def test_seeds_and_folds(call, tmp_path):
    data, model = houses(tmp_path), tmp_path / "m.safetensors"
    report = json.loads(call("train", "--data", data, *FAST, "--seeds", "3", "--seed", "7", "--json")[1])
    found = report["seeds"]["r2"]
    assert found["each"][0] == report["test_r2"]
    assert len(set(found["each"])) == 3
    assert (found["mean"], found["deviation"]) == pytest.approx((np.mean(found["each"]), np.std(found["each"], ddof=1)))
    single = json.loads(call("train", "--data", data, *FAST, "--seed", "9", "--json")[1])
    assert single["test_r2"] == found["each"][2]

    code, out, _ = call("train", "--data", data, *FAST, "--cv", "4", "--save", model, "--label", "town")
    assert code == 0
    assert re.search(r"^accuracy of 4 folds +0\.\d+ \+- 0\.\d+  \((0\.\d+, ){3}0\.\d+\)$", out, re.MULTILINE)
    assert "289 training and 0 test rows" in out
    assert isinstance(fa.load(model), fa.Sequential)


def test_folds_test_each_row_once():
    problem = experiments.Problem.digits()
    folds = problem.folds(7)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(1797))
    assert all(not set(train) & set(test) for train, test in folds)
    counts = np.array([np.bincount(problem.true[test], minlength=10) for _, test in folds])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_checkpoint_and_resume(call, tmp_path):
    data, file = houses(tmp_path), tmp_path / "run.safetensors"
    options = ("train", "--data", data, "--hidden", "8", "--json")
    whole = json.loads(call(*options, "--epochs", "6")[1])
    assert call(*options, "--epochs", "3", "--checkpoint", file)[0] == 0
    resumed = json.loads(call(*options, "--epochs", "6", "--resume", file)[1])
    assert resumed["train_losses"] == whole["train_losses"]
    assert resumed["test_r2"] == whole["test_r2"]


def test_early_stopping_keeps_the_best(call, tmp_path):
    report = json.loads(call("train", "--data", houses(tmp_path, 120), "--lr", "0.03", "--patience", "4", "--json")[1])
    losses = report["validation_losses"]
    assert report["epochs"] < 200
    assert report["best_epoch"] == int(np.argmin(losses)) + 1 == len(losses) - 4


def test_options_from_a_file(call, refused, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text(
        'hidden = [8, 4]\nepochs = 3\nbatch_size = 50\ndrop = ["country"]\nimportance = true\ncv = false\n'
    )
    report = json.loads(call("train", "--data", houses(tmp_path), "--config", config, "--epochs", "2", "--json")[1])
    assert (report["layers"][1:3], report["epochs"], report["batch_size"]) == ([8, 4], 2, 50)
    assert "importance" in report
    assert {one["name"]: one["done"] for one in report["columns"]}["country"] == "as asked"
    for content, message in {
        "epochs = 0": "argument --epochs: expected a whole number >= 1",
        "speed = 3": "unrecognized arguments: --speed=3",
        "[a]\nb = 1": "expected options, as in epochs = 50, got a",
        "epochs": "expected TOML, as in epochs = 50",
    }.items():
        config.write_text(content)
        assert message in refused("train", "--config", config)
    assert "cannot be read" in refused("train", "--config", tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "mse"], "did you mean 'squared_error'?"),
        (["--loss", "quantile:q=2"], "expected q below 1"),
        (["--loss", "huber:d=1"], "d"),
        (["--label", "town", "--loss", "huber"], "--loss is of numbers, and these are classes"),
        (["--class-weight", "balanced"], "--class-weight is of classes, and these are numbers"),
        (["--seeds", "2", "--cv", "3"], "--seeds and --cv exclude each other"),
        (["--cv", "3", "--resume", "x"], "--resume is of one training; leave out --cv"),
        (["--cv", "1"], "expected a whole number >= 2"),
        (["--cv", "200"], "expected at most half as many folds as rows, got 300 rows"),
        (["--momentum", "0.5"], "--momentum is of --optimizer sgd, got adam"),
        (["--dropout", "1"], "expected a number from 0 to below 1"),
        (["--label", "prize"], "expected a column to predict named 'prize', got 'address'"),
        (["--drop", "prize"], "expected a column for --drop named 'prize'"),
        (["--label", "town", "--task", "regression"], "which are classes; pass --task classification"),
        (["--encoding", "klingon"], "there is no encoding 'klingon'"),
        (["--checkpoint", "run.txt"], "--checkpoint run.txt: expected a file name that ends in .safetensors"),
    ],
)
def test_options_that_do_not_fit(refused, tmp_path, options, message):
    assert message in refused("train", "--data", houses(tmp_path), *options)


# -------------------------------------------------------------------------------------------------- with a saved model


def test_predictions_beside_the_columns(call, trained, tmp_path):
    data, model, _ = trained
    output = tmp_path / "out.csv"
    code, out, _ = call("predict", "--model", model, "--data", data, "--output", output, "--keep")
    assert (code, out) == (0, f"{output}: 300 rows\n")
    with output.open() as file, data.open() as given:
        written, before = list(csv.DictReader(file)), list(csv.DictReader(given))
    assert list(written[0]) == [*before[0], "predicted price"]
    assert [row["address"] for row in written] == [row["address"] for row in before]
    assert written[3]["area"] == ""  # was NA
    alone = call("predict", "--model", model, "--data", data)[1].split()
    assert [row["predicted price"] for row in written] == alone
    assert call("predict", "--model", model, "--data", data, "--keep")[1] == output.read_text()


def test_probabilities(call, tmp_path):
    data, model = houses(tmp_path), tmp_path / "m.safetensors"
    assert call("train", "--data", data, "--label", "town", "--save", model, *FAST)[0] == 0
    code, out, _ = call("predict", "--model", model, "--data", data, "--proba")
    assert code == 0
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["label", "probability Bonn", "probability Kiel", "probability Ulm"]
    shares = np.array([row[1:] for row in rows[1:]], float)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert [rows[0][1:][i].removeprefix("probability ") for i in shares.argmax(axis=1)] == [row[0] for row in rows[1:]]


def test_evaluate_says_what_train_said(call, refused, trained, tmp_path):
    data, model, report = trained
    lines = data.read_text().splitlines()
    everything = json.loads(call("evaluate", "--model", model, "--data", data, "--json")[1])
    assert (everything["rows"], everything["task"]) == (300, "regression")
    assert everything["targets"]["price"]["r2"] > report["test_r2"]  # most of the rows were trained on
    code, out, _ = call("evaluate", "--model", model, "--data", data)
    assert code == 0
    assert "300 of 300 rows have a value to compare with" in out
    (tmp_path / "few.csv").write_text("\n".join([lines[0], *lines[1:9], "S,70,Ulm,TRUE,2000-01-01,DE,"]) + "\n")
    assert json.loads(call("evaluate", "--model", model, "--data", tmp_path / "few.csv", "--json")[1])["rows"] == 8
    (tmp_path / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    assert "expected values of 'price' to compare with; without them use fastact predict" in refused(
        "evaluate", "--model", model, "--data", tmp_path / "bare.csv"
    )


def test_what_was_never_seen_is_counted(call, trained, tmp_path):
    _, model, _ = trained
    file = tmp_path / "new.csv"
    file.write_text("town,area,garden,built\nRome,100,TRUE,2000-01-01\nRome,100,,soon\nUlm,NA,FALSE,2000-01-01\n")
    code, out, err = call("predict", "--model", model, "--data", file)
    assert code == 0
    assert len(out.split()) == 3
    assert "town: 2 not among the values trained on\n" in err
    assert "garden: 1 missing\n" in err
    assert "built: 1 no date like " in err
    assert "area" not in err  # areas were missing in training, too
    assert "R2" not in err
    strange = json.loads(call("predict", "--model", model, "--data", file, "--json")[1])["strange"]
    assert strange["town"] == {"not among the values trained on": 2}


def test_info_shows_the_plan(call, refused, trained, tmp_path):
    _, model, report = trained
    code, out, _ = call("info", model)
    assert code == 0
    assert "predicts 'price' (a number)" in out
    for one in report["columns"]:
        assert re.search(rf"^{one['name']} +{one['kind']}", out, re.MULTILINE)
    about = json.loads(call("info", model, "--json")[1])
    assert len(about["inputs"]) == report["layers"][0]
    assert about["target"]["labels"] == ["price"]
    plain = tmp_path / "plain.safetensors"
    fa.Sequential(fa.Dense(2, 3), rng=0).save(plain)
    assert "expected a model saved by fastact train" in refused("info", plain)


def test_standard_input(call, trained, tmp_path, monkeypatch):
    data, model, _ = trained
    expected = call("predict", "--model", model, "--data", data)[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.read_bytes())))
    assert call("predict", "--model", model, "--data", "-")[1] == expected


def test_a_spoilt_plan_is_no_model(call, refused, trained, tmp_path):
    data, model, _ = trained
    for key, value in {"plan": "{}", "target": "[]", "task": "x"}.items():
        net = fa.load(model)
        net.metadata[key] = value
        net.save(tmp_path / "spoilt.safetensors")
        assert "expected a model saved by fastact train" in refused(
            "predict", "--model", tmp_path / "spoilt.safetensors", "--data", data
        )


def test_pictures(call, refused, tmp_path):
    pytest.importorskip("matplotlib")
    data, folder = houses(tmp_path), tmp_path / "new" / "pictures"
    code, out, _ = call("train", "--data", data, *FAST, "--importance", "--plot", folder)
    assert code == 0
    names = ["importance.png", "predictions.png", "training.png"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in folder.iterdir())
    assert all(str(folder / name) in out for name in names)
    report = json.loads(call("train", "--data", data, *FAST, "--label", "town", "--plot", tmp_path / "p", "--json")[1])
    assert report["pictures"] == [str(tmp_path / "p" / name) for name in ("training.png", "confusion.png")]
    assert "expected a folder, there is a file" in refused("train", "--data", data, "--plot", data)
