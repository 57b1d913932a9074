"""The bundled digits, and reading people's tables."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from fastact.data.tables import load_digits, read_table, standardization, stratified_split

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


# -------------------------------------------------------------------------------------------------------- clean tables


def write(folder, name, content):
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize(
    ("content", "names", "label"),
    [
        ("1,2.5,0\n3,-4e-1,1\n", None, None),
        ("1;2.5;0\r\n3;-0.4;1\r\n", None, None),
        ("1\t2.5\t0\n\n3\t-0.4\t1", None, None),
        ("a,b,kind\n1,2.5,0\n3,-0.4,1\n", ("a", "b"), "kind"),
        ("a, b, kind\n 1, 2.5, 0\n 3, -0.4, 1.0\n", ("a", "b"), "kind"),
        ("y;a;b\n0;1;2.5\n1;3;-0.4\n", ("a", "b"), "y"),
        ("a,Label,b\n1,0,2.5\n3,1,-0.4\n", ("a", "b"), "Label"),
        ("x,y,label\n1,2.5,0\n3,-0.4,1\n", ("x", "y"), "label"),
        ('"a, cm",target,"b;c"\n1,0,2.5\n3,1,-0.4\n', ("a, cm", "b;c"), "target"),
        ("0,1,y\n1,2.5,0\n3,-0.4,1\n", ("0", "1"), "y"),
        ("\ufeffa,b,y\n1,2.5,0\n3,-0.4,1\n", ("a", "b"), "y"),
    ],
)
def test_csv(tmp_path, content, names, label):
    table = read_table(write(tmp_path, "t.csv", content))
    assert table.features.tolist() == [[1, 2.5], [3, -0.4]]
    assert table.labels.dtype == np.int64
    assert table.labels.tolist() == [0, 1]
    assert (table.names, table.label) == (names, label)


def test_csv_label_by_name_and_as_text(tmp_path):
    file = write(tmp_path, "t.csv", "kind,y,z\nred,1,2\n7,3,4\n")
    table = read_table(file, label="kind")
    assert table.labels.tolist() == ["red", "7"]
    assert table.names == ("y", "z")


def test_csv_without_labels_where_a_model_says_how_many_features(tmp_path):
    file = write(tmp_path, "t.csv", "a,b\n1,2\n3,4\n")
    table = read_table(file, features=2, label="kind")
    assert table.labels is None
    assert table.features.tolist() == [[1, 2], [3, 4]]
    assert read_table(file, features=1).labels.tolist() == [2, 4]


@pytest.mark.parametrize("name", ["x", "X"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_, ">i4"])
def test_npz_of_two_arrays(tmp_path, name, dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    np.savez(tmp_path / "t.npz", **{name: x, "y": np.array([[3.0], [5.0], [3.0]]), "more": np.zeros(9)})
    table = read_table(tmp_path / "t.npz")
    assert table.features.dtype == np.float64
    assert table.features.tolist() == x.tolist()
    assert table.labels.tolist() == [3, 5, 3]


@pytest.mark.parametrize("labels", [["b", "a"], [b"b", b"a"]])
def test_npz_of_text_labels_and_of_one_array(tmp_path, labels):
    np.savez(tmp_path / "t.npz", x=np.eye(2), y=np.array(labels))
    assert read_table(tmp_path / "t.npz").labels.tolist() == ["b", "a"]
    np.savez_compressed(tmp_path / "one.npz", np.array([[1.5, 2, 7], [3, 4, 8]]))
    table = read_table(tmp_path / "one.npz")
    assert table.features.tolist() == [[1.5, 2], [3, 4]]
    assert table.labels.tolist() == [7, 8]
    np.savez(tmp_path / "bare.npz", x=np.eye(2))
    assert read_table(tmp_path / "bare.npz", features=2).labels is None


# ----------------------------------------------------------------------------------------------------- refused tables

BAD_CSV = {
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "no rows of data"),
    "header alone": ("a,b,y\n", "no rows of data"),
    "text": ("1,2,0\n3,four,1\n", r"line 2, column 2: expected a number, got text 'four'$"),
    "text in a named column": (
        "a,b,y\n1,2,0\n3,four,1\n",
        r"line 3, column 2 \(b\): expected a number, got text 'four'",
    ),
    "decimal comma": ("a;b;y\n1,5;2,5;0\n", r"line 2, column 1 \(a\).*got text '1,5'; write .* decimal point"),
    "hole": ("a,b,y\n1,,0\n", r"line 2, column 2 \(b\): expected a number, got nothing"),
    "nan": ("a,b,y\n1,2,0\n\n1,nan,0\n", r"line 4, column 2 \(b\): expected a finite number, got nan"),
    "infinity": ("y,a,b\n0,1,-inf\n", r"line 2, column 3 \(b\): expected a finite number, got -inf"),
    "overflow": ("1,2,0\n1e999,2,1\n", r"line 2, column 1: expected a finite number, got inf"),
    "ragged": ("a,b,y\n1,2,0\n1,2\n", r"line 3 has 2 column\(s\), the lines before it 3"),
    "long line": ("1,2,0\n1,2,3,4\n", r"line 2 has 4 column\(s\), the lines before it 3"),
    "one column": ("1\n2\n", r"at least one feature and a label, got 1 column\(s\)"),
    "nameless column": (",a,y\n0,1,0\n1,2,1\n", "column 1 has no name"),
    "measurements": ("a,y\n1,2.37\n1,2\n", r"line 2: expected a class as label .* got 2\.37; measurements"),
    "huge label": ("a,y\n1,1e300\n", r"line 2: expected a class as label .* got 1e\+300"),
    "label missing": ("a,y\n1,0\n2,\n", "line 3: the label is missing"),
    "label nan": ("a,y\n1,red\n2,NaN\n", "line 3: the label is missing"),
    "not text": (b"\xff\xfe\x00\x01,1\n", "expected a text file in UTF-8"),
    "endless field": ("a,y\n" + "1" * 200_000 + ",0\n", "not a CSV file"),
}


@pytest.mark.parametrize("case", BAD_CSV)
def test_bad_csv_is_refused_with_its_place(tmp_path, case):
    content, message = BAD_CSV[case]
    file = write(tmp_path, "t.csv", content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_table(file)
    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


def test_wrong_number_of_columns_for_a_model(tmp_path):
    file = write(tmp_path, "t.csv", "1,2,0\n")
    for features in (1, 4):
        with pytest.raises(ValueError, match=rf"expected {features} features as the model has.*got 3 column"):
            read_table(file, features=features)
    np.savez(tmp_path / "t.npz", x=np.eye(3), y=np.arange(3))
    with pytest.raises(ValueError, match="expected 2 features as the model has, got 3"):
        read_table(tmp_path / "t.npz", features=2)


def test_label_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="expected a column named 'kind', got 'a', 'y'"):
        read_table(write(tmp_path, "t.csv", "a,y\n1,2\n"), label="kind")
    with pytest.raises(ValueError, match="expected a column named 'kind', got no header"):
        read_table(write(tmp_path, "t.csv", "1,2\n"), label="kind")


def nan_at(i, j):
    x = np.ones((4, 3))
    x[i, j] = np.nan
    return x


BAD_NPZ = {
    "nan": ({"x": nan_at(2, 1), "y": [0, 1, 0, 1]}, r"x\[2, 1\]: expected a finite number, got nan"),
    "objects in x": ({"x": np.array([[1, "a"], [2, None]], object), "y": [0, 1]}, "x is not a plain array"),
    "objects in y": ({"x": np.eye(2), "y": np.array(["a", None], object)}, "y is not a plain array"),
    "no y": ({"x": np.eye(2), "z": np.eye(2)}, "expected arrays x and y, or one array .* got x, z"),
    "neither": ({"a": np.eye(2), "b": [0, 1]}, "expected arrays x and y, or one array .* got a, b"),
    "images": ({"x": np.ones((2, 8, 8)), "y": [0, 1]}, r"expected x of shape \(rows, columns\), got \(2, 8, 8\)"),
    "text": ({"x": np.array([["1", "2"]]), "y": [0]}, "expected x to hold numbers, got an array of <U1"),
    "complex": ({"x": np.eye(2) * 1j, "y": [0, 1]}, "expected x to hold numbers, got an array of complex128"),
    "lengths": ({"x": np.eye(2), "y": [0, 1, 2]}, r"expected y of shape \(2,\), one label per row of x, got \(3,\)"),
    "one-hot": ({"x": np.eye(2), "y": np.eye(2)}, r"expected y of shape \(2,\).*got \(2, 2\)"),
    "dates": ({"x": np.eye(1), "y": np.array(["2020-01-01"], "M8[D]")}, "expected y to hold class numbers or names"),
    "measurements": ({"x": np.eye(2), "y": [0.5, 1]}, r"y\[0\]: expected a class as label .* got 0\.5"),
    "nan label": ({"x": np.eye(2), "y": [0, np.nan]}, r"y\[1\]: expected a class as label .* got nan"),
    "huge label": ({"x": np.eye(1), "y": np.array([2**64 - 1], np.uint64)}, r"y\[0\]: the label .* is too large"),
    "empty label": ({"x": np.eye(2), "y": ["a", " "]}, r"y\[1\]: the label is missing"),
    "no rows": ({"x": np.ones((0, 3)), "y": np.ones(0, int)}, "no rows of data"),
    "measurements last": ({"table": [[1, 0.5], [1, 2]]}, r"table\[0, 1\]: expected a class as label"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz_is_refused_with_its_place(tmp_path, case):
    arrays, message = BAD_NPZ[case]
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(ValueError, match=message) as refusal:
        read_table(tmp_path / "t.npz")
    assert str(refusal.value).startswith(str(tmp_path / "t.npz"))


def test_files_that_are_no_archive_or_damaged(tmp_path):
    for content in (b"", b"hello", b"\x80\x04N.", b"PK\x03\x04 cut off"):
        with pytest.raises(ValueError, match=r"the file is empty|not an NPZ archive"):
            read_table(write(tmp_path, "t.npz", content))
    np.save(tmp_path / "t.npy", np.eye(2))
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    with pytest.raises(ValueError, match=r"got a single \.npy array"):
        read_table(tmp_path / "t.npz")
    np.savez(tmp_path / "t.npz", x=np.eye(9), y=np.arange(9))
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[200] ^= 0xFF
    with pytest.raises(ValueError, match="x is damaged"):
        read_table(write(tmp_path, "t.npz", bytes(content)))


def test_paths_that_are_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(IsADirectoryError, match="got a folder"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match=r"ends in \.npz or \.csv, got '\.xlsx'"):
        read_table(write(tmp_path, "t.xlsx", "1,2"))


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


def test_standardization():
    x = np.array([[1.0, 0.1, 1e9], [3.0, 0.1, 1e9 + 4], [8.0, 0.1, 1e9]])
    mean, scale = standardization(x)
    z = (x - mean) / scale
    np.testing.assert_allclose(z[:, ::2].std(axis=0), 1)
    assert scale[1] == 1  # constant, though 0.1 + 0.1 + 0.1 rounds
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)  # the third to a rounding of 1e9
    with pytest.raises(ValueError, match="feature 1 holds numbers too large"):
        standardization(np.array([[1e200], [-1e200]]))
