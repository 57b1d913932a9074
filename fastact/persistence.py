"""Saving and loading: networks, with the state of their training where that is wanted, as .safetensors or .npz.

Both hold the same: named arrays (parameters and buffers under their own names, ``optimizer.<state>.<parameter>``,
``callback.<number>.<name>``) and a header of texts (format, versions, architecture and all else as JSON, and a SHA-256
of everything, so that damage is found). A file is read without trust: every size is compared with the file's own, and
with what the architecture asks for, before memory is taken for it; nothing in a file is ever executed.
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
from safetensors.numpy import save as serialize

from . import checks
from ._version import __version__
from .layers.base import Layer
from .layers.catalogue import layer_from
from .layers.chain import check_layers, connect, flattened, named_specs
from .network import Sequential
from .optim import Optimizer

__all__ = ["load", "save"]

FORMAT = "fastact network 2"
OLD_FORMAT = "fastact network 1"  # parameters and architecture alone, without a checksum
ENDINGS = (".safetensors", ".npz")
HEADER_LIMIT = 16 << 20  # bytes of header: JSON may take some thirty times its length once it is read
LAYER_LIMIT = 4096  # inner ones included
DTYPES: dict[str, np.dtype] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}  # safetensors' names of what we store

Arrays = dict[str, np.ndarray]

# ------------------------------------------------------------------------------------------------ files


@contextmanager
def _atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its place at the end, whole and on the disk, or never does."""
    path = Path(os.path.realpath(path))  # a link stays one
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
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
    with _atomically(path) as file:
        file.write(content)


def a_path(function: str, path: Any) -> Path:
    """A path of any ending."""
    try:
        return Path(path)
    except TypeError:
        raise TypeError(f"{function}: expected a path, got {checks.describe(path)}") from None


def checked_path(function: str, path: Any) -> Path:
    """A path that ends as one of our formats does."""
    file = a_path(function, path)
    if file.suffix not in ENDINGS:
        raise ValueError(f"{function}: expected a file name that ends in {' or '.join(ENDINGS)}, got {file.name!r}")
    return file


def checked_folder(function: str, file: Path) -> None:
    """The folder that the file shall lie in is there."""
    if not file.parent.is_dir():
        raise FileNotFoundError(
            f"{function}: there is no folder {str(file.parent)!r} to write {file.name!r} to; make it first"
        )


def _digest(texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all names, texts, shapes and numbers, in an order of their own."""
    names = sorted(arrays)
    described = [[name, arrays[name].dtype.str, arrays[name].shape] for name in names]
    hashed = hashlib.sha256(json.dumps([sorted(texts.items()), described]).encode())
    for name in names:
        hashed.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return hashed.hexdigest()


def _write(path: Path, texts: dict[str, str], arrays: Arrays) -> None:
    texts = {**texts, "checksum": _digest(texts, arrays)}
    header = json.dumps(texts).encode()
    if len(header) > HEADER_LIMIT:
        raise ValueError(f"save: expected at most {HEADER_LIMIT} bytes of metadata and history, got {len(header)}")
    if path.suffix == ".npz":
        with _atomically(path) as file:
            np.savez(file, **{"header": np.frombuffer(header, np.uint8), **arrays})  # type: ignore[arg-type]
    else:
        write_atomically(path, serialize(arrays, metadata=texts))


def _read(file: BinaryIO) -> tuple[dict[str, str], Arrays]:
    """Header and arrays of a file, by what it starts with."""
    size = os.fstat(file.fileno()).st_size
    zipped = file.read(4) == b"PK\x03\x04"
    texts, arrays = _read_npz(file, size) if zipped else _read_safetensors(file, size)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("its header is not a list of texts")
    return texts, arrays


def _parse(text: str | bytes, constants: bool = False) -> Any:
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
    entries = _parse(file.read(length).decode())
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
    return _parse(header.tobytes().decode()), arrays


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


# ------------------------------------------------------------------------------------------------ networks


def save(
    net: Sequential,
    path: Any,
    optimizer: Optimizer | None = None,
    metadata: Mapping[str, str] | None = None,
    *,
    training: tuple[dict[str, Any], Arrays] | None = None,
) -> None:
    """Write net to path (.safetensors or .npz), atomically.

    With ``optimizer``, its state goes along (what changes from step to step; not what its constructor was given, which
    may hold any function). ``metadata`` (texts) come back as ``load(path).metadata``. ``training`` is what a
    checkpoint adds, from ``fit``.

    Raises ValueError for another file ending, FileNotFoundError for a missing folder and TypeError for metadata that
    are not texts.
    """
    file = checked_path("save", path)
    checked_folder("save", file)
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"save: expected optimizer to be an Optimizer, got {checks.describe(optimizer)}")
    _check_number(net.layers)
    extra = {**net.metadata, **(metadata or {})}
    for key, text in extra.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: expected metadata of texts, got {key!r}: {checks.describe(text)}")
    arrays = {**net.named_parameters()}
    for name, array in net.named_buffers().items():
        if name in arrays:
            raise ValueError(f"save: expected another name for the buffer {name!r}, which is a parameter's too")
        arrays[name] = array
    content: dict[str, Any] = {
        "layers": net.describe(),
        "frozen": [s.name for s in net.segments if s.frozen],
        "random_state": net.random_state(),
        "metadata": extra,
    }
    if optimizer is not None:
        state = optimizer.state_dict()
        flats = state.pop("state")
        content["optimizer"] = {**state, "states": list(flats)}
        for key, flat in flats.items():
            if flat.shape != net.parameters.shape or flat.dtype != net.dtype:
                raise ValueError(f"save: the optimizer's state is not of this network ({flat.size} {flat.dtype})")
            for s in net.segments:
                arrays[f"optimizer.{key}.{s.name}"] = flat[s.start : s.stop].reshape(s.shape)
    if training is not None:
        content["training"], own = training
        arrays |= own
    texts = {"format": FORMAT, "fastact": __version__, "numpy": np.__version__, "dtype": str(net.dtype)}
    texts |= {key: json.dumps(value, allow_nan=key == "training") for key, value in content.items()}
    little = {name: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for name, a in arrays.items()}
    _write(file, texts, little)


def load(path: Any, custom: Mapping[str, Any] | None = None, optimizer: Optimizer | None = None) -> Sequential:
    """Read a network that ``save``, or a checkpoint of ``fit``, wrote.

    Parameters
    ----------
    path : a .safetensors or .npz file
    custom : your own layer classes (and activations) by name, where the network has some
    optimizer : an optimiser, made as the one that was saved; it is given the saved state, and then takes the same steps

    Raises FileNotFoundError for a missing file and ValueError for one that is truncated, foreign or damaged, or that
    holds no such optimiser; nothing in the file is ever executed, and nothing is changed before all is checked.
    """
    content = Content("load", path)
    net = content.network(custom)
    if optimizer is not None:
        content.fill_optimizer(net, optimizer)
    return net


#: What a file can be found to be wrong by, while it is read and interpreted.
DAMAGE = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, NotImplementedError,
    EOFError, zipfile.BadZipFile, zlib.error, struct.error, OSError,
)  # fmt: skip


class Content:
    """What a file holds, read whole and compared with its checksum, but not yet believed."""

    def __init__(self, function: str, path: Any) -> None:
        """Read the file; function is whose messages they are."""
        self.function, self.path = function, a_path(function, path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{function}: there is no file {str(self.path)!r}")
        with self.path.open("rb") as file, self.trusting_nothing():
            texts, self.arrays = _read(file)
            form = texts.get("format", "")
            newer = re.fullmatch(r"fastact network (\d{1,9})", form)
            if form not in (FORMAT, OLD_FORMAT):
                if newer:
                    raise ValueError(
                        f"written by a newer fastact, {texts.get('fastact')}: {form!r}; upgrade to read it"
                    )
                raise ValueError(f"expected a file written by fastact, got the format {form!r}")
            checksum = texts.pop("checksum", None)
            if (checksum is None) != (form == OLD_FORMAT):
                raise ValueError("it has no checksum")
            if checksum is not None and checksum != _digest(texts, self.arrays):
                raise ValueError("its checksum is not that of its content")
            plain = {"format", "fastact", "numpy", "dtype"}
            known = plain | {"layers", "metadata"}
            if form == FORMAT:
                known |= {"frozen", "random_state", "optimizer", "training"}
            if not texts.keys() <= known:
                raise ValueError(f"unknown {', '.join(sorted(texts.keys() - known))} in its header")
            self.texts = texts
            self.dtype = np.dtype(checks.choice(function, "dtype", texts.get("dtype"), ("float32", "float64")))
            self.header = {
                "frozen": [],
                "random_state": None,
                **{key: _parse(text, key == "training") for key, text in texts.items() if key not in plain},
            }

    @contextmanager
    def trusting_nothing(self, verdict: str = "is not a whole fastact network") -> Iterator[None]:
        """Whatever the file's content brings about in here is told as a ValueError that names the file."""
        try:
            yield
        except DAMAGE as error:
            said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            said = said.removeprefix(f"{self.function}: ")[:500] or type(error).__name__
            raise ValueError(f"{self.function}: {self.path.name} {verdict}: {said}") from error

    def network(self, custom: Mapping[str, Any] | None = None) -> Sequential:
        """The network."""
        with self.trusting_nothing():
            descriptions = self.header["layers"]
            if not isinstance(descriptions, list) or len(descriptions) > LAYER_LIMIT:
                raise ValueError(f"expected a list of at most {LAYER_LIMIT} layers")
            # Layers know their shapes before they take memory; only what the file really holds is then made.
            layers = tuple(layer_from(description, custom) for description in descriptions)
            _check_number(layers)
            connect(self.function, check_layers(self.function, layers))
            specs = named_specs(layers, "parameter_specs") | named_specs(layers, "buffer_specs")
            self._expect({name: spec.shape for name, spec in specs.items()})
            # A layer without arrays may take memory by its width, which no array then bounds.
            width = sum(max(one.inputs or 0, one.outputs or 0) for layer in layers for one in flattened(layer))
            if width > (1 << 22) + 64 * sum(array.size for array in self.arrays.values()):
                raise ValueError("its layers claim to be wider than its arrays are")
            with np.errstate(all="ignore"):  # its starting values, which are replaced
                net = Sequential(*layers, dtype=self.dtype)
        self.fill(net)
        return net

    def _expect(self, wanted: Mapping[str, tuple[int, ...]]) -> None:
        own = [name for name in self.arrays if not name.startswith(("optimizer.", "callback."))]
        for name in (*wanted, *own):
            if name not in wanted or name not in self.arrays:
                held = "holds an unknown" if name not in wanted else "lacks the"
                raise ValueError(f"it {held} array {name[:80]!r}")
            array = self.arrays[name]
            if array.shape != tuple(wanted[name]) or array.dtype.newbyteorder("=") != self.dtype:
                raise ValueError(
                    f"expected {name} to be {self.dtype} {tuple(wanted[name])}, got {array.dtype} {array.shape}"
                )

    def fill(self, net: Sequential) -> None:
        """Give a network of the same architecture the file's parameters, buffers, flags, random state and metadata."""
        with self.trusting_nothing("does not fit the network"):
            same = json.loads(json.dumps(net.describe())) == self.header["layers"]
            if not same or net.dtype != self.dtype:
                raise ValueError(f"it holds another network than {net!r}")
            parameters, buffers = net.named_parameters(), net.named_buffers()
            self._expect({name: array.shape for name, array in {**parameters, **buffers}.items()})
            frozen, metadata = self.header["frozen"], self.header["metadata"]
            if not isinstance(frozen, list) or not all(isinstance(name, str) and name in parameters for name in frozen):
                raise ValueError("its frozen parameters are none of the network's")
            if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
                raise ValueError("its metadata are not texts")
            if self.header["random_state"] is not None:
                net.set_random_state(self.header["random_state"])
            net.set_parameters({name: _native(self.arrays[name]) for name in parameters})
            net.set_buffers({name: _native(self.arrays[name]) for name in buffers})
            if parameters:
                net.unfreeze()
            if frozen:
                net.freeze(*frozen)
            net.metadata = metadata

    def fill_optimizer(self, net: Sequential, optimizer: Optimizer) -> None:
        """Give an optimiser the saved state; net is the network that it belongs to."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{self.function}: expected optimizer to be an Optimizer, got {checks.describe(optimizer)}")
        with self.trusting_nothing("does not fit the optimizer"):
            saved = self.header.get("optimizer")
            if saved is None:
                raise ValueError("it holds no optimiser's state; save with optimizer=...")
            names, states = {s.name for s in net.segments}, saved["states"]
            if not isinstance(states, list) or not all(isinstance(key, str) for key in states):
                raise ValueError("its optimiser's states are not a list of names")
            if not saved["segment_steps"].keys() <= names:
                raise ValueError("its optimiser has the state of another network")
            for count in (saved["steps"], *saved["segment_steps"].values()):
                if type(count) is not int or not 0 <= count < 2**53:
                    raise ValueError("its optimiser's numbers of steps are none")
            wanted = {f"optimizer.{key}.{s.name}": s.shape for key in states for s in net.segments}
            own = {name for name in self.arrays if name.startswith("optimizer.")}
            if own != set(wanted):
                raise ValueError("its optimiser's arrays are not those that it names")
            flats = {}
            for key in states:
                flat = flats[key] = np.full(net.parameters.shape, optimizer.initial_state(key), net.dtype)
                for s in net.segments:
                    array = self.arrays[f"optimizer.{key}.{s.name}"]
                    if array.shape != s.shape or array.dtype.newbyteorder("=") != net.dtype:
                        raise ValueError(f"the state {key} of {s.name} has not its shape and dtype")
                    flat[s.start : s.stop] = array.ravel()
            optimizer.load_state_dict({**saved, "state": flats})


def _check_number(layers: tuple[Layer, ...]) -> None:
    if sum(1 for layer in layers for _ in flattened(layer)) > LAYER_LIMIT:
        raise ValueError(f"expected at most {LAYER_LIMIT} layers in a file")


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
