"""Dense layers against other libraries: python bench/dense.py [--threads N] [--clock cpu] [--isa avx2|avx512]

Forward y = act(x @ w + b), and backward (dz, db, dw, dx), in float32 or, with --dtype, float64. Every library has a
process of its own that sleeps on its pipe while another is measured; the rounds go through all of them, and the
minimum of all samples counts. NumPy runs matmul(out=), add and the activation in place; PyTorch linear and the
activation in inference mode, and its autograd for backward; JAX jit. fastact writes to given arrays as in a training
step.

--clock cpu takes the processor time of the process: on a machine that others use too, one thread can be measured so.
--isa avx2 holds everybody to AVX2 (environment variables of OpenBLAS, MKL, oneDNN and PyTorch) but JAX, whose products
take no notice: it is a peer with --isa avx512 --libraries fastact,numpy,torch,jax.
--json writes the table to bench/results/dense-ISA-DTYPE-Nt.json too, or to the file that is named.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPES = [
    (1, 64, 64), (1, 784, 512), (8, 16, 64), (32, 16, 64), (32, 64, 64), (64, 784, 128), (64, 128, 10),
    (128, 256, 256), (128, 256, 10), (256, 784, 512), (256, 512, 512), (1024, 784, 1024), (1024, 1024, 1024),
    (1024, 1024, 10), (4096, 512, 512),
]  # fmt: skip
LIBRARIES = ("fastact", "numpy", "torch", "jax")
LIMITED = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}
FLAGS = {"avx2": ["-mavx2", "-mfma"], "avx512": ["-mavx512f", "-mfma"]}


# ------------------------------------------------------------------------------------------ in the worker process


def arrays(shape: tuple[int, int, int], dtype: str) -> list[np.ndarray]:
    """x, weight, bias, grad."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    sizes = ((m, k), (k, n), (n,), (m, n))
    x, weight, bias, grad = (rng.standard_normal(size).astype(dtype) for size in sizes)
    return [x, weight / weight.dtype.type(k**0.5), bias, grad]


def use_fastact(threads: int, dtype: str) -> Callable[..., Callable[[], object]]:
    import fastact as fa

    fa.set_num_threads(threads)

    def make(direction: str, act: str, shape: tuple[int, int, int]) -> Callable[[], object]:
        x, weight, bias, grad = arrays(shape, dtype)
        y = np.empty_like(grad)
        if direction == "forward":
            return lambda: fa.dense(x, weight, bias, act, out=y)
        saved = fa.dense_forward(x, weight, bias, act)[1]
        dx, dw, db = np.empty_like(x), np.empty_like(weight), np.empty_like(bias)
        return lambda: fa.dense_backward(grad, saved, x, weight, out_input=dx, out_weight=dw, out_bias=db)

    return make


def use_numpy(threads: int, dtype: str) -> Callable[..., Callable[[], object]]:
    def make(direction: str, act: str, shape: tuple[int, int, int]) -> Callable[[], object]:
        if act != "relu":
            raise NotImplementedError(act)
        x, weight, bias, grad = arrays(shape, dtype)
        y, dz, dx, dw, db = (np.empty_like(a) for a in (grad, grad, x, weight, bias))

        def forward() -> None:
            np.matmul(x, weight, out=y)
            np.add(y, bias, out=y)
            np.maximum(y, 0, out=y)

        def backward() -> None:
            np.multiply(grad, y > 0, out=dz)
            np.sum(dz, axis=0, out=db)
            np.matmul(x.T, dz, out=dw)
            np.matmul(dz, weight.T, out=dx)

        forward()
        return forward if direction == "forward" else backward

    return make


def use_torch(threads: int, dtype: str) -> Callable[..., Callable[[], object]]:
    import torch
    from torch.nn import functional as f

    torch.set_num_threads(threads)

    def make(direction: str, act: str, shape: tuple[int, int, int]) -> Callable[[], object]:
        x, weight, bias, grad = (torch.from_numpy(a) for a in arrays(shape, dtype))
        weight = weight.T.contiguous()
        if direction == "forward":

            def forward() -> None:
                with torch.inference_mode():
                    y = f.linear(x, weight, bias)
                    torch.relu_(y) if act == "relu" else f.gelu(y)

            return forward
        leaves = [a.requires_grad_() for a in (x, weight, bias)]
        y = f.linear(*leaves)
        y = torch.relu(y) if act == "relu" else f.gelu(y)
        return lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True)

    return make


def use_jax(threads: int, dtype: str) -> Callable[..., Callable[[], object]]:
    import jax

    jax.config.update("jax_enable_x64", dtype == "float64")

    def make(direction: str, act: str, shape: tuple[int, int, int]) -> Callable[[], object]:
        x, weight, bias, grad = (jax.numpy.asarray(a) for a in arrays(shape, dtype))
        function = jax.nn.relu if act == "relu" else lambda z: jax.nn.gelu(z, approximate=False)

        def layer(x, weight, bias):
            return function(x @ weight + bias)

        if direction == "forward":
            call = jax.jit(layer)
            return lambda: call(x, weight, bias).block_until_ready()
        backward = jax.jit(jax.vjp(layer, x, weight, bias)[1])
        return lambda: jax.block_until_ready(backward(grad))

    return make


def serve(library: str, threads: int, clock: str, dtype: str) -> None:
    """Answer lines of (direction, activation, shape, seconds) with the least seconds per call."""
    now = time.process_time if clock == "cpu" else time.perf_counter
    make = globals()[f"use_{library}"](threads, dtype)
    calls: dict[str, tuple[Callable[[], object], int]] = {}
    for line in sys.stdin:
        *key, seconds = json.loads(line)
        try:
            if str(key) not in calls:
                calls.clear()
                call = make(*key)
                for _ in range(3):
                    call()
                start = time.perf_counter()
                call()
                calls[str(key)] = call, max(1, int(5e-5 / (time.perf_counter() - start)))
            call, count = calls[str(key)]
            best, end = math.inf, time.perf_counter() + seconds
            while time.perf_counter() < end:
                start = now()
                for _ in range(count):
                    call()
                best = min(best, (now() - start) / count)
        except NotImplementedError:
            best = math.nan
        time.sleep(0.002)  # until the library's other threads sleep too
        print(json.dumps(best), flush=True)


# ------------------------------------------------------------------------------------------ in the parent process


def start(library: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    """A worker for the library."""
    count = str(options.threads)
    environment = dict(os.environ, FASTACT_ISA=options.isa, OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count)
    if options.isa == "avx2":
        environment.update(LIMITED)
    if library == "jax" and options.threads == 1:
        environment["XLA_FLAGS"] = environment.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
        environment["NPROC"] = "1"
    command = [sys.executable, __file__, "--serve", library, "--threads", count, "--clock", options.clock]
    command += ["--dtype", options.dtype]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def peak(isa: str) -> float:
    """GFLOP/s of a loop of fused multiply-adds on registers, one thread."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "peak")
        source = Path(__file__).with_name("peak.c")
        subprocess.run(["cc", "-O3", *FLAGS[isa], str(source), "-o", str(program)], check=True)
        return float(subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure and print a table of microseconds and of ratios to the best peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", choices=LIBRARIES, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--isa", choices=tuple(FLAGS), default="avx2")
    parser.add_argument("--libraries", default="fastact,numpy,torch")
    parser.add_argument("--directions", default="forward,backward")
    parser.add_argument("--activations", default="relu,gelu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.05)
    parser.add_argument("--json", nargs="?", const="", metavar="FILE")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads, options.clock, options.dtype)
        return
    if "jax" in options.libraries and options.isa == "avx2":
        parser.error("JAX cannot be held to AVX2; leave it out or measure with --isa avx512")
    workers = {library: start(library, options) for library in options.libraries.split(",")}
    limit = peak(options.isa) / (2 if options.dtype == "float64" else 1)  # half as many lanes
    print(f"{options.threads} thread(s), {options.isa}, {options.dtype}, {options.clock} clock; ", end="")
    print(f"FMA peak {limit:.1f} GFLOP/s a thread")
    rows: list[dict[str, object]] = []
    for direction in options.directions.split(","):
        for act in options.activations.split(","):
            print(f"\n{direction}, {act}: microseconds\n{'shape (M, K, N)':20}", end="")
            print("".join(f"{w:>12}" for w in workers) + f"{'best peer /':>13}{'of peak':>9}")
            logs = []
            for shape in SHAPES:
                best = dict.fromkeys(workers, math.inf)
                for _ in range(options.rounds):
                    for library, worker in workers.items():
                        worker.stdin.write(json.dumps([direction, act, shape, options.seconds]) + "\n")
                        worker.stdin.flush()
                        best[library] = min(best[library], json.loads(worker.stdout.readline()))
                peers = [t for library, t in best.items() if library != "fastact" and math.isfinite(t)]
                ratio = min(peers) / best["fastact"]
                logs.append(math.log(ratio))
                work = 2e-9 * math.prod(shape) * (2 if direction == "backward" else 1)
                share = work / best["fastact"] / limit / options.threads
                print(f"{shape!s:20}" + "".join(f"{1e6 * t:12.2f}" for t in best.values()), end="")
                print(f"{ratio:13.2f}{100 * share:8.0f}%", flush=True)
                seconds = {library: t for library, t in best.items() if math.isfinite(t)}
                row = {"direction": direction, "activation": act, "shape": shape, "seconds": seconds}
                rows.append(row | {"ratio": ratio, "share_of_peak": share})
            print(f"geometric mean {math.exp(sum(logs) / len(logs)):.2f}")
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    if options.json is not None:
        name = f"dense-{options.isa}-{options.dtype}-{options.threads}t.json"
        path = Path(options.json) if options.json else Path(__file__).parent / "results" / name
        about = {key: getattr(options, key) for key in ("isa", "dtype", "threads", "clock", "rounds", "seconds")}
        path.write_text(json.dumps(about | {"peak_gflops": limit, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
