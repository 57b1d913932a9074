"""What is to be predicted: which column, classes or numbers, and back from a network's outputs."""

import json

import numpy as np
import pytest

from fastact.data.tables import Table, Text
from fastact.data.targets import Target, choose_labels, split_names

NAN = float("nan")


def table(**columns):
    made = {
        name: np.array(cells, np.float64) if not any(isinstance(cell, str) for cell in cells) else Text.of(cells)
        for name, cells in columns.items()
    }
    return Table("t.csv", made)


@pytest.mark.parametrize(
    ("names", "given", "labels", "how"),
    [
        (["a", "b", "c"], [], ["c"], "the last column"),
        (["a", "Target", "c"], [], ["Target"], "by its name"),
        (["y", "label", "c"], [], ["label"], "by its name"),
        (["a", "b", "c"], ["a"], ["a"], "as asked"),
        (["a", "b", "c"], ["a,c"], ["a", "c"], "as asked"),
        (["a", "b", "c"], ["c, a", "b"], ["c", "a", "b"], "as asked"),
        (["a,b", "b", "c"], ["a,b"], ["a,b"], "as asked"),
    ],
)
def test_labels(names, given, labels, how):
    assert choose_labels(table(**{name: [1, 2] for name in names}), given) == (labels, how)


def test_labels_of_a_file_that_knows_them_and_wrong_ones():
    two = Table("t", {"a": np.zeros(2), "y1": np.zeros(2), "y2": np.zeros(2)}, labels=("y1", "y2"))
    assert choose_labels(two) == (["y1", "y2"], "the file's y")
    with pytest.raises(ValueError, match="expected a column to predict named 'd', got 'a', 'b'"):
        choose_labels(table(a=[1], b=[2]), ["d"])
    with pytest.raises(ValueError, match=r"at least one feature and a label, got 1 column\(s\)"):
        choose_labels(table(a=[1]))
    assert split_names(table(a=[1], b=[1]), ["b,a", "b"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["x", "y", "x"], "classification"),
        ([0, 1, 1], "classification"),
        ([0, 1, 2] * 5, "classification"),
        ([0, 1, 2, 3], "regression"),  # few rows of each
        (list(range(20)) * 5, "classification"),
        (list(range(21)) * 5, "regression"),
        ([0.5, 1, 1], "regression"),
        (["$1.50", "$2", "$3"], "regression"),
        (["TRUE", "FALSE", "TRUE"], "classification"),
    ],
)
def test_task(cells, task):
    target, rows, why = Target.decide(table(a=cells), ["a"])
    assert (target.task, len(rows)) == (task, len(cells))
    assert why


def test_rows_without_a_value_are_left_out():
    _, rows, _ = Target.decide(table(a=["x", None, "y", "x"]), ["a"])
    assert rows.tolist() == [0, 2, 3]
    _, rows, _ = Target.decide(table(a=[0.5, NAN, 1, 2, 3], b=[np.inf, 1, 2, 3, 4]), ["a", "b"])
    assert rows.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    ("columns", "labels", "task", "message"),
    [
        ({"a": [1, 1, 1], "b": [1, 2, 3]}, ["a"], None, "the same in every row, .* --label b$"),
        ({"b b": [1, 2, 3], "a": ["r", "s", "t"]}, ["a"], None, r"\(the last column\) holds a text .* --label 'b b'$"),
        ({"a": ["2020-01-01", "2020-01-02", "2020-01-01"]}, ["a"], None, "holds dates; no column of the table"),
        ({"a": ["r", "s", "r"]}, ["a"], "regression", "are classes; pass --task classification"),
        ({"a": [1, 2, 1], "b": [1, 2, 1]}, ["a", "b"], "classification", "one column of classes to predict, got a, b"),
        ({"a": ["r", "s", "r"], "b": [1, 2, 1]}, ["a", "b"], None, "one column of classes to predict, got a, b"),
        ({"a": [1, 2, NAN]}, ["a"], None, r"2 row\(s\) have a value of a; expected at least 3"),
        ({"a": [1, 1, 1]}, ["a"], "regression", "a is the same in every row"),
    ],
)  # fmt: skip
def test_what_cannot_be_predicted(columns, labels, task, message):
    with pytest.raises(ValueError, match=message) as refusal:
        Target.decide(table(**columns), labels, task)
    assert str(refusal.value).startswith("t.csv: ")


def test_classes_and_back():
    own = table(a=[7, 3, 7, 10])
    target, _, _ = Target.decide(own, ["a"], "classification")
    assert target.classes == (3, 7, 10)
    assert target.outputs == 3
    assert target.numbers(own).tolist() == [1, 0, 1, 2]
    assert target.numbers(table(a=["10", "3", "11", None])).tolist() == [2, 0, -1, -1]
    outputs = np.array([[0, 1, 0], [2, 1, 0]], np.float32)
    assert target.predicted(outputs).tolist() == [1, 0]
    assert target.scaled_to(own) is target


def test_numbers_and_back():
    own = table(a=[1, 2, 6], b=[10, 10, 40])
    target = Target.decide(own, ["a", "b"])[0].scaled_to(own)
    true = target.numbers(own)
    wanted = target.wanted(true)
    np.testing.assert_allclose(wanted.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(wanted.std(axis=0), 1)
    np.testing.assert_allclose(target.predicted(wanted), [[1, 10], [2, 10], [6, 40]])
    with pytest.raises(ValueError, match="column 'a': expected numbers, got texts"):
        target.numbers(table(a=["x"], b=[1]))
    huge = table(a=[1e200, -1e200, 3e200])
    with pytest.raises(ValueError, match="numbers too large to predict"):
        Target("regression", ("a",)).scaled_to(huge)


def test_where_a_table_holds_it():
    target = Target("regression", ("b",), mean=(0.0,), scale=(1.0,))
    assert target.found_in(table(a=[1], b=[2]), {"a"}) == ["b"]
    assert target.found_in(table(a=[1], c=[2]), {"a"}) is None
    bare = Table("t", {"column 1": np.zeros(1), "column 2": np.ones(1)}, named=False)
    assert target.found_in(bare, {"column 1"}) == ["column 2"]
    assert target.found_in(bare, {"column 1", "column 2"}) is None
    known = table(a=[1, 2, 3], b=[2, NAN, 4])
    assert target.known(known, ["b"]).tolist() == [0, 2]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_target_is_json(task):
    own = table(a=[1, 2, 2])
    target = Target.decide(own, ["a"], task)[0].scaled_to(own)
    content = json.loads(json.dumps(target.to_json(), allow_nan=False))
    assert Target.from_json(content) == target
    for key, value in {
        "task": "guess", "labels": [], "classes": [1, 1], "mean": ["0"], "scale": [0.0], "labels ": [],
    }.items():  # fmt: skip
        with pytest.raises((ValueError, KeyError, TypeError)):
            Target.from_json({**content, key.strip(): value if key != "labels " else [1]})
