"""The bundled digits, and reading people's tables."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from fastact.data.tables import Table, Text, as_texts, load_digits, split_rows, standardization, stratified_split

# ---------------------------------------------------------------------------------------------------------- the digits


def test_digits_are_the_known_ones():
    x, y = load_digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 64), np.uint8, (1797,), np.uint8)
    assert (x.min(), x.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    digest = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    assert digest == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_digits_come_with_their_licence():
    text = (resources.files("fastact") / "data" / "LICENSE.txt").read_text(encoding="utf-8")
    for part in ("E. Alpaydin and C. Kaynak", "UCI", "CC BY 4.0", "creativecommons.org/licenses/by/4.0", "changed"):
        assert part in text


def test_missing_digits_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"lacks data/digits\.npz; reinstall"):
        load_digits()


# --------------------------------------------------------------------------------------------------------- columns


def test_texts_are_held_once_and_bare():
    text = Text.of([" red", "blue", "red ", None, "NA", "?", "", "blue"])
    assert text.texts() == ["red", "blue", "red", None, None, None, None, "blue"]
    assert text.values == ["red", "blue"]
    assert text.codes.dtype == np.int32
    assert text.take(np.array([7, 0, 3])).texts() == ["blue", "red", None]
    assert text.take(np.array([3, 1])).counts().tolist() == [0, 1]
    assert text.mapped([5, 7]).tolist()[:2] == [5, 7]
    assert np.isnan(text.mapped([5, 7])[3])
    assert Text.of([]).texts() == []


@pytest.mark.parametrize("cell", ["1", "-1.5", "+.5", "2.", "1e3", "1E-3", "inf", "-Infinity"])
def test_numbers_in_texts(cell):
    assert Text.of([cell]).numbers().tolist() == [float(cell)]


@pytest.mark.parametrize("cell", ["1_0", "0x10", "1e", ".", "e3", "1,5", "--1", "12a", "\u0663", "nano"])
def test_no_numbers_in_texts(cell):
    assert Text.of(["1", "x" if cell == "." else cell]).numbers() is None


def test_taken_rows_keep_their_places():
    table = Table("t", {"a": np.arange(5.0), "b": Text.of("abcde")}, place=lambda row: f"line {row + 2}")
    taken = table.take(np.array([4, 1])).take(np.array([1]))
    assert (taken.rows, taken.columns["a"].tolist(), taken.columns["b"].texts()) == (1, [1], ["b"])
    assert taken.place(0) == "line 3"
    assert Table("t", {}).rows == 0
    with pytest.raises(ValueError, match="t: expected a column named 'c', got 'a', 'b'"):
        table.column("c")


def test_numbers_as_texts_read_back():
    texts = as_texts(np.array([1.0, -0.5, 1e300, np.nan, 0.1, 1.0]))
    assert texts.texts()[:3] == ["1", "-0.5", "1e+300"]
    assert texts.texts()[3] is None
    assert texts.numbers()[[0, 1, 2, 4, 5]].tolist() == [1, -0.5, 1e300, 0.1, 1]


# ------------------------------------------------------------------------------------------------- split and scaling


def test_split_holds_out_a_fifth_of_each_class():
    labels = np.repeat([0, 1, 2, 3], [2, 10, 55, 100])
    train, test = stratified_split(labels, 3)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert np.bincount(labels[test]).tolist() == [1, 2, 11, 20]
    again, other = stratified_split(labels, 3)[1], stratified_split(labels, 4)[1]
    assert (again == test).all()
    assert (other != test).any()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "a"], "at least two classes, got only a"),
        (["a", "a", "b"], r"at least two rows of each class.*got one of b \(1 of 2 classes\)"),
        (list(range(9)), r"got one of 0, 1, 2, \.\.\. \(9 of 9 classes\)"),
    ],
)
def test_split_refuses_too_little(labels, message):
    with pytest.raises(ValueError, match=message):
        stratified_split(np.array(labels))


def test_rows_held_out_of_any_table():
    labels = np.repeat(["a", "b", "c"], [1, 2, 20])
    stay, out = split_rows(labels, 5, 0.1)
    assert sorted([*stay, *out]) == list(range(23))
    assert sorted(labels[out]) == ["b", "c", "c"]  # one of a kind stays
    stay, out = split_rows(9, 5, 0.25)
    assert (len(stay), len(out)) == (7, 2)
    assert len(split_rows(2, 0, 0.01)[1]) == 1


def test_standardization():
    x = np.array([[1.0, 0.1, 1e9], [3.0, 0.1, 1e9 + 4], [8.0, 0.1, 1e9]])
    mean, scale = standardization(x)
    z = (x - mean) / scale
    np.testing.assert_allclose(z[:, ::2].std(axis=0), 1)
    assert scale[1] == 1  # constant, though 0.1 + 0.1 + 0.1 rounds
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)  # the third to a rounding of 1e9
    with pytest.raises(ValueError, match="feature 1 holds numbers too large"):
        standardization(np.array([[1e200], [-1e200]]))
