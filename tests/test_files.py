"""Files: named arrays and texts that come back, writing whole or not at all, and content that nobody can trust."""

import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import support

from fastact import files

ENDINGS = (".safetensors", ".npz")
RNG = np.random.default_rng(0)
TEXTS = {"format": "some", "ä\n\0\"'": "\U0001f600 } {", "empty": "", "json": '{"a": [1, 2]}'}


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path):
    return tmp_path / f"file{request.param}"


@pytest.fixture
def fast(monkeypatch):
    """Without waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def read(path):
    with Path(path).open("rb") as file:
        return files.read(file)


def refused(folder, content, what=""):
    """Content that is no file of ours: one of the errors that ``distrusted`` makes a ValueError of."""
    file = folder / "evil"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=what or None) as refusal, files.distrusted("load", file, "is not whole"):
        read(file)
    assert str(refusal.value).startswith("load: evil is not whole: ")
    assert len(str(refusal.value)) < 600


# ----------------------------------------------------------------------------------------------------------- round trip

ARRAYS = {
    "float32": RNG.normal(size=(3, 4)).astype(np.float32),
    "float64": RNG.normal(size=(5, 2, 3)),
    "big-endian": RNG.normal(size=(2, 3)).astype(">f8"),
    "big-endian 32": RNG.normal(size=7).astype(">f4"),
    "fortran": np.asfortranarray(RNG.normal(size=(3, 5))),
    "transposed": RNG.normal(size=(4, 3, 2)).transpose(1, 2, 0),
    "strided": RNG.normal(size=(8, 6))[::2, ::-3],
    "misaligned": np.frombuffer(b"x" + RNG.normal(size=5).tobytes(), np.float64, offset=1),
    "0-d": np.array(2.5, np.float32),
    "empty": np.zeros(0),
    "empty too": np.zeros((0, 3, 0), np.float32),
    "special": np.array([np.nan, -0.0, np.inf, -np.inf, 5e-324, 1.7e308]),
    "nan": np.array([0x7FF8000000001234, 0xFFF0000000000001], np.uint64).view(np.float64),  # payloads and signs
    "one of each": np.ones((1,) * 20),
    "file": np.arange(3.0),  # arguments of numpy.savez
    "allow_pickle": np.arange(4.0),
    "a/../ö \U0001f600.npy": np.arange(5.0),
    "": np.arange(2.0),
}


def assert_come_back(arrays, back):
    assert list(arrays) == list(back)
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype.newbyteorder("<")
        assert back[name].tobytes() == array.astype(array.dtype.newbyteorder("<"), order="C").tobytes(), name


def test_arrays_and_texts_come_back(path):
    files.write(path, TEXTS, ARRAYS)
    texts, back = read(path)
    assert texts.pop("checksum") == files.digest(TEXTS, back)
    assert texts == TEXTS
    assert_come_back(ARRAYS, back)
    files.write(path, {}, {})  # over the old one
    texts, back = read(path)
    assert (list(texts), back) == (["checksum"], {})


def test_large_arrays_come_back(path):
    """Longer than any buffer on the way."""
    arrays = {"a": np.arange(5_000_001, dtype=np.float32), "b": np.arange(3_000_000.0).reshape(-1, 3).T}
    files.write(path, {"text": "x" * 3_000_000}, arrays)
    texts, back = read(path)
    assert texts["text"] == "x" * 3_000_000
    assert_come_back(arrays, back)


def test_other_tools_read_what_is_written(tmp_path):
    plain = {name: array for name, array in ARRAYS.items() if name and "/" not in name}
    files.write(tmp_path / "a.npz", TEXTS, plain)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as content:
        assert sorted(content.files) == sorted([*plain, "header"])
        for name, array in plain.items():
            np.testing.assert_array_equal(content[name], array)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
    files.write(tmp_path / "a.safetensors", TEXTS, ARRAYS)
    content = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert sorted(content) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(content[name], array)


def test_files_of_other_tools(tmp_path):
    arrays = {"a": RNG.normal(size=(2, 3)), "b": np.zeros((0, 2), np.float32), "c": np.array(1.0)}
    safetensors.numpy.save_file(arrays, tmp_path / "a", metadata={"x": "y"})
    texts, back = read(tmp_path / "a")
    assert texts == {"x": "y"}
    assert_come_back(arrays, dict(sorted(back.items())))
    header = np.frombuffer(b'{"x": "y"}', np.uint8)
    with (tmp_path / "b").open("wb") as file:
        np.savez(file, header=header, **arrays)
    texts, back = read(tmp_path / "b")
    assert texts == {"x": "y"}
    assert_come_back(arrays, back)


def test_the_digest_is_of_everything():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones(2, np.float32)}
    whole = files.digest({"x": "y"}, arrays)
    assert whole == files.digest({"x": "y"}, dict(reversed(arrays.items())))
    assert whole == files.digest({"x": "y"}, {**arrays, "a": np.asfortranarray(arrays["a"])})
    others = [
        ({"x": "z"}, arrays), ({"z": "y"}, arrays), ({}, arrays), ({"x": "y"}, {"a": arrays["a"]}),
        ({"x": "y"}, {**arrays, "a": arrays["a"].reshape(3, 2)}),
        ({"x": "y"}, {**arrays, "b": np.array([1, 1 + 2**-23], np.float32)}),
        ({"x": "y"}, {**arrays, "b": np.frombuffer(arrays["b"].tobytes(), np.float64)}),
        ({"x": "y"}, {"c": arrays["a"], "b": arrays["b"]}), ({"x": "y"}, {"a": arrays["b"], "b": arrays["a"]}),
    ]  # fmt: skip
    assert whole not in {files.digest(*other) for other in others}


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.uint8, object, "U3", [("a", "f4")], np.complex64, bool])
def test_other_dtypes_are_not_written(path, dtype):
    with pytest.raises(ValueError, match=r"save: expected arrays of float32 or float64, got .*b'"):
        files.write(path, {}, {"a": np.ones(3), "b": np.zeros(3, dtype)})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["header", "__metadata__", "a\0b", "a\nb", "\ud800"])
def test_names_that_cannot_be_kept(path, name):
    with pytest.raises(ValueError, match="save: expected printable names but header and __metadata__, got"):
        files.write(path, {}, {name: np.ones(3)})
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("text", ["x", "\\", "ö"])
def test_headers_longer_than_can_be_read(path, text):
    """What is written can be read again: the limit is of the header as it stands in the file."""
    files.write(path, {}, {"a": np.ones(3)})
    before = path.read_bytes()
    length = len(json.dumps(text, ensure_ascii=False).encode()) - 2
    with pytest.raises(
        ValueError, match="save: expected at most 16777216 bytes of metadata, history and names, got 16"
    ):
        files.write(path, {"text": text * (files.HEADER_LIMIT // length)}, {"a": np.ones(3)})
    assert (list(path.parent.iterdir()), path.read_bytes()) == ([path], before)
    files.write(path, {"text": text * (files.HEADER_LIMIT // length - 300)}, {"a": np.ones(3)})
    assert read(path)[0]["text"] == text * (files.HEADER_LIMIT // length - 300)


class FailError(Exception):
    pass


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), FailError(), MemoryError()]
)
@pytest.mark.parametrize("place", ["start", "middle", "flush", "fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch, place, error):
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def fail(*_):
        raise error

    if place in ("fsync", "replace"):
        monkeypatch.setattr(os, place, fail)
    with pytest.raises(type(error)), files.atomically(file) as target:  # noqa: PT012
        if place == "start":
            raise error
        target.write(b"new" * 100_000)
        if place == "flush":
            monkeypatch.setattr(os, "fsync", fail)
        if place == "middle":
            raise error
    monkeypatch.undo()
    assert (list(tmp_path.iterdir()), file.read_bytes()) == ([file], b"old")


def test_nothing_is_seen_before_it_is_whole(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with files.atomically(file) as target:
        target.write(b"ne")
        target.flush()
        assert file.read_bytes() == b"old"
        target.write(b"w")
    assert (list(tmp_path.iterdir()), file.read_bytes()) == ([file], b"new")
    files.write_atomically(file, b"newer")
    assert (list(tmp_path.iterdir()), file.read_bytes()) == ([file], b"newer")


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(os.fstat(handle).st_size), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names)))
    with files.atomically(tmp_path / "file") as target:
        target.write(b"x" * 1000)
    assert done[:2] == [1000, "replace"]
    assert len(done) == (3 if os.name == "posix" else 2)  # and the folder


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    before = os.umask(0o027)
    try:
        files.write_atomically(link, b"x")
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert (file.stat().st_mode & 0o777, file.read_bytes()) == (0o640, b"x")


def test_paths(tmp_path):
    assert files.any_path("f", "a/b.x") == Path("a/b.x")
    for wrong in (None, 3, ["a"]):
        with pytest.raises(TypeError, match="f: expected a path, got"):
            files.any_path("f", wrong)
    for name in ("a", "a.pt", "a.npz.bak", ".npz", ".safetensors", "a.NPZ"):
        with pytest.raises(ValueError, match=r"f: expected a file name that ends in \.safetensors or \.npz, got"):
            files.checked_path("f", name)
    for ending in ENDINGS:
        assert files.checked_path("f", f"a{ending}").name == f"a{ending}"
    files.checked_place("f", tmp_path / "a")
    (tmp_path / "file").write_bytes(b"")
    for folder in ("none", "file"):
        with pytest.raises(FileNotFoundError, match=rf"f: there is no folder '.*{folder}' to write 'a' to"):
            files.checked_place("f", tmp_path / folder / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; pass the path of a file"):
        files.checked_place("f", tmp_path / "folder")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


# -------------------------------------------------------------------------------------------------------------- reading


def small(path):
    files.write(path, {"x": "y"}, {"a": np.arange(6.0).reshape(2, 3), "b": np.float32([1, 2])})
    return path.read_bytes()


def test_every_truncation_is_refused(path):
    content = small(path)
    for length in range(len(content)):
        refused(path.parent, content[:length])


def test_every_changed_byte_is_noticed(path):
    """Refused, or another content than the checksum's, or a byte that says nothing (the date in a zip)."""
    content = small(path)
    silent = []
    for place in range(len(content)):
        for mask in (1, 0x80, 0xFF):
            changed = bytearray(content)
            changed[place] ^= mask
            path.write_bytes(changed)
            try:
                texts, arrays = read(path)
            except files.DAMAGE:
                continue
            checksum = texts.pop("checksum", None)
            if checksum == files.digest(texts, arrays):
                silent.append(place)
                assert texts == {"x": "y"}
                assert list(arrays) == ["a", "b"]
                np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    assert len(silent) < (1 if path.suffix == ".safetensors" else len(content))  # of three times as many


def test_nothing_may_follow(path):
    for more in (b"\0", b"\0" * 30, b"\0" * 70_000):
        refused(path.parent, small(path) + more)


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path):
    class Shrinking(io.BytesIO):
        def read(self, length=-1):
            return super().read(length)[: 100 if length > 1000 else None]

    for ending in ENDINGS:
        path = tmp_path / f"file{ending}"
        files.write(path, {}, {"a": np.ones(1000)})
        with pytest.raises(ValueError, match="became shorter while it was read"):
            files.read(Shrinking(path.read_bytes()))


def entry(shape, end, begin=0, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


SIZES = [1 << 31, 1 << 32, 1 << 40, 1 << 50, 1 << 61, (1 << 62) - 4, 1 << 62, 1 << 63, 1 << 64, 10**30]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("size", SIZES)
def test_sizes_that_lie_in_a_safetensors_header(tmp_path, size):
    lies = [
        {"a": entry([size // 4], size)}, {"a": entry([size], 4)}, {"a": entry([2], 8, size)},
        {"a": entry([1], size + 4, size)}, {"a": entry([size, size, 0], 0)}, {"a": entry([size] * 32, 4)},
        {"a": entry([1], 4), "b": entry([size // 4], size + 4, 4)}, {"a": entry([1], 4, -size)},
        {"a": entry([-size], 4)}, {"a": entry([float(size)], 4)}, {"a": entry([size, 0], 0, 0)} if size > 2**60 else {},
    ]  # fmt: skip
    for lie in lies:
        if lie:
            refused(tmp_path, safetensors_file(lie, b"\0" * 4), "'[ab]'")
    if size < 1 << 64:
        refused(tmp_path, safetensors_file({}, length=size), "is cut off")


@pytest.fixture
def bounded():
    """No more memory than the files are long, whatever they say."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000


@pytest.mark.parametrize(
    ("header", "data", "what"),
    [
        ({"a": entry([1], 4), "b": entry([1], 4)}, 4, "'b' claims the bytes"),
        ({"a": entry([2], 8), "b": entry([2], 12, 4)}, 12, "'b' claims the bytes"),
        ({"a": entry([1], 4), "b": entry([1], 12, 8)}, 12, "should have"),
        ({"a": entry([1], 8, 4)}, 8, "should have"),
        ({"a": entry([1], 4)}, 5, "should have"),
        ({"a": entry([2], 4)}, 4, "'a' claims the shape"),
        ({"a": entry([1], 4, dtype="F64")}, 4, "'a' claims the shape"),
        ({"a": entry([1] * 33, 4)}, 4, "'a' claims the shape"),
        ({"a": entry([2.0], 8)}, 8, "'a' holds something else than whole numbers"),
        ({"a": entry([True], 4)}, 4, "'a' holds something else than whole numbers"),
        ({"a": entry(["1"], 4)}, 4, "'a' holds something else than whole numbers"),
        ({"a": entry("1", 4)}, 4, "'a' is not a list"),
        ({"a": {**entry([1], 4), "data_offsets": [0, 4, 4]}}, 4, "'a' is not a list as long"),
        ({"a": {**entry([1], 4), "data_offsets": {}}}, 4, "'a' is not a list"),
        ({"a": {**entry([1], 4), "more": 1}}, 4, "'a' is not described as an array"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4, "'a' is not described as an array"),
        ({"a": 7}, 4, "'a' is not described as an array"),
        *(({"a": entry([1], 4, dtype=d)}, 4, "'a' is not an array") for d in ("F16", "I32", "f32", "object", None, [])),
        ({"__metadata__": {"format": 3}}, 0, "not a list of texts"),
        ({"__metadata__": ["format"]}, 0, "not a list of texts"),
        ([], 0, "not a JSON object"),
        (b"null", 0, "not a JSON object"),
        (b'{"a": %s, "a": %s}' % ((json.dumps(entry([1], 4)).encode(),) * 2), 4, "stands twice"),
        (b'{"__metadata__": {"x": "a", "x": "b"}}', 0, "stands twice"),
        (b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', 4, "stands twice"),
        (b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', 4, "NaN stands"),
        (b'{"a": {"dtype": "F32", "shape": [-Infinity], "data_offsets": [0, 4]}}', 4, "-Infinity stands"),
        (b'{"a": {"dtype": "F32", "shape": [1e400], "data_offsets": [0, 4]}}', 4, "whole numbers"),
        (b"[" * 100_000, 0, ""),
        (b'{"a":' * 50_000, 0, ""),
        (b"1" * 10_000, 0, ""),
        (b"\xff\xfe{}", 0, ""),
        (b"{", 0, ""),
    ],
)
def test_safetensors_headers_that_lie(tmp_path, header, data, what):
    refused(tmp_path, safetensors_file(header, b"\0" * data), what)


class Bomb:
    """Unpickling it makes a folder."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def described(text, data=b""):
    text = text.encode() + b" " * 20 + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(*members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


TEXT = ("header.npy", npy(np.frombuffer(b"{}", np.uint8)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_npz_files_meant_to_harm(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = npy(np.array([Bomb()], object), allow_pickle=True)
    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"
    cases = [
        ([("header.npy", pickled)], "'header' is an array of another type"),
        ([TEXT, ("a.npy", pickled)], "'a' is an array of another type"),
        ([TEXT, ("a.npy", pickle.dumps(Bomb()))], "'a' is not stored as"),
        ([TEXT, ("a.npy", b"")], "'a' is not stored as"),
        ([TEXT, TEXT], "arrays of different names"),
        ([TEXT, ("a.npy", npy(np.ones(2))), ("a.npy", npy(np.ones(2)))], "arrays of different names"),
        ([TEXT, ("a", npy(np.ones(2)))], "something else than arrays"),
        ([TEXT, ("a/", b"")], "something else than arrays"),
        ([("../../header.npy", TEXT[1])], "no header of ours|'../../header' is not an array"),
        ([("a.npy", npy(np.ones(2)))], "no header of ours"),
        ([("header.npy", npy(np.zeros(3)))], "no header of ours"),
        ([("header.npy", npy(np.zeros((2, 2), np.uint8)))], "no header of ours"),
        ([("header.npy", npy(np.frombuffer(b"[]", np.uint8)))], "not a list of texts"),
        ([("header.npy", npy(np.frombuffer(b'{"a": 1}', np.uint8)))], "not a list of texts"),
        ([("header.npy", npy(np.frombuffer(b'{"a": "1", "a": "2"}', np.uint8)))], "stands twice"),
        ([TEXT, ("a.npy", npy(np.zeros(3, np.uint8)))], "'a' is not an array of float"),
        *(([TEXT, ("a.npy", npy(np.zeros(3, d)))], "'a' is an array of another") for d in ("f2", "i8", "U1", ">f8")),
        ([TEXT, ("a.npy", npy(np.zeros(3, [("a", "f4")])))], "'a' is an array of another type"),
        ([TEXT, ("a.npy", npy(np.asfortranarray(np.zeros((2, 3)))))], "'a' is an array .* in another order"),
        ([TEXT, ("a.npy", npy(np.zeros(3), version=(2, 0)))], "'a' is not stored as"),
        ([TEXT, ("a.npy", described(shape % "1", b"\0" * 3))], "'a' claims the shape"),
        ([TEXT, ("a.npy", described(shape % "1", b"\0" * 5))], "'a' claims the shape"),
        ([TEXT, ("a.npy", described(shape % ("1, " * 33), b"\0" * 4))], "'a' claims the shape"),
        ([TEXT, ("a.npy", described(shape % "-1", b"\0" * 4))], "'a' is an array of another"),
        ([TEXT, ("a.npy", described(shape % ("(" * 5000)))], "'a' is an array of another"),
        ([TEXT, ("a.npy", described(shape % ("1, " * 20_000)))], "'a' claims the shape"),
        ([TEXT, ("a.npy", described("__import__('os').mkdir('exploded')"))], "'a' is an array of another"),
        ([], ""),
    ]
    for members, what in cases:
        refused(tmp_path, npz(*members), what)
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        refused(tmp_path, npz(TEXT, ("a.npy", npy(np.zeros(99))), compression=compression), "'header' is compressed")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("size", [s for s in SIZES if s < 10**18])
def test_shapes_that_lie_in_an_npz(tmp_path, size):
    for shape in (f"{size},", f"{size}, {size}", f"{size}, {size}, 0", f"{size}, " * 20):
        lie = described(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}")
        refused(tmp_path, npz(TEXT, ("a.npy", lie)), "'a' claims the shape")


def zip64_file(size=None, stored=None, offset=None, directory=None, start=None):
    """An .npz of one array whose zip64 fields, which are there for all of it, say what they are told to."""
    content = npz(TEXT, ("a.npy", npy(np.ones(2))))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        member, begin = archive.getinfo("a.npy"), archive.start_dir
    entries, end = bytearray(content[begin:-22]), content[-22:]
    place = entries.rindex(b"PK\x01\x02")
    fields = [member.file_size if size is None else size, member.compress_size if stored is None else stored]
    extra = struct.pack("<2H3Q", 1, 24, *fields, member.header_offset if offset is None else offset)
    struct.pack_into("<2L", entries, place + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", entries, place + 30, len(extra))
    struct.pack_into("<L", entries, place + 42, 0xFFFFFFFF)
    entries += extra
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2,
        len(entries) if directory is None else directory, begin if start is None else start,
    )  # fmt: skip
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, begin + len(entries), 1)
    return content[:begin] + bytes(entries) + record + locator + end[:12] + b"\xff" * 8 + end[20:]


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("size", [s for s in SIZES if s < 2**64])
def test_zip64_fields_that_lie(tmp_path, size):
    (tmp_path / "fine").write_bytes(zip64_file())
    np.testing.assert_array_equal(read(tmp_path / "fine")[1]["a"], [1, 1])
    refused(tmp_path, zip64_file(size=size, stored=size), "'a' claims the bytes")
    refused(tmp_path, zip64_file(size=size), f"'a' claims {size} bytes")
    refused(tmp_path, zip64_file(stored=size), f"stored in {size}")
    refused(tmp_path, zip64_file(offset=size), "'a' claims the bytes")
    refused(tmp_path, zip64_file(directory=size))
    refused(tmp_path, zip64_file(start=size))
    refused(tmp_path, zip64_file(directory=size, start=2**64 - size))
    refused(tmp_path, zip64_file(directory=size, start=0))


@pytest.mark.usefixtures("bounded")
def test_fields_of_32_bits_that_lie(tmp_path):
    content = npz(TEXT, ("a.npy", npy(np.ones(2))))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        start, offset = archive.start_dir, archive.getinfo("a.npy").header_offset
    entry_ = content.rindex(b"PK\x01\x02")
    for size in (0, 1, 2**16, 2**31 - 1, 2**32 - 2):
        for places in ((20, 24), (20,), (24,), (42,)):
            lie = bytearray(content)
            for place in places:
                struct.pack_into("<L", lie, entry_ + place, size)
            refused(tmp_path, bytes(lie), "'a'")
        for place, form in ((12, "<L"), (16, "<L")):  # the directory's size and place, from the end
            lie = bytearray(content)
            struct.pack_into(form, lie, len(content) - 22 + place, size)
            refused(tmp_path, bytes(lie))
        for place in (26, 28):  # lengths in the array's own header
            lie = bytearray(content)
            struct.pack_into("<H", lie, offset + place, min(size, 2**16 - 1))
            if lie != content:
                refused(tmp_path, bytes(lie), "'a'")
    # One stored piece of the file that is named many times over.
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        count = len(archive.infolist())
    one = content[entry_:-22]
    names = [one.replace(b"a.npy", b"%c.npy" % letter) for letter in b"bcdefgh"]
    directory = content[start:-22] + b"".join(names)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, *[count + len(names)] * 2, len(directory), start, 0)
    refused(tmp_path, content[:start] + directory + end, "'b' claims the bytes")


def test_a_directory_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "HEADER_LIMIT", 4000)
    many = {f"{i}": np.ones(1) for i in range(100)}
    files.write(tmp_path / "few.npz", {}, dict(list(many.items())[:30]))
    assert len(read(tmp_path / "few.npz")[1]) == 30
    refused(
        tmp_path, npz(TEXT, *((f"{i}.npy", npy(np.ones(1))) for i in range(100))), "its header claims .* at most 4000"
    )
    for ending in ENDINGS:
        with pytest.raises(ValueError, match="save: expected at most 4000 bytes"):
            files.write(tmp_path / f"many{ending}", {}, many)
    long = npy(np.frombuffer(json.dumps({"a": "x" * 5000}).encode(), np.uint8))
    refused(tmp_path, npz(("header.npy", long)), "'header' claims .* at most 4000")
    refused(tmp_path, safetensors_file({"__metadata__": {"a": "x" * 5000}}), "is cut off")


def test_what_is_read_is_bits(tmp_path):
    """A wrong CRC is found though nobody has compared a checksum yet."""
    content = bytearray(npz(TEXT, ("a.npy", npy(np.ones(2)))))
    content[content.rindex(np.ones(2).tobytes())] ^= 1
    refused(tmp_path, bytes(content), "'a': Bad CRC-32")


@pytest.mark.usefixtures("fast")
def test_fuzz(path):
    """Changed, cut, doubled and exchanged pieces: an error of the list, or content; never more memory than the file."""
    original = small(path)
    rng = np.random.default_rng(5)
    refusals = 0
    tracemalloc.start()
    for _ in range(3000):
        content = bytearray(original)
        for _ in range(rng.integers(1, 4)):
            place, other = rng.integers(0, len(content), 2)
            length = int(rng.choice([1, 2, 4, 8, 30]))
            piece = [
                rng.bytes(length), b"\xff" * length, b"\0" * length, bytes(content[other : other + length]),
                struct.pack("<Q", int(rng.choice(SIZES[:-2])) % 2**64), b"9" * length, b"",
            ][rng.integers(7)]  # fmt: skip
            content[place : place + len(piece) if rng.random() < 0.8 else other] = piece
        try:
            files.read(io.BytesIO(content))
        except files.DAMAGE:
            refusals += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000
    assert refusals > 1000


def test_bits_of_what_was_written(path):
    """Nothing is rounded on the way: every bit pattern of a float32 comes back, by sample."""
    patterns = np.random.default_rng(1).integers(0, 2**32, 10_000, np.uint32).view(np.float32)
    files.write(path, {}, {"a": patterns})
    assert read(path)[1]["a"].tobytes() == patterns.tobytes()
    support.assert_same_bits(read(path)[1]["a"], patterns)
