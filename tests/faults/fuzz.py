"""Files of networks and checkpoints are damaged at random: ValueError, in bounded time and memory, or what was there.

    python tests/faults/fuzz.py [count [seed]]

Bytes are changed, cut, doubled and exchanged; texts of the header and names and shapes of arrays are changed under a
checksum that is made right again.
"""

import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastact as fa
from fastact import files

SECONDS = 2  # of CPU, for files of less than 1 MB
VALUES = [
    None, True, False, 0, 1, -1, 2**31, 2**40, 2**62, 2**64, 10**30, 10**400, 0.5, 1e308, "", "x", "0.weight", "Dense",
    "relu", [], {}, [[]], [1, 2], {"a": 1}, ["0.weight"] * 50, {"layer": "Residual", "block": []}, "é" * 100, "\0",
    float("nan"), {"layer": "Maxout", "inputs": 2**40, "pieces": 2}, {"layer": "Dropout", "inputs": 2**33, "rate": 0.5},
]  # fmt: skip
X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
LABELS = np.arange(20) % 2


def network(seed=0):
    return fa.Sequential(
        fa.Dense(3, 8), fa.BatchNorm(), fa.PReLU(per_channel=True),
        fa.Residual(fa.Dense(8, 8, "gelu"), fa.Dropout(0.2)), fa.Maxout(2), fa.LayerNorm(), fa.Swish(),
        fa.Dense(4, 2), rng=seed,
    )  # fmt: skip


def trained(net, **more):
    fa.fit(
        net, X, LABELS, epochs=more.pop("epochs", 2), batch_size=8, rng=1, progress=False, optimizer=fa.optim.AdamW(),
        callbacks=[fa.EarlyStopping(9, monitor="loss")], **more,
    )  # fmt: skip


def bytes_changed(content, draw):
    """Some places of a file changed."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place, other = draw.randrange(len(content)), draw.randrange(len(content))
        length = draw.choice([1, 2, 4, 8, 40])
        piece = draw.choice([
            draw.randbytes(length), b"\xff" * length, bytes(length), bytes(content[other : other + length]), b"",
            struct.pack("<Q", draw.choice([2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1])), b"9" * length,
            b"[" * length,
        ])  # fmt: skip
        content[place : place + len(piece) if draw.random() < 0.9 else max(place, other)] = piece
    return bytes(content)


def value_changed(value, draw):
    """One place of a JSON value changed."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.85:
        copy = value.copy()
        key = draw.choice(list(copy)) if isinstance(copy, dict) else draw.randrange(len(copy))
        action = draw.random()
        if action < 0.1:
            del copy[key]
        elif action < 0.2 and isinstance(copy, dict):
            copy[draw.choice(["x", "layer", "inputs", "state"])] = copy[key]
        elif action < 0.2:
            copy += copy[:1] * draw.choice([1, 5000])
        else:
            copy[key] = value_changed(copy[key], draw)
        return copy
    return draw.choice(VALUES)


def meaning_changed(file, texts, arrays, draw):
    """Texts and arrays changed, and written with a right checksum."""
    texts, arrays = {k: v for k, v in texts.items() if k != "checksum"}, dict(arrays)
    for _ in range(draw.randint(1, 2)):
        if draw.random() < 0.75:
            key = draw.choice(list(texts))
            try:
                value = json.loads(texts[key])
            except ValueError:
                value = texts[key]
            value = value_changed(value, draw)
            texts[key] = value if isinstance(value, str) else json.dumps(value)
        elif arrays:
            name = draw.choice(list(arrays))
            array = arrays.pop(name)
            other = draw.choice([name, f"{name}.x", "9.weight", "optimizer.x.0.weight", "callback.0.x"])
            arrays[other] = draw.choice(
                [array, array.ravel(), array[..., None], array.astype(np.float64), array[:0], array * np.nan]
            )
    files.write(file, texts, arrays)


def read(path, ending):
    """As a network, and to go on from."""
    for way in (lambda: fa.load(path, optimizer=fa.optim.AdamW()), lambda: trained(network(1), epochs=3, resume=path)):
        start = time.process_time()
        try:
            with np.errstate(all="ignore"):
                way()
        except ValueError as error:
            refused = path.name in str(error) or str(error).startswith("fit: expected the checkpoint to hold the state")
            if not refused and " became " not in str(error):  # numbers that training cannot go on from
                raise AssertionError(f"does not name the file: {error}") from error
        assert time.process_time() - start < SECONDS, "takes too long"


def main(count=2000, seed=0):
    """Raises AssertionError, with the number that brings it about again, for anything but the one ValueError."""
    sync, os.fsync = os.fsync, lambda handle: None
    try:
        with tempfile.TemporaryDirectory() as folder:
            for ending in (".safetensors", ".npz"):
                original, path = Path(folder, f"original{ending}"), Path(folder, f"fuzzed{ending}")
                trained(network(), checkpoint=original)
                content = original.read_bytes()
                with original.open("rb") as file:
                    texts, arrays = files.read(file)
                read(original, ending)
                for number in range(seed, seed + count):
                    draw = random.Random(number)
                    if draw.random() < 0.5:
                        path.write_bytes(bytes_changed(content, draw))
                    else:
                        meaning_changed(path, texts, arrays, draw)
                    try:
                        read(path, ending)
                    except Exception as error:
                        raise AssertionError(f"{ending}, number {number}: {type(error).__name__}: {error}") from error
    finally:
        os.fsync = sync


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # what a header claims is not there to be had
    main(*map(int, sys.argv[1:]))
    print("only ValueError, or what was there")
