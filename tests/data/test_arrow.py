"""Parquet and CSV files as sources: columns, row groups, labels, and what is said of files that are not clean."""

import builtins

import numpy as np
import pytest

import fastact as fa

pa = pytest.importorskip("pyarrow")
csv = pytest.importorskip("pyarrow.csv")
parquet = pytest.importorskip("pyarrow.parquet")

RNG = np.random.default_rng(0)
A, B, C = RNG.normal(size=100).astype(np.float32), RNG.integers(0, 9, 100), RNG.normal(size=100)
NAMES = np.array(["ant", "bee", "cat"])
LABELS = RNG.integers(0, 3, 100)


def table(**columns):
    return pa.table({"a": A, "b": B, "c": C, "label": LABELS, "name": NAMES[LABELS], "weight": C**2, **columns})


@pytest.fixture
def file(tmp_path):
    parquet.write_table(table(), tmp_path / "data.parquet", row_group_size=30)
    return tmp_path / "data.parquet"


def joined(source, labelled=True):
    x, y, weight = zip(*source.blocks(7, labelled), strict=True)
    return tuple(None if part[0] is None else np.concatenate(part) for part in (x, y, weight))


@pytest.mark.parametrize("kind", ["parquet", "csv", "csv.gz", "semicolons", "folder", "several"])
def test_columns(tmp_path, kind):
    features = ["c", "a", "b"]
    if kind.startswith("csv"):
        csv.write_csv(table(), path := tmp_path / "data.csv")
        if kind == "csv.gz":
            with pa.output_stream(tmp_path / "data.csv.gz", compression="gzip") as stream:
                stream.write(path.read_bytes())
            path = tmp_path / "data.csv.gz"
        make = fa.data.Csv
    elif kind == "semicolons":
        path, make = tmp_path / "data.csv", fa.data.Csv
        csv.write_csv(table(), path, csv.WriteOptions(delimiter=";"))
    else:
        make = fa.data.Parquet
        (tmp_path / "in").mkdir()
        names = ["1.parquet", "in/2.parquet", "in/3.parquet"]
        for number, name in enumerate(names):
            parquet.write_table(table()[number * 34 : number * 34 + 34], tmp_path / name, row_group_size=10)
        (tmp_path / "in" / "_metadata.parquet").write_bytes(b"nothing")
        path = {"parquet": tmp_path / "all.parquet", "folder": tmp_path, "several": [tmp_path / n for n in names]}[kind]
        if kind == "parquet":
            parquet.write_table(table(), path, row_group_size=30)
    source = make(path, features, "label", weight="weight")
    assert source.rows == (None if make is fa.data.Csv else 100)
    for labelled in (True, False):
        x, y, weight = joined(source, labelled)
        np.testing.assert_allclose(x, np.stack([C, A, B], axis=1), rtol=1e-7)
        if labelled:
            np.testing.assert_array_equal(y, LABELS)
            np.testing.assert_allclose(weight, C**2, rtol=1e-12)
        else:
            assert y is None
            assert weight is None
    assert source.labels().tolist() == [0, 1, 2]
    assert make(path, features, "name").labels().tolist() == NAMES.tolist()
    named = make(path, "c", "name", classes=["cat", "ant", "bee"])
    np.testing.assert_array_equal(joined(named)[1], np.array([1, 2, 0])[LABELS])


def test_row_groups_are_pieces(file):
    source = fa.data.Parquet(file, ["a", "b"], "label")
    pieces = source.pieces(5)
    assert [(p.first, p.rows) for p in pieces] == [(0, 30), (30, 30), (60, 30), (90, 10)]
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in pieces[1].read(True)]), LABELS[30:60])
    assert pieces[3].place.endswith("data.parquet, row group 3")
    assert repr(source) == f"Parquet({file}, 2 features, label 'label', 100 rows, targets)"
    net = fa.Sequential(fa.Dense(2, 3), rng=0)
    with pytest.raises(
        TypeError, match=r"fit: expected class numbers, got names as '\w+'; pass classes=.* \(in .*group 0"
    ):
        fa.fit(net, fa.data.Parquet(file, ["a", "b"], "name"), progress=False)
    assert fa.data.Parquet(file, label="label", features=None).features == ["a", "b", "c", "name", "weight"]


@pytest.mark.parametrize("kind", ["fixed", "lists"])
def test_lists_of_numbers(tmp_path, kind):
    wide = RNG.normal(size=(100, 4)).astype(np.float32)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(wide.reshape(-1)), 4)
    column = fixed if kind == "fixed" else fixed.cast(pa.list_(pa.float32()))
    parquet.write_table(table(wide=column), tmp_path / "data.parquet", row_group_size=30)
    np.testing.assert_array_equal(joined(fa.data.Parquet(tmp_path / "data.parquet", "wide", "label"))[0], wide)
    x, _, _ = joined(fa.data.Parquet(tmp_path / "data.parquet", ["b", "wide"], "label"))
    np.testing.assert_array_equal(x, np.column_stack([B, wide]))
    ragged = pa.array([[1.0] * (1 + i % 2) for i in range(100)])
    parquet.write_table(table(wide=ragged), tmp_path / "ragged.parquet")
    with pytest.raises(ValueError, match="expected lists of one length in column 'wide'"):
        joined(fa.data.Parquet(tmp_path / "ragged.parquet", "wide"))


@pytest.mark.parametrize("window", [20, 1000])
def test_training(file, window):
    options = {"epochs": 2, "rng": 0, "progress": False, "shuffle": False, "batch_size": 8}

    def net():
        return fa.Sequential(fa.Dense(2, 5, "tanh"), fa.Dense(5, 3), rng=0)

    nets = [net(), net(), net()]
    x = np.stack([A, B], axis=1)
    fa.fit(nets[0], x, LABELS, **options)
    fa.fit(nets[1], fa.data.Parquet(file, ["a", "b"], "label"), window=window, **options)
    csv.write_csv(table(), file.with_suffix(".csv"))
    source = fa.data.Csv(file.with_suffix(".csv"), ["a", "b"], "name", classes=NAMES)
    fa.fit(nets[2], source, window=window, **options)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    np.testing.assert_allclose(nets[0].parameters, nets[2].parameters, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(fa.predict(nets[0], fa.data.Parquet(file, ["a", "b"])), fa.predict(nets[0], x))
    assert fa.evaluate(nets[2], source) == pytest.approx(fa.evaluate(nets[2], x, LABELS), rel=1e-5)


def test_what_is_not_clean(tmp_path, file):
    holes = C.astype(object)
    holes[70] = None
    text = NAMES[LABELS]
    parquet.write_table(table(c=pa.array(holes, pa.float64()), name=text), file, row_group_size=30)
    source = fa.data.Parquet(file, ["a", "c"], "label")
    net = fa.Sequential(fa.Dense(2, 3), rng=0)
    for window in (20, 1000):
        with pytest.raises(
            ValueError, match=r"missing values, got one in column 'c' at row 70 \(in .*data.parquet, row group 2\)"
        ):
            fa.fit(net, source, window=window, progress=False)
    with pytest.raises(TypeError, match="Parquet: expected column 'name' to hold numbers, got string"):
        fa.fit(net, fa.data.Parquet(file, ["a", "name"], "label"), progress=False)
    with pytest.raises(ValueError, match=r"expected labels of classes, got 'ant' at row \d+ \(in"):
        fa.fit(net, fa.data.Parquet(file, ["a", "b"], "name", classes=["bee", "cat"]), progress=False)
    bad = A.copy()
    bad[95] = np.inf
    parquet.write_table(table(a=bad), file, row_group_size=30)
    with pytest.raises(ValueError, match=r"NaN or infinity at row 95, column 0.*data.parquet, row group 3\)"):
        fa.fit(net, fa.data.Parquet(file, ["a", "b"], "label"), window=20, progress=False)
    lines = "a,b,label\n1,2,0\n" + "3,4,1\n" * 3000 + "5,six,2\n"
    (tmp_path / "data.csv").write_text(lines)
    with pytest.raises(ValueError, match=r"data\.csv: .*six"):
        fa.fit(net, fa.data.Csv(tmp_path / "data.csv", label="label"), window=20, progress=False)


def test_columns_that_are_missing(file, tmp_path):
    with pytest.raises(ValueError, match=r"Parquet: expected a column 'd' in .*data.parquet, got 'a', 'b', 'c'"):
        fa.data.Parquet(file, ["a", "d"])
    parquet.write_table(pa.table({"a": A}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match=r"expected a column 'b' in .*other.parquet as in .*data.parquet"):
        fa.data.Parquet(tmp_path, ["a", "b"])
    with pytest.raises(ValueError, match=r"Parquet\.labels: expected label="):
        fa.data.Parquet(file).labels()


def test_files_that_are_none(file, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        fa.data.Parquet(tmp_path / "nothing.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"expected files that end in \.csv in .*empty"):
        fa.data.Csv(tmp_path / "empty")
    with pytest.raises(TypeError, match="expected the path of a file or a folder, got int"):
        fa.data.Parquet(3)
    for content in (b"", b"PAR1nothing of thatPAR1", file.read_bytes()[:-20]):
        (tmp_path / "bad.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.parquet is no whole Parquet file"):
            fa.data.Parquet(tmp_path / "bad.parquet")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty\.csv"):
        fa.data.Csv(tmp_path / "empty.csv")


def test_a_file_that_changes(file):
    source = fa.data.Parquet(file, ["a", "b"], "label")
    net = fa.Sequential(fa.Dense(2, 3), rng=0)
    content = bytearray(file.read_bytes())
    content[100:400] = bytes(300)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.parquet, row group 0: cannot be read"):
        fa.fit(net, source, window=20, shuffle=False, progress=False)
    file.write_bytes(bytes(content[:-100]))
    with pytest.raises(ValueError, match=r"row group \d: expected a file of \d+ bytes, as when it was opened, got \d+"):
        fa.fit(net, source, window=20, progress=False)


def test_headers_of_csv_files(tmp_path):
    (tmp_path / "a.csv").write_text("1,2,0\n3,4,1\n")
    source = fa.data.Csv(tmp_path / "a.csv", label="f2")
    assert source.features == ["f0", "f1"]
    assert joined(source)[0].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "a.csv").write_text("x,2\n3,4\n")
    assert fa.data.Csv(tmp_path / "a.csv", header=True).features == ["x", "2"]


def test_fingerprints(file):
    before = fa.data.Parquet(file, ["a"]).fingerprint()
    assert before == fa.data.Parquet(file, ["a"]).fingerprint() != fa.data.Parquet(file, ["b"]).fingerprint()
    parquet.write_table(table()[:99], file, row_group_size=30)
    assert fa.data.Parquet(file, ["a"]).fingerprint() != before


def test_the_extra_is_named_where_it_is_missing(monkeypatch, file):
    real = builtins.__import__

    def without(name, *rest, **keywords):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"Parquet: .*pip install fastact\[parquet\]"):
        fa.data.Parquet(file)
