"""Files: named arrays and texts to bytes and back. Written whole or not at all, read without trust.

Two formats, .safetensors and .npz, hold the same: arrays of float32 and float64 by name, and a header of texts. What a
model file means is decided in ``persistence``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import checks
from .dtypes import FLOATS

ENDINGS = (".safetensors", ".npz")
HEADER_LIMIT = 16 << 20  # bytes of header: JSON may take some thirty times its length once it is read
HEADER = "header"  # the texts' name among the arrays of an .npz
RESERVED = (HEADER, "__metadata__")
DTYPES: dict[str, np.dtype] = {row.safetensors: row.dtype.newbyteorder("<") for row in FLOATS}
_SAFETENSORS = {row.name: row.safetensors for row in FLOATS}

Arrays = dict[str, np.ndarray]

#: What a file can be found to be wrong by, while it is read and interpreted. Not MemoryError: sizes are compared first.
DAMAGE = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, NotImplementedError,
    EOFError, zipfile.BadZipFile, zlib.error, struct.error, OSError,
)  # fmt: skip


@contextmanager
def distrusted(function: str, path: Path, verdict: str) -> Iterator[None]:
    """Whatever the content of a file brings about in here becomes a ValueError that names function and file."""
    try:
        yield
    except DAMAGE as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        said = said.removeprefix(f"{function}: ")[:500] or type(error).__name__
        raise ValueError(f"{function}: {path.name} {verdict}: {said}") from error


def _beside(path: Path) -> Path:
    """A path that nothing has in the folder of the path, for what is to take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its place at the end, whole and on the disk, or never does."""
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every system can open or sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: to a temporary file beside it, synced, then renamed."""
    with atomically(path) as file:
        file.write(content)


def any_path(function: str, path: Any) -> Path:
    """A path of any ending."""
    try:
        return Path(path)
    except TypeError:
        raise TypeError(f"{function}: expected a path, got {checks.describe(path)}") from None


def checked_path(function: str, path: Any) -> Path:
    """A path that ends as one of our formats does."""
    file = any_path(function, path)
    if file.suffix not in ENDINGS:
        raise ValueError(f"{function}: expected a file name that ends in {' or '.join(ENDINGS)}, got {file.name!r}")
    return file


def checked_place(function: str, file: Path) -> None:
    """The file can be written: it is no folder, and the one it shall lie in is there and takes files."""
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f"{function}: there is no folder {str(file.parent)!r} to write {file.name!r} to; make it first"
        )
    try:
        folder = file.is_dir()
        temporary = _beside(Path(os.path.realpath(file)))
        try:
            temporary.open("xb").close()
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(f"{function}: cannot write {str(file)!r} ({error.strerror}); pass another path") from error
    if folder:
        raise IsADirectoryError(f"{function}: {str(file)!r} is a folder; pass the path of a file")


def digest(texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all names, texts, shapes and numbers, in an order of their own."""
    names = sorted(arrays)
    described = [[name, arrays[name].dtype.str, arrays[name].shape] for name in names]
    hashed = hashlib.sha256(json.dumps([sorted(texts.items()), described]).encode())
    for name in names:
        hashed.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def write(path: Path, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays of float32 and float64, and texts beside them, with a checksum of all, atomically.

    The arrays go to the file from where they lie. ValueError for what ``read`` would not take: longer texts, arrays of
    another dtype, names that cannot be told apart.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _SAFETENSORS:
            raise ValueError(f"save: expected arrays of float32 or float64, got {array.dtype} for {name!r}")
        if name in RESERVED or not name.isprintable():
            raise ValueError(f"save: expected printable names but {' and '.join(RESERVED)}, got {name[:80]!r}")
    little = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    texts = {**texts, "checksum": digest(texts, little)}
    with atomically(path) as file:
        (_write_npz if path.suffix == ".npz" else _write_safetensors)(file, texts, little)


def _header(content: Mapping[str, Any]) -> bytes:
    encoded = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    _limited(len(encoded))
    return encoded


def _limited(length: int) -> None:
    if length > HEADER_LIMIT:
        raise ValueError(f"save: expected at most {HEADER_LIMIT} bytes of metadata, history and names, got {length}")


def _write_safetensors(file: BinaryIO, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """https://huggingface.co/docs/safetensors: length of the header, header, arrays one after another."""
    header: dict[str, Any] = {"__metadata__": texts}
    place = 0
    for name, array in arrays.items():
        shape, offsets = list(array.shape), [place, place + array.nbytes]
        header[name] = {"dtype": _SAFETENSORS[array.dtype.name], "shape": shape, "data_offsets": offsets}
        place += array.nbytes
    encoded = _header(header)
    encoded += b" " * (-len(encoded) % 8)
    file.write(struct.pack("<Q", len(encoded)))
    file.write(encoded)
    for array in arrays.values():
        file.write(array.reshape(-1).view(np.uint8).data)


def _write_npz(file: BinaryIO, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """As ``numpy.savez`` does, which takes no array that is called as one of its arguments is."""
    header = np.frombuffer(_header(texts), np.uint8)
    _limited(sum(78 + len(f"{name}.npy".encode()) for name in arrays))  # the directory at the end
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in {HEADER: header, **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


class _Untrusted:
    """An open file of which nothing is believed: what it claims is compared with its size before memory is taken.

    Reads as a file does, so that ``zipfile`` is held to it too.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.size = file, file.seek(0, os.SEEK_END)
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self.expect("its header", HEADER_LIMIT)
        self.seek(0)

    def expect(self, what: str, limit: int | None = None) -> None:
        """What the next reads are of, and the most bytes that one of them may take."""
        self.what, self.limit = what, self.size if limit is None else limit

    def check(self, places: Sequence[tuple[int, int, str]], place: int = 0) -> None:
        """Compare claimed (begin, end, what) with the file: within it, beginning at place, and no byte twice."""
        for begin, end, what in sorted(places):
            if not place <= begin <= end <= self.size:
                raise ValueError(f"{what} claims the bytes {begin} to {end}, of {place} to {self.size} that are left")
            place = end

    def read(self, length: int = -1) -> bytes:
        """That many bytes, or all that are left."""
        place = self.tell()
        length = self.size - place if length < 0 else length
        self.check([(place, place + length, self.what)])
        if length > self.limit:
            raise ValueError(f"{self.what} claims {length} bytes; at most {self.limit} are read")
        content = self.file.read(length)
        if len(content) != length:
            raise ValueError("it became shorter while it was read")
        return content


def read(file: BinaryIO) -> tuple[dict[str, str], Arrays]:
    """Texts and arrays of an open file, of which nothing is believed; a size is compared with the file's own before
    memory is taken for it. Raises one of ``DAMAGE`` for what ``write`` does not write; the checksum is not looked at.
    """
    content = _Untrusted(file)
    start = content.read(min(content.size, 8))
    zipped = start.startswith(b"PK\x03\x04")
    texts, arrays = _read_npz(content) if zipped else _read_safetensors(content, int.from_bytes(start, "little"))
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("its header is not a list of texts")
    return texts, arrays


def to_json(value: Any, constants: bool = False) -> str:
    """JSON of plain values, and of NumPy's numbers and arrays as such; NaN and infinity only where asked for."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.floating):
            return float(value)
        if isinstance(value, (np.generic, np.ndarray)):
            return value.tolist()
        raise TypeError(f"expected numbers, texts, lists and dictionaries of these, got {checks.describe(value)}")

    return json.dumps(value, default=plain, allow_nan=constants)


def parse_json(text: str | bytes, constants: bool = False) -> Any:
    """JSON without duplicate names, and without NaN and infinity unless asked for."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice in its header")
        return found

    def refuse(name: str) -> float:
        raise ValueError(f"{name} stands in its header")

    return json.loads(text, object_pairs_hook=unique, parse_constant=None if constants else refuse)


def _read_safetensors(file: _Untrusted, length: int) -> tuple[dict[str, str], Arrays]:
    """https://huggingface.co/docs/safetensors: length of the header, header, arrays one after another."""
    if not 2 <= length <= min(file.size - 8, HEADER_LIMIT):
        raise ValueError("it does not start as a safetensors or npz file does, or is cut off")
    start = 8 + length
    entries = parse_json(file.read(length).decode())
    if not isinstance(entries, dict):
        raise ValueError("its header is not a JSON object")
    texts = entries.pop("__metadata__", {})
    found: list[tuple[int, int, str, np.dtype, tuple[int, ...]]] = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"{name!r} is not described as an array")
        dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
        if dtype is None:
            raise ValueError(f"{name!r} is not an array of float32 or float64")
        shape, (begin, end) = _whole_numbers(name, entry["shape"]), _whole_numbers(name, entry["data_offsets"], 2)
        _check_shape(name, shape, dtype, end - begin)
        found.append((start + begin, start + end, name, dtype, shape))
    file.check([(begin, end, repr(name)) for begin, end, name, _, _ in found], start)
    claimed = start + sum(end - begin for begin, end, *_ in found)
    if claimed != file.size:
        raise ValueError(f"it should have {claimed} bytes, and has {file.size}")
    arrays = {}
    for begin, end, name, dtype, shape in found:
        file.expect(repr(name))
        file.seek(begin)
        arrays[name] = np.frombuffer(file.read(end - begin), dtype).reshape(shape)
    return texts, arrays


def _whole_numbers(name: str, value: Any, count: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise ValueError(f"the shape or place of {name!r} is not a list as long as it should be")
    if not all(type(number) is int and 0 <= number < 2**62 for number in value):
        raise ValueError(f"the shape or place of {name!r} holds something else than whole numbers")
    return tuple(value)


def _read_npz(file: _Untrusted) -> tuple[dict[str, str], Arrays]:
    """A zip of .npy files, stored and not compressed as ``numpy.savez`` leaves them."""
    file.seek(-22, os.SEEK_END)
    end = file.read()
    if not (end.startswith(b"PK\x05\x06") and end.endswith(b"\0\0")):
        raise ValueError("it is cut off, or something follows its end")
    with zipfile.ZipFile(file) as archive:
        found = archive.infolist()
        members = {member.filename.removesuffix(".npy"): member for member in found}
        if len(members) != len(found) or not all(member.filename.endswith(".npy") for member in found):
            raise ValueError("it holds something else than arrays of different names")
        places = []
        for name, member in members.items():
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ValueError(f"{name!r} is compressed or encrypted")
            if member.compress_size != member.file_size:
                raise ValueError(f"{name!r} claims {member.file_size} bytes, stored in {member.compress_size}")
            begin = member.header_offset  # of 30 bytes and the name, before the array
            places.append((begin, begin + 30 + member.file_size, repr(name)))
        file.check(places)
        arrays = {}
        for name, member in members.items():
            file.expect(repr(name), HEADER_LIMIT if name == HEADER else None)
            try:
                arrays[name] = _read_npy(name, archive.read(member))
            except zipfile.BadZipFile as error:
                raise ValueError(f"{name!r}: {error}") from error
    header = arrays.pop(HEADER, np.empty(0))
    if header.dtype != np.uint8 or header.ndim != 1:
        raise ValueError("it has no header of ours")
    for name, array in arrays.items():
        if array.dtype not in DTYPES.values():
            raise ValueError(f"{name!r} is not an array of float32 or float64")
    return parse_json(header.tobytes().decode()), arrays


def _read_npy(name: str, content: bytes) -> np.ndarray:
    """An array of a plain type from the bytes of a .npy file (numpy.lib.format, version 1.0, C order)."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError(f"{name!r} is not stored as numpy.savez stores arrays")
    end = 10 + int.from_bytes(content[8:10], "little")
    described = re.fullmatch(
        rb"\{'descr': '(<f4|<f8|\|u1)', 'fortran_order': False, 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n",
        content[10:end],
    )
    if described is None:
        raise ValueError(f"{name!r} is an array of another type than float32 or float64, or in another order")
    dtype = np.dtype(described[1].decode())
    shape = tuple(int(number) for number in described[2].replace(b",", b" ").split())
    _check_shape(name, shape, dtype, len(content) - end)
    return np.frombuffer(content, dtype, offset=end).reshape(shape)


def _check_shape(name: str, shape: tuple[int, ...], dtype: np.dtype, length: int) -> None:
    """The length is the shape's, and the shape one that NumPy can have, where a 0 among large numbers is none."""
    size, largest = (dtype.itemsize * math.prod(numbers) for numbers in (shape, (n or 1 for n in shape)))
    if len(shape) > 32 or size != length or largest >= 2**63:
        raise ValueError(f"{name!r} claims the shape {shape} of {dtype.name}, and has {length} bytes")
