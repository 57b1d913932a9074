"""Training from data that are not in memory: python bench/streams.py [--gigabytes 20] [--rounds 3] [--json FILE]

- memory: the most that is resident while a small network goes once through a sparse file of so many gigabytes
- large network: rows a second of 256; 784-512-512-10 from a memory map and from Parquet, beside the same rows in memory
- small network: rows a second of 256; 784-32-10 from a file that is not cached, and from Parquet, beside the fastest
  that can be read or decoded, with nothing trained
- loader: rows a second of 64; 784-128-10 from a memory map, beside PyTorch with a DataLoader of two processes, and
  the same for the batches alone

Each figure is of a process of its own, the contestants take turns, and of all rounds the best counts. Files are made
in FOLDER (by default the system's temporary one), 5 GB beside the sparse one, and deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, CLASSES = 784, 10
ROWS = 100_000  # of the file that fits into memory
COLD = 600_000  # of the file that is read from the disk


def timed(run: Callable[[], Any], rows: int) -> dict[str, float]:
    """Rows a second, and the most megabytes that were resident."""
    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text()  # getrusage knows the parent's peak, too
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"rows": rows, "seconds": seconds, "rows/s": rows / seconds, "peak MB": peak}


def network(*hidden: int) -> Any:
    import fastact as fa

    sizes = (INPUTS, *hidden)
    layers = [fa.Dense(a, b, "relu") for a, b in pairwise(sizes)]
    return fa.Sequential(*layers, fa.Dense(sizes[-1], CLASSES), rng=0)


def mapped(path: Path) -> tuple[np.ndarray, np.ndarray]:
    x = np.memmap(path, np.float32, "r").reshape(-1, INPUTS)
    return x, np.arange(len(x)) % CLASSES


def uncached(path: Path) -> None:
    """Have the system forget what it knows of a file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def fit(data: tuple[Any, ...], rows: int, batch: int, *hidden: int, threads: int = 0) -> dict[str, float]:
    import fastact as fa

    if threads:
        fa.set_num_threads(threads)
    net = network(*hidden)
    fa.fit(net, np.zeros((batch, INPUTS), np.float32), np.zeros(batch, int), epochs=2, batch_size=batch, progress=False)
    options = {"epochs": 1, "batch_size": batch, "progress": False, "rng": 0}
    return timed(lambda: fa.fit(net, *data, **options), rows)


def columns(path: Path) -> Any:
    import fastact as fa

    return fa.data.Parquet(path, "x", "y")


# ------------------------------------------------------------------------------------------------ what is measured


def whole(folder: Path) -> dict[str, float]:
    x, y = mapped(folder / "sparse")
    return fit((x, y), len(x), 256, 32)


def large_memory(folder: Path) -> dict[str, float]:
    x, y = mapped(folder / "warm")
    return fit((np.array(x), y), ROWS, 256, 512, 512)


def large_mapped(folder: Path) -> dict[str, float]:
    return fit(mapped(folder / "warm"), ROWS, 256, 512, 512)


def large_parquet(folder: Path) -> dict[str, float]:
    return fit((columns(folder / "warm.parquet"),), ROWS, 256, 512, 512)


def read_cold(folder: Path) -> dict[str, float]:
    """Blocks of a megabyte in a random order."""
    uncached(folder / "cold")
    size = 1 << 20
    order = np.random.default_rng(0).permutation((folder / "cold").stat().st_size // size)
    buffer = bytearray(size)

    def run() -> None:
        with (folder / "cold").open("rb", buffering=0) as file:
            for place in order:
                file.seek(int(place) * size)
                file.readinto(buffer)

    return timed(run, COLD)


def small_cold(folder: Path) -> dict[str, float]:
    uncached(folder / "cold")
    return fit(mapped(folder / "cold"), COLD, 256, 32)


def decode(folder: Path) -> dict[str, float]:
    source = columns(folder / "warm.parquet")

    def run() -> None:
        for _ in source.blocks(320):
            pass

    return timed(run, ROWS)


def small_parquet(folder: Path) -> dict[str, float]:
    return fit((columns(folder / "warm.parquet"),), ROWS, 256, 32)


def small_memory(folder: Path) -> dict[str, float]:
    x, y = mapped(folder / "warm")
    return fit((np.array(x), y), ROWS, 256, 32)


def ours(folder: Path) -> dict[str, float]:
    return fit(mapped(folder / "warm"), ROWS, 64, 128)


def ours_batches(folder: Path) -> dict[str, float]:
    from fastact.data import Arrays
    from fastact.data.streaming import StreamBatches

    def convert(x: Any, y: Any, _: Any) -> Any:
        return x, y, None, None

    made = StreamBatches("", Arrays(*mapped(folder / "warm")), convert, 64, 20_000, np.random.default_rng(0))
    return timed(lambda: [None for _ in made.epoch()], ROWS)


def loader(folder: Path) -> Any:
    import torch

    class Mapped(torch.utils.data.Dataset):  # type: ignore[misc]
        def __init__(self) -> None:
            self.x, self.y = mapped(folder / "warm")

        def __len__(self) -> int:
            return len(self.x)

        def __getitem__(self, row: int) -> Any:
            return torch.from_numpy(self.x[row].copy()), int(self.y[row])

    return torch.utils.data.DataLoader(Mapped(), batch_size=64, shuffle=True, num_workers=2)


def theirs(folder: Path) -> dict[str, float]:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(INPUTS, 128), torch.nn.ReLU(), torch.nn.Linear(128, CLASSES))
    optimizer, loss = torch.optim.Adam(net.parameters(), 1e-3), torch.nn.CrossEntropyLoss()

    def run() -> None:
        for x, y in loader(folder):
            optimizer.zero_grad()
            loss(net(x), y).backward()
            optimizer.step()

    return timed(run, ROWS)


def their_batches(folder: Path) -> dict[str, float]:
    return timed(lambda: [None for _ in loader(folder)], ROWS)


GROUPS: dict[str, tuple[Callable[[Path], dict[str, float]], ...]] = {
    "large network": (large_memory, large_mapped, large_parquet),
    "small network": (read_cold, small_cold, decode, small_parquet, small_memory),
    "loader": (ours, theirs, ours_batches, their_batches),
}
RATIOS = {
    "large network, memory map / memory": ("large_mapped", "large_memory"),
    "large network, Parquet / memory": ("large_parquet", "large_memory"),
    "small network, cold file / disk": ("small_cold", "read_cold"),
    "small network, Parquet / decoder": ("small_parquet", "decode"),
    "64 rows, fastact / DataLoader": ("ours", "theirs"),
    "64 rows, batches alone": ("ours_batches", "their_batches"),
}


def make(folder: Path, gigabytes: float) -> None:
    """Write the files."""
    row = INPUTS * 4
    with (folder / "sparse").open("wb") as file:
        file.truncate(int(gigabytes * 1e9) // row * row)
    rng = np.random.default_rng(0)
    x = rng.random((ROWS, INPUTS), np.float32)
    x.tofile(folder / "warm")
    with (folder / "cold").open("wb") as file:
        for _ in range(COLD // ROWS):
            x.tofile(file)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return
    wide = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.reshape(-1)), INPUTS)
    table = pyarrow.table({"x": wide, "y": np.arange(ROWS) % CLASSES})
    pyarrow.parquet.write_table(table, folder / "warm.parquet", row_group_size=10_000)


def measure(name: str, folder: Path) -> dict[str, float]:
    """One figure, of a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=("memory", *GROUPS), nargs="*", default=("memory", *GROUPS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(globals()[arguments.one](arguments.folder)))
        return
    from fastact.measure.processes import processor

    best: dict[str, dict[str, float]] = {}
    print(processor(), flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as made:
        folder = Path(made)
        make(folder, arguments.gigabytes)
        if "memory" in arguments.only:
            best["whole"] = measure("whole", folder)
            print(f"{'whole':16}", {k: round(v, 1) for k, v in best["whole"].items()}, flush=True)
            (folder / "sparse").unlink()
        for group in (g for g in GROUPS if g in arguments.only):
            for _ in range(arguments.rounds):
                for contestant in GROUPS[group]:
                    name = contestant.__name__
                    found = measure(name, folder)
                    print(f"{name:16}", {k: round(v, 1) for k, v in found.items()}, flush=True)
                    if name not in best or found["rows/s"] > best[name]["rows/s"]:
                        best[name] = found
    ratios = {
        label: round(best[one]["rows/s"] / best[other]["rows/s"], 3)
        for label, (one, other) in RATIOS.items()
        if one in best and other in best
    }
    for label, ratio in ratios.items():
        print(f"{label:40}{ratio:8.2f}")
    if arguments.json:
        about = {"processor": processor(), "date": time.strftime("%Y-%m-%d"), "best": best, "ratios": ratios}
        arguments.json.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
