"""Sources: what is one, its pieces, how rows of arrays on disk are read, what batches of one's own may be."""

import numpy as np
import pytest

import fastact as fa
from fastact.data import sources
from fastact.data.sources import Arrays, MappedRows, Source, Stream, found, stays

X = np.arange(70, dtype=np.float32).reshape(14, 5)
Y = np.arange(14) % 3


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def rows_of(source, size=4, labelled=True):
    return [[None if part is None else part.tolist() for part in block] for block in source.blocks(size, labelled)]


class Elsewhere:
    """An array that stays where it is, for all that can be told."""

    def __init__(self, array):
        self.inner, self.shape, self.dtype = array, array.shape, array.dtype
        self.asked = []

    def __getitem__(self, part):
        self.asked.append(part)
        return self.inner[part]


def test_what_stays_where_it_is(mapped):
    assert stays(mapped)
    assert stays(mapped[3:])
    assert stays(Elsewhere(X))
    for other in (X, X.tolist(), mapped + 1, np.array(mapped), mapped.copy(), "x", None, 3.0, np.float64(3)):
        assert not stays(other)


@pytest.mark.parametrize(
    "view",
    [
        (slice(None),), (slice(3, 12),), (slice(None, None, 2),), (slice(None), slice(1, 4)), (slice(2, 3),),
        (slice(None), 2), (slice(1, None, 3), slice(None, None, 2)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("offset", [0, 128, 4096 * 5 + 128])
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_rows_of_a_map_come_from_its_file(tmp_path, view, offset, mode):
    path = tmp_path / "raw"
    path.write_bytes(bytes(offset) + X.tobytes() + b"behind")
    array = np.memmap(path, X.dtype, mode, offset, X.shape)[view]
    assert MappedRows.can_read(array)
    rows = MappedRows(array, "x")
    for start in range(len(array)):
        for stop in range(start, len(array) + 1):
            np.testing.assert_array_equal(rows.read(start, stop), X[view][start:stop])


def test_maps_that_are_read_through_themselves(tmp_path, mapped):
    assert not MappedRows.can_read(mapped[::-1])
    assert not MappedRows.can_read(mapped.T)
    assert not MappedRows.can_read(np.load(tmp_path / "x.npy", mmap_mode="c"))
    for array in (mapped[::-1], mapped.T, np.load(tmp_path / "x.npy", mmap_mode="c")):
        np.testing.assert_array_equal(np.concatenate([b[0] for b in Arrays(array).blocks(3)]), np.asarray(array))
    np.save(tmp_path / "other.npy", X + 1)
    (tmp_path / "other.npy").replace(tmp_path / "x.npy")  # the map is of the old file, which has no name any more
    assert not MappedRows.can_read(mapped)
    np.testing.assert_array_equal(np.concatenate([b[0] for b in Arrays(mapped).blocks(3)]), X)


def test_a_file_that_is_cut_off(tmp_path, mapped):
    source = Arrays(mapped, Y)
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(128 + 9 * 20)
    blocks = source.blocks(4)
    next(blocks), next(blocks)
    with pytest.raises(ValueError, match=r"x\.npy: expected 14 rows, as when it was opened, but it ends within row 9"):
        next(blocks)


def test_pieces_of_arrays():
    source = Arrays(Elsewhere(X), Y, np.linspace(0, 1, 14))
    assert (source.rows, source.labelled, source.weighted) == (14, True, True)
    pieces = source.pieces(4)
    assert [(piece.first, piece.rows) for piece in pieces] == [(0, 4), (4, 4), (8, 4), (12, 2)]
    x, y, weight = next(pieces[3].read(True))
    np.testing.assert_array_equal(x, X[12:])
    np.testing.assert_array_equal(y, Y[12:])
    np.testing.assert_array_equal(weight, np.linspace(0, 1, 14)[12:])
    assert next(pieces[3].read(False))[1:] == (None, None)
    assert source.labels().tolist() == [0, 1, 2]
    assert not Arrays(Elsewhere(X)).labelled
    with pytest.raises(ValueError, match="expected y to have 14 rows as x, got shape \\(13,\\)"):
        Arrays(X, Y[1:])


def test_a_map_can_be_fetched_beforehand(mapped):
    for piece in Arrays(mapped, Y).pieces(4):
        assert piece.prepare() is None
        np.testing.assert_array_equal(next(piece.read(True))[0], X[piece.first : piece.first + piece.rows])
    assert Arrays(Elsewhere(X)).pieces(4)[0].prepare is None


def test_whole_chunks_are_read():
    array = Elsewhere(X)
    array.chunks = (3, 5)
    assert [piece.rows for piece in Arrays(array).pieces(4)] == [6, 6, 2]
    assert [piece.rows for piece in Arrays(array).pieces(1)] == [3, 3, 3, 3, 2]
    array.chunks = ((7, 7), (5,))  # as dask has them
    assert [piece.rows for piece in Arrays(array).pieces(4)] == [7, 7]


@pytest.mark.parametrize("library", ["h5py", "zarr"])
def test_datasets(tmp_path, library):
    module = pytest.importorskip(library)
    if library == "h5py":
        with module.File(tmp_path / "data.h5", "w") as file:
            file.create_dataset("x", data=X, chunks=(3, 5))
        array = module.File(tmp_path / "data.h5")["x"]
    else:
        array = module.create_array(tmp_path / "data.zarr", shape=X.shape, chunks=(3, 5), dtype="f4")
        array[:] = X
    assert stays(array)
    source = Arrays(array, Y)
    assert [piece.rows for piece in source.pieces(4)] == [6, 6, 2]
    np.testing.assert_array_equal(np.concatenate([x for x, _, _ in source.blocks(4)]), X)
    assert library == "zarr" or "data.h5/x" in source.pieces(4)[0].place


def test_fingerprints_tell_data_apart(tmp_path, mapped):
    first = Arrays(mapped, Y).fingerprint()
    assert first == Arrays(Elsewhere(X.copy()), Y.copy()).fingerprint()
    other = X.copy()
    other[13, 4] += 1
    for x, y in ((X[:-1], Y[:-1]), (other, Y), (X.astype(np.float64), Y), (X, Y + 1), (X, None)):
        assert Arrays(x, y).fingerprint() != first


def test_batches_of_ones_own():
    batches = [(X[:3], Y[:3]), (X[3:9], Y[3:9], np.ones(6))]
    for made in (batches, lambda: iter(batches), lambda: batches):
        source = Stream(made)
        for _ in range(2):
            blocks = list(source.blocks())
            assert [len(x) for x, _, _ in blocks] == [3, 6]
            assert blocks[0][2] is None
            assert blocks[1][2] is batches[1][2]
    assert [len(block[0]) for block in Stream(batches, rows=5).blocks()] == [3, 2]
    assert [len(block[0]) for block in Stream(batches, rows=3).blocks()] == [3]
    assert len(next(Stream([X]).blocks(labelled=False))[0]) == 14


def test_what_are_no_batches():
    with pytest.raises(
        TypeError, match="expected batch 2 to be \\(x, y\\) or \\(x, y, sample_weight\\), got 1 of them"
    ):
        list(Stream([(X, Y), (X,)]).blocks())
    with pytest.raises(TypeError, match=r"expected batch 1 to be .*, got an array"):
        list(Stream([X]).blocks())
    with pytest.raises(TypeError, match="expected the function to return an iterator of batches, got int"):
        list(Stream(lambda: 3).blocks())
    with pytest.raises(TypeError, match=r"fit: expected data, got the path 'x.parquet'; pass fastact.data.Parquet"):
        found("fit", "x.parquet")
    for wrong in (3, iter([(X, Y)]), ((X, Y) for _ in range(2))):
        with pytest.raises(TypeError, match="Stream: expected a function that returns an iterator"):
            Stream(wrong)


def test_what_is_a_source(mapped):
    class Loader:
        def __iter__(self):
            return iter([(X, Y)])

    for x in (mapped, Elsewhere(X), Loader(), Stream(Loader()), lambda: iter(()), [(X, Y)], {1: 2}.items()):
        assert isinstance(found("fit", x), Source)
    pandas = pytest.importorskip("pandas")
    for x in (X, X.tolist(), tuple(X), pandas.DataFrame(X), np.float64(3), 7, None, [], [(1, 2), (3, 4)]):
        assert found("fit", x, Y) is None
        assert found("predict", x, labelled=False) is None
    assert found("fit", mapped, Y).labelled
    with pytest.raises(ValueError, match="fit: expected y to have 14 rows as x"):
        found("fit", mapped, Y[1:])
    with pytest.raises(TypeError, match="fit: expected y to come with the batches"):
        found("fit", Loader(), Y)


@pytest.mark.parametrize("make", [lambda: ((X, Y) for _ in range(3)), lambda: iter([(X, Y)]), lambda: zip([X], [Y])])  # noqa: B905
def test_what_can_be_gone_through_once(make):
    net = fa.Sequential(fa.Dense(5, 3), rng=0)
    with pytest.raises(
        TypeError, match=r"fit: .* is used up by the first; pass the function that makes it: fit\(net, "
    ):
        fa.fit(net, make())
    assert fa.evaluate(net, make()) == pytest.approx(fa.evaluate(net, X, Y))
    assert len(fa.predict(net, make())) in (14, 42)


def test_what_sources_say_of_themselves(mapped):
    assert repr(Arrays(Elsewhere(X), Y)) == "Arrays(x (14, 5) float32, 14 rows, targets)"
    assert repr(Stream([(X, Y)])) == "Stream(batches, rows of unknown number, targets)"


def test_labels():
    assert Stream([(X[:2], ["b", "a"]), (X[:1], ["c"])]).labels().tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="expected at least one row"):
        Stream([]).labels()


def test_sampled_rows_of_large_arrays(monkeypatch):
    monkeypatch.setattr(sources, "SAMPLED", 2)
    array = Elsewhere(X)
    Arrays(array).fingerprint()
    assert [part.start for part in array.asked] == [0, 7]
