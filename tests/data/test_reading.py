"""Files to tables: whatever lies about, by either reader, and refused with the place where it is none."""

import gzip
import io
import sys

import numpy as np
import pytest

from fastact.data import reading
from fastact.data.reading import read_table
from fastact.data.tables import Text


def write(folder, name, content):
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def plain(table):
    """Columns as lists, NaN as None."""
    return {
        name: column.texts()
        if isinstance(column, Text)
        else [None if np.isnan(value) else value for value in column.tolist()]
        for name, column in table.columns.items()
    }


@pytest.fixture(params=reading.READERS)
def reader(request):
    if request.param != "csv":
        pytest.importorskip(request.param)
    return request.param


#: Text, and the table that it is.
TABLES = {
    "no header": ("1,2.5,0\n3,-4e-1,1\n", {"column 1": [1, 3], "column 2": [2.5, -0.4], "column 3": [0, 1]}),
    "header": ("a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
    "carriage returns": ("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
    "no end of line": ("a,b\n1,x\n2,y", {"a": [1, 2], "b": ["x", "y"]}),
    "empty lines": ("\n\na,b\n\n1,x\n\n2,y\n\n", {"a": [1, 2], "b": ["x", "y"]}),
    "tabs": ("a\tb\n1\tx, y\n2\tz\n", {"a": [1, 2], "b": ["x, y", "z"]}),
    "bars": ("a|b\n1|x\n2|y\n", {"a": [1, 2], "b": ["x", "y"]}),
    "decimal commas": ("a;b\n1,5;x,y\n-2;z\n", {"a": [1.5, -2], "b": ["x,y", "z"]}),
    "decimal commas, no header": ("1,5;2,5\n3;4,25\n", {"column 1": [1.5, 3], "column 2": [2.5, 4.25]}),
    "semicolons and points": ("a;b\n1.5;1,2\n2;3\n", {"a": [1.5, 2], "b": ["1,2", "3"]}),
    "spaces": (" 1  2.5 x\n 3 -4 y\n", {"column 1": [1, 3], "column 2": [2.5, -4], "column 3": ["x", "y"]}),
    "missing": (
        "a,b,c\n1,x,?\nNA,,2\n-,n/a,NaN\nnull,None,3\n",
        {"a": [1, None, None, None], "b": ["x", None, None, None], "c": [None, 2, None, 3]},
    ),
    "padded": ("a, b, c\n 1, x , ?\n 2, ?, 5\n", {"a": [1, 2], "b": ["x", None], "c": [None, 5]}),
    "quoted": ('"a","b"\n1,"x, ""y"""\n2,"two\nlines"\n', {"a": [1, 2], "b": ['x, "y"', "two\nlines"]}),
    "quoted numbers": ('"a","b"\n"1","x"\n"2","y"\n', {"a": [1, 2], "b": ["x", "y"]}),
    "quotes behind spaces": ('a, b\n1, "x, y"\n2, "z"\n', {"a": [1, 2], "b": ["x, y", "z"]}),
    "names of rows": (",a\nr1,1\nr2,2\n", {"column 1": ["r1", "r2"], "a": [1, 2]}),
    "names of rows without a place in the header": (
        "a,b\nr1,1,2\nr2,3,4\n",
        {"column 1": ["r1", "r2"], "a": [1, 3], "b": [2, 4]},
    ),
    "a delimiter at each end": ("a,b\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4], "column 3": [None, None]}),
    "names alike": ("a,a,b,a\n1,2,3,4\n", {"a": [1], "a.2": [2], "b": [3], "a.3": [4]}),
    "comments": ("# of 1999\n#\na,b\n1,x\n# half\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
    "names in a comment": ("# a, b\n1,2\n3,4\n", {"a": [1, 3], "b": [2, 4]}),
    "hashes": ("a,b\n#1,x\n#2,y\n", {"a": ["#1", "#2"], "b": ["x", "y"]}),
    "titles": ("A table\n\nof, two, lines\na,b\n1,2\n3,4\n5,6\n", {"a": [1, 3, 5], "b": [2, 4, 6]}),
    "a label among numbers": ("0,1,y\n1,2.5,0\n", {"0": [1], "1": [2.5], "y": [0]}),
    "texts alone": ("a,b\nx,u\ny,u\nx,v\n", {"a": ["x", "y", "x"], "b": ["u", "u", "v"]}),
    "texts alone, no header": ("x,u\ny,u\nx,v\n", {"column 1": ["x", "y", "x"], "column 2": ["u", "u", "v"]}),
    "one column": ("a\n1\n2\n", {"a": [1, 2]}),
    "dates and times are texts": (
        "d,t,w\n2020-01-31,10:30,2020-01-31T01:02:03Z\n2020-02-01,9:05,2020-02-01T00:00:00Z\n",
        {
            "d": ["2020-01-31", "2020-02-01"],
            "t": ["10:30", "9:05"],
            "w": ["2020-01-31T01:02:03Z", "2020-02-01T00:00:00Z"],
        },
    ),
    "true and false are texts": ("a,b\nTRUE,false\nFALSE,true\n", {"a": ["TRUE", "FALSE"], "b": ["false", "true"]}),
    "numbers of all kinds": (
        "a,b\n+1,9007199254740993\n.5,1e400\n1.,-inf\n007,0.1\n",
        {"a": [1, 0.5, 1, 7], "b": [9007199254740992, np.inf, -np.inf, 0.1]},
    ),
    "a word in the first of rows of numbers": (
        "1,2,high\n3,4,5\n6,7,8\n",
        {"column 1": [1, 3, 6], "column 2": [2, 4, 7], "column 3": ["high", "5", "8"]},
    ),
    "underscores are texts": ("a,b\n1_0,1\n2_0,2\n", {"a": ["1_0", "2_0"], "b": [1, 2]}),
    "an empty column": ("a,b,c\n1,,x\n2,,y\n", {"a": [1, 2], "b": [None, None], "c": ["x", "y"]}),
    "beyond ASCII": ("größe,b\n1,ä\n2,日本\n", {"größe": [1, 2], "b": ["ä", "日本"]}),
}


@pytest.mark.parametrize("case", TABLES)
def test_text(tmp_path, case, reader):
    content, columns = TABLES[case]
    table = read_table(write(tmp_path, "t.csv", content), reader=reader)
    assert plain(table) == columns
    assert list(table.columns) == list(columns)
    assert table.named == (not all(name.startswith("column") for name in columns))


@pytest.mark.parametrize(
    ("late", "found"),
    [
        *((late, "text") for late in ("x", "10:30", "2020-01-01", "true", "1_0", '"two\nlines"')),
        *((late, "numbers") for late in ("?", "1.5", " 7 ", "+3", "18446744073709551616")),
    ],
)
@pytest.mark.parametrize("early", ["1", "", "2.5"])
def test_a_column_is_what_all_of_it_is(tmp_path, reader, early, late, found):
    """What comes long after the beginning counts too."""
    rows = 9000
    content = "a,b\n" + f"{early},1\n" * rows + f"{late},2\n"
    table = read_table(write(tmp_path, "t.csv", content), reader=reader)
    assert table.rows == rows + 1
    column = table.columns["a"]
    assert isinstance(column, Text) == (found == "text")
    if found == "text":
        assert column.texts()[-1] == late.strip('"')
        assert column.texts()[0] == (early or None)
    else:
        np.testing.assert_equal(column[[0, -1]], [float(early or "nan"), float("nan" if late == "?" else late)])


def test_readers_agree_on_random_tables(tmp_path):
    for name in ("pandas", "pyarrow"):
        pytest.importorskip(name)
    rng = np.random.default_rng(4)
    cells = ["1", "-2.5", "", "NA", "x", '"a, b"', "?", "1e-3", "true", "2020-01-01", "0.1", "12:00", " z "]
    for number in range(30):
        kinds = [rng.choice(cells, rng.integers(1, 5), replace=False) for _ in range(rng.integers(2, 6))]
        lines = [",".join(f"n{j}" for j in range(len(kinds)))]
        lines += [",".join(rng.choice(kind) for kind in kinds) for _ in range(50)]
        file = write(tmp_path, f"{number}.csv", "\n".join(lines))
        by_csv, *others = (read_table(file, reader=name) for name in ("csv", "pandas", "pyarrow"))
        for other in others:
            assert plain(by_csv) == plain(other), lines
            for name, column in by_csv.columns.items():
                if isinstance(column, Text):
                    assert list(column.values) == list(other.columns[name].values)


@pytest.mark.parametrize("name", ["pandas", "pyarrow"])
def test_large_files_go_through_what_is_installed(tmp_path, monkeypatch, name):
    pytest.importorskip(name)
    if name == "pyarrow":
        monkeypatch.setitem(sys.modules, "pandas", None)
    file = write(tmp_path, "t.csv", "a,b\n1,x\n2,y\n")
    monkeypatch.setattr(reading, "_by_csv", lambda *_: pytest.fail("read by csv"))
    with pytest.raises(BaseException, match="read by csv"):
        read_table(file)
    monkeypatch.setattr("fastact.data.layout.LARGE", 1)
    assert plain(read_table(file)) == {"a": [1, 2], "b": ["x", "y"]}


def test_without_either(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr("fastact.data.layout.LARGE", 1)
    file = write(tmp_path, "t.csv", "a,b\n1,x\n2,y\n")
    assert plain(read_table(file)) == {"a": [1, 2], "b": ["x", "y"]}
    with pytest.raises(ImportError, match=r"pip install fastact\[tables\]"):
        read_table(file, reader="pyarrow")
    with pytest.raises(ImportError, match="pip install pandas"):
        read_table(file, reader="pandas")
    with pytest.raises(ImportError, match=r"\.parquet needs pyarrow; install it with pip install fastact\[tables\]"):
        read_table(write(tmp_path, "t.parquet", "PAR1"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_encodings(tmp_path, reader, encoding):
    file = write(tmp_path, "t.csv", "größe,b\n1,ä\n2,ö\n".encode(encoding))
    given = encoding if encoding in ("latin-1", "cp1252", "utf-16-le") else None
    assert plain(read_table(file, encoding=given, reader=reader)) == {"größe": [1, 2], "b": ["ä", "ö"]}


def test_packed_text_and_standard_input(tmp_path, reader, monkeypatch):
    content = b"a\tb\n1\tx\n2\ty\n"
    for name in ("t.csv.gz", "t.tsv.gz", "T.TXT.GZ"):
        assert plain(read_table(write(tmp_path, name, gzip.compress(content)), reader=reader))["b"] == ["x", "y"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read_table("-", reader=reader)
    assert (plain(table), table.source) == ({"a": [1, 2], "b": ["x", "y"]}, "standard input")
    with pytest.raises(ValueError, match="not a whole gzip file"):
        read_table(write(tmp_path, "cut.csv.gz", gzip.compress(content * 99)[:40]), reader=reader)


def test_what_is_given_counts(tmp_path, reader):
    file = write(tmp_path, "t.csv", "1;2,5\n3;4,5\n")
    assert plain(read_table(file, header=True, reader=reader)) == {"1": [3], "2,5": [4.5]}
    assert plain(read_table(file, delimiter=",", reader=reader))["column 1"] == ["1;2", "3;4"]
    assert plain(read_table(file, decimal=".", reader=reader))["column 2"] == ["2,5", "4,5"]
    file = write(tmp_path, "u.csv", "a,b\n1,2\n")
    assert plain(read_table(file, header=False, reader=reader))["column 1"] == ["a", "1"]


def test_places_of_rows(tmp_path, reader):
    content = '# a comment\n\na,b\n1,"two\nlines"\n\n2,x\n3,y\n'
    table = read_table(write(tmp_path, "t.csv", content), reader=reader)
    assert [table.place(row) for row in range(3)] == ["line 5", "line 7", "line 8"]
    assert table.take(np.array([2])).place(0) == "line 8"


BAD_TEXT = {
    "empty": ("", "the file is empty"),
    "blank": ("\n\n", "no rows of data"),
    "header alone": ("a,b,y\n", "no rows of data"),
    "ragged": ("a,b,y\n1,2,0\n1,2\n", r"line 3 has 2 column\(s\), the lines before it 3"),
    "long line": ("1,2,0\n1,2,0\n1,2,3,4\n", r"line 3 has 4 column\(s\), the lines before it 3"),
    "not text": (b"a,b\n1,\xe4\n", r"expected a text file in UTF-8 \(.*\); pass --encoding latin-1"),
    "no mark": ("a,b\n1,2\n".encode("utf-16-le"), "bytes of 0, as UTF-16 does; pass --encoding utf-16-le"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_bad_text_is_refused_with_its_place(tmp_path, reader, case):
    content, message = BAD_TEXT[case]
    file = write(tmp_path, "t.csv", content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_table(file, reader=reader)
    assert str(refusal.value).startswith(str(file))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "there is no encoding 'klingon'; pass --encoding latin-1"),
        ({"encoding": "ascii"}, "expected a text file in ascii .* pass --encoding utf-8"),
        ({"delimiter": "::"}, "expected a delimiter of one character, got '::'"),
        ({"reader": "excel"}, "expected reader to be pandas, pyarrow or csv, got 'excel'"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, "t.csv", "a,b\n1,ä\n"), **options)


def test_a_cell_without_an_end(tmp_path):
    with pytest.raises(ValueError, match="not a CSV file"):
        read_table(write(tmp_path, "t.csv", "a,y\n" + "1" * 200_000 + ",0\n"))


def test_paths_that_are_no_table(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(IsADirectoryError, match="got a folder"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match=r"ends in \.csv.* or \.npz, got '\.xlsx'"):
        read_table(write(tmp_path, "t.xlsx", "1,2"))


# ------------------------------------------------------------------------------------------------------------- Parquet


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    content = {
        "n": pa.array([1, None, 3]),
        "x": pa.array([0.5, float("nan"), 2], pa.float32()),
        "s": pa.array(["b", None, "a"]),
        "c": pa.array(["v", "u", "v"]).dictionary_encode(),
        "t": pa.array([True, False, None]),
        "d": pa.array([0, 1, None], pa.date32()),
        "w": pa.array([0, 3_600, None], pa.timestamp("s")),
        "m": pa.array([1, 2, 3]).cast(pa.decimal128(22, 2)),
    }
    parquet.write_table(pa.table(content), tmp_path / "t.parquet")
    assert plain(read_table(tmp_path / "t.parquet")) == {
        "n": [1, None, 3], "x": [0.5, None, 2], "s": ["b", None, "a"], "c": ["v", "u", "v"],
        "t": ["true", "false", None], "d": ["1970-01-01", "1970-01-02", None],
        "w": ["1970-01-01 00:00:00.000", "1970-01-01 01:00:00.000", None], "m": [1, 2, 3],
    }  # fmt: skip
    with pytest.raises(ValueError, match="not a Parquet file"):
        read_table(write(tmp_path, "u.parquet", "1,2\n"))


# ----------------------------------------------------------------------------------------------------------------- NPZ


@pytest.mark.parametrize("name", ["x", "X"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_, ">i4"])
def test_npz_of_two_arrays(tmp_path, name, dtype):
    x = np.array([[1, 0], [0, 1], [1, 1]], dtype)
    np.savez(tmp_path / "t.npz", **{name: x, "y": np.array([[3.0], [5.0], [3.0]]), "more": np.zeros(9)})
    table = read_table(tmp_path / "t.npz")
    assert plain(table) == {"column 1": [1, 0, 1], "column 2": [0, 1, 1], "y": [3, 5, 3]}
    assert (table.labels, table.named, table.place(1)) == (("y",), False, "row 1")


@pytest.mark.parametrize("labels", [["b", "a"], [b"b", b"a"]])
def test_npz_of_text_labels_and_of_one_array(tmp_path, labels):
    np.savez(tmp_path / "t.npz", x=np.eye(2), y=np.array(labels))
    assert plain(read_table(tmp_path / "t.npz"))["y"] == ["b", "a"]
    np.savez_compressed(tmp_path / "one.npz", np.array([[1.5, np.nan, 7], [3, 4, 8]]))
    table = read_table(tmp_path / "one.npz")
    assert list(plain(table).values()) == [[1.5, 3], [None, 4], [7, 8]]
    assert table.labels == ()
    np.savez(tmp_path / "two.npz", x=np.eye(2), y=np.array([[1, 2], [3, 4.5]]))
    assert read_table(tmp_path / "two.npz").labels == ("y1", "y2")


BAD_NPZ = {
    "objects in x": ({"x": np.array([[1, "a"], [2, None]], object), "y": [0, 1]}, "x is not a plain array"),
    "objects in y": ({"x": np.eye(2), "y": np.array(["a", None], object)}, "y is not a plain array"),
    "neither": ({"a": np.eye(2), "b": [0, 1]}, "expected arrays x and y, or one array .* got a, b"),
    "images": ({"x": np.ones((2, 8, 8)), "y": [0, 1]}, r"expected x of shape \(rows, columns\), got \(2, 8, 8\)"),
    "text": ({"x": np.array([["1", "2"]]), "y": [0]}, "expected x to hold numbers, got an array of <U1"),
    "complex": ({"x": np.eye(2) * 1j, "y": [0, 1]}, "expected x to hold numbers, got an array of complex128"),
    "lengths": ({"x": np.eye(2), "y": [0, 1, 2]}, r"expected y of shape \(2,\), one label per row of x, got \(3,\)"),
    "dates": ({"x": np.eye(1), "y": np.array(["2020-01-01"], "M8[D]")}, "expected y to hold class numbers, names"),
    "no rows": ({"x": np.ones((0, 3)), "y": np.ones(0, int)}, "no rows of data"),
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
