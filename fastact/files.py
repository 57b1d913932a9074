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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import checks
from .dtypes import FLOATS

ENDINGS = (".safetensors", ".npz")
HEADER_LIMIT = 16 << 20  # bytes of header: JSON may take some thirty times its length once it is read
DTYPES: dict[str, np.dtype] = {row.safetensors: row.dtype.newbyteorder("<") for row in FLOATS}
_SAFETENSORS = {row.name: row.safetensors for row in FLOATS}

Arrays = dict[str, np.ndarray]

#: What a file can be found to be wrong by, while it is read and interpreted.
DAMAGE = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, NotImplementedError,
    EOFError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error, OSError,
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


def _beside(path: Path) -> tuple[int, Path]:
    """A new file in the folder of the path, and where it is."""
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), temporary


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its place at the end, whole and on the disk, or never does."""
    path = Path(os.path.realpath(path))  # a link stays one
    handle, temporary = _beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
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
        handle, temporary = _beside(file)
    except OSError as error:
        raise type(error)(f"{function}: cannot write {str(file)!r} ({error.strerror}); pass another path") from error
    os.close(handle)
    temporary.unlink()
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

    The arrays go to the file from where they lie. ValueError where the texts are longer than ``read`` takes.
    """
    little = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    texts = {**texts, "checksum": digest(texts, little)}
    encoded = json.dumps(texts).encode()
    if len(encoded) > HEADER_LIMIT:
        raise ValueError(f"save: expected at most {HEADER_LIMIT} bytes of metadata and history, got {len(encoded)}")
    with atomically(path) as file:
        if path.suffix == ".npz":
            np.savez(file, **{"header": np.frombuffer(encoded, np.uint8), **little})  # type: ignore[arg-type]
        else:
            _write_safetensors(file, texts, little)


def _write_safetensors(file: BinaryIO, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """https://huggingface.co/docs/safetensors: length of the header, header, arrays one after another."""
    header: dict[str, Any] = {"__metadata__": texts}
    place = 0
    for name, array in arrays.items():
        shape, offsets = list(array.shape), [place, place + array.nbytes]
        header[name] = {"dtype": _SAFETENSORS[array.dtype.name], "shape": shape, "data_offsets": offsets}
        place += array.nbytes
    encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    file.write(struct.pack("<Q", len(encoded)))
    file.write(encoded)
    for array in arrays.values():
        file.write(array.reshape(-1).view(np.uint8).data)


def read(file: BinaryIO) -> tuple[dict[str, str], Arrays]:
    """Texts and arrays of an open file, of which nothing is believed; a size is compared with the file's own before
    memory is taken for it. Raises one of ``DAMAGE`` for what ``write`` does not write; the checksum is not looked at.
    """
    size = os.fstat(file.fileno()).st_size
    zipped = file.read(4) == b"PK\x03\x04"
    texts, arrays = _read_npz(file, size) if zipped else _read_safetensors(file, size)
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


def _read_safetensors(file: BinaryIO, size: int) -> tuple[dict[str, str], Arrays]:
    """https://huggingface.co/docs/safetensors: length of the header, header, arrays one after another."""
    file.seek(0)
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(size - 8, HEADER_LIMIT):
        raise ValueError("it does not start as a safetensors or npz file does, or is cut off")
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
        shape, (begin, end) = _sizes(entry["shape"]), _sizes(entry["data_offsets"], 2)
        if end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{name!r} does not have the length that its shape asks for")
        found.append((begin, end, name, dtype, shape))
    place = 0
    for begin, end, name, _, _ in sorted(found):
        if begin != place:
            raise ValueError(f"{name!r} does not lie where the array before it ends")
        place = end
    if 8 + length + place != size:
        raise ValueError(f"it should have {8 + length + place} bytes, and has {size}")
    arrays = {}
    for begin, end, name, dtype, shape in found:
        file.seek(8 + length + begin)
        content = file.read(end - begin)
        if len(content) != end - begin:
            raise ValueError("it became shorter while it was read")
        arrays[name] = np.frombuffer(content, dtype).reshape(shape)
    return texts, arrays


def _sizes(value: Any, count: int | None = None) -> tuple[int, ...]:
    if not isinstance(value, list) or (count is not None and len(value) != count) or len(value) > 32:
        raise ValueError("a shape or place in its header is not a short list")
    if not all(type(number) is int and 0 <= number < 2**62 for number in value):
        raise ValueError("a shape or place in its header holds something else than whole numbers")
    return tuple(value)


def _read_npz(file: BinaryIO, size: int) -> tuple[dict[str, str], Arrays]:
    """A zip of .npy files, stored and not compressed as ``numpy.savez`` leaves them, so that no size can lie."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        if len(set(names)) != len(names) or not all(m.filename.endswith(".npy") for m in members):
            raise ValueError("it holds something else than arrays of different names")
        if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
            raise ValueError("its arrays are compressed or encrypted")
        if sum(member.file_size for member in members) > size:
            raise ValueError("its arrays claim to be larger than the file")
        arrays = {name: _read_npy(archive.read(member)) for name, member in zip(names, members, strict=True)}
    header = arrays.pop("header", np.empty(0))
    if header.dtype != np.uint8 or header.ndim != 1 or len(header) > HEADER_LIMIT:
        raise ValueError("it has no header of ours")
    for name, array in arrays.items():
        if array.dtype not in DTYPES.values():
            raise ValueError(f"{name!r} is not an array of float32 or float64")
    return parse_json(header.tobytes().decode()), arrays


def _read_npy(content: bytes) -> np.ndarray:
    """An array of a plain type from the bytes of a .npy file (numpy.lib.format, version 1.0, C order)."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("it holds an array that is not stored as numpy.savez stores them")
    end = 10 + int.from_bytes(content[8:10], "little")
    described = re.fullmatch(
        rb"\{'descr': '(<f4|<f8|\|u1)', 'fortran_order': False, 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n",
        content[10:end],
    )
    if described is None:
        raise ValueError("it holds an array of another type than float32 or float64, or in another order")
    dtype = np.dtype(described[1].decode())
    shape = tuple(int(number) for number in described[2].replace(b",", b" ").split())
    if len(shape) > 32 or len(content) - end != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array does not have the length that its shape asks for")
    return np.frombuffer(content, dtype, offset=end).reshape(shape)
