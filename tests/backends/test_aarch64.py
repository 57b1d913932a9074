"""NEON gives the bits of AVX2 and AVX-512: the kernels cross-compiled and run in user-mode emulation."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import fastact as fa
from fastact import backends
from fastact.registry import ACTIVATIONS

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "fastact" / "backends" / "kernels"
COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-static"]  # as in setup.py
FMA = [name for name, supported in (backends.engine.instruction_sets()) if supported][1:]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (KERNELS / "fa_dispatch.c").is_file(), reason="not in a checkout"),
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
    pytest.mark.skipif(not shutil.which(EMULATOR), reason=f"{EMULATOR} is not installed"),
    pytest.mark.skipif(not FMA, reason="this machine has no instruction set with FMA to compare with"),
]


def inputs(dtype, integer):
    """Every exponent, both signs, the neighbourhood of ordinary numbers, and what is special."""
    generator = np.random.default_rng(3)
    bits = generator.integers(0, np.iinfo(integer).max, 20_000, dtype=integer, endpoint=True).view(dtype)
    ordinary = np.concatenate([generator.normal(0, scale, 10_000) for scale in (1e-3, 1, 5, 40)]).astype(dtype)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 3, -3, 6, 0.5, -0.5], dtype)
    return np.concatenate([bits, ordinary, special, -special])


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    program = tmp_path_factory.mktemp("aarch64") / "kernel_driver"
    sources = [HERE / "kernel_driver.c", KERNELS / "fa_kernels_baseline.c", KERNELS / "fa_dispatch.c"]
    subprocess.run([COMPILER, *FLAGS, f"-I{KERNELS}", *map(str, sources), "-o", str(program), "-lm"], check=True)
    return program


def test_neon_has_the_same_bits(driver, tmp_path):
    arrays = []
    for dtype, integer in ((np.float32, np.uint32), (np.float64, np.uint64)):
        x = inputs(dtype, integer)
        grad = np.random.default_rng(4).permutation(x)
        arrays.append((x, grad))
    (tmp_path / "input").write_bytes(b"".join(a.tobytes() for pair in arrays for a in pair))
    lines = [str(len(arrays[0][0]))]
    for entry in ACTIVATIONS.values():
        a, b = (*entry.defaults, 0.0, 0.0)[:2]
        lines.append(f"{entry.name} {entry.saved_name} {a!r} {b!r}")
    subprocess.run(
        [EMULATOR, str(driver), str(tmp_path / "input"), str(tmp_path / "output")],
        input="\n".join(lines), text=True, check=True,
    )  # fmt: skip
    content = (tmp_path / "output").read_bytes()
    position = 0
    for entry in ACTIVATIONS.values():
        for x, grad in arrays:
            y = getattr(fa, entry.name)(x)
            dx = getattr(fa, f"{entry.name}_backward")(grad, x if entry.saves == "x" else y)
            for expected, what in ((y, "forward"), (dx, "backward")):
                got = np.frombuffer(content, x.dtype, len(x), position)
                position += got.nbytes
                nan = np.isnan(expected)
                assert np.array_equal(nan, np.isnan(got)), f"{entry.name} {what} {x.dtype}"
                same = got.view(f"u{x.itemsize}") == expected.view(f"u{x.itemsize}")
                differ = np.flatnonzero(~same & ~nan)
                assert not differ.size, f"{entry.name} {what} {x.dtype} at x={x[differ[0]]!r}"
    assert position == len(content)
