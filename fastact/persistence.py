"""Saving and loading networks: parameters in a safetensors file, architecture and version in its metadata."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize

from . import _checks
from ._version import __version__
from .network import Sequential, network_from

__all__ = ["load", "save"]

FORMAT = "fastact network 1"


def write_atomically(path: Path, content: bytes) -> None:
    """Write the whole file or nothing: to a temporary file beside it, then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save(net: Sequential, path: Any, metadata: Mapping[str, str] | None = None) -> None:
    """Write net to path (.safetensors), atomically; metadata (texts) comes back as ``load(path).metadata``.

    Raises ValueError for another file ending and TypeError for metadata that are not texts.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        raise ValueError(f"save: expected a file name that ends in .safetensors, got {file.name!r}")
    extra = {**net.metadata, **(metadata or {})}
    for key, text in extra.items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"save: expected metadata of texts, got {key!r}: {_checks.describe(text)}")
    header = {
        "format": FORMAT,
        "fastact": __version__,
        "dtype": str(net.dtype),
        "layers": json.dumps(net.describe()),
        "metadata": json.dumps(extra),
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in net.named_parameters().items()}
    write_atomically(file, serialize(arrays, metadata=header))


def load(path: Any) -> Sequential:
    """Read a network that ``save`` wrote.

    Raises FileNotFoundError for a missing file and ValueError for a file that is truncated, foreign or damaged;
    nothing in the file is ever executed.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"load: there is no file {str(file)!r}")
    try:
        with safe_open(file, framework="numpy") as content:
            header = content.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(
                    f"load: expected a file written by fastact ({FORMAT!r}), "
                    f"got {header.get('format')!r} in {file.name}"
                )
            arrays = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a dictionary
        _checks.choice("load", "dtype", header.get("dtype"), ("float32", "float64"))
        net = network_from(json.loads(header["layers"]), header["dtype"])
        net.set_parameters(arrays)
        net.metadata = {str(k): str(v) for k, v in json.loads(header["metadata"]).items()}
    except (SafetensorError, KeyError, TypeError, AttributeError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"load: {file.name} is not a whole fastact network ({error}); save it again") from error
    return net
