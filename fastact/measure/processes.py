"""A worker process for each library, and turns of measuring that go round them.

Two libraries in one process share caches of compiled code, allocators and thread pools, and a pool that still spins
takes the processor from the next one measured. So every library gets a process of its own with the same number of
threads, on the same CPUs. A worker answers only once all of its threads have gone to sleep, and then blocks on its
pipe. ``Bench.measure`` goes round the workers many times, a few milliseconds each, so that a slow moment of the
machine hits all of them.

What is measured stands in a module with a table LIBRARIES: for each library a function that imports it and returns
``prepare(*request) -> Timed``. This file is a program, too: the worker, which does not import fastact but for what
measures it (or needs its NumPy formulas), lest one library's runtime disturb another's.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import platform
import re
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np

PACKAGE = Path(__file__).parents[1]
LIBRARIES = ("fastact", "numpy", "torch", "torch fused", "jax", "onnxruntime", "scikit-learn", "memory")
SHORTEST = 5e4  # nanoseconds between two looks at the clock, at least


class Timed(Protocol):
    """One prepared call of one library."""

    def result(self) -> Any:
        """What the call gives, to be compared with fastact's; None where there is nothing to compare."""

    def sample(self) -> float:
        """Nanoseconds per call, of one call or of a few."""


class Repeated:
    """A call that may be made again and again; ``first`` gives its result, by default the call itself."""

    def __init__(self, call: Callable[[], Any], first: Callable[[], Any] | None = None) -> None:
        self.call, self.result, self.count = call, first or call, 0

    def sample(self) -> float:
        call = self.call
        if not self.count:
            for _ in range(5):
                call()
            start = time.perf_counter_ns()
            call()
            self.count = max(1, int(SHORTEST / (time.perf_counter_ns() - start)))
        start = time.perf_counter_ns()
        for _ in range(self.count):
            call()
        return (time.perf_counter_ns() - start) / self.count


# ------------------------------------------------------------------------------------------ in the worker process


def numpy_isa() -> str:
    """The best vector instructions that NumPy found."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # type: ignore[index, call-overload, unused-ignore]
    return "avx512" if any("512" in f or f == "X86_V4" for f in found) else (found[-1].lower() if found else "baseline")


def blas() -> str:
    """NumPy's BLAS, and the architecture that it chose where threadpoolctl is there to say."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        built: Any = np.show_config(mode="dicts")
        found = built["Build Dependencies"]["blas"]
        return f"{found['name']} {found.get('version', '')}".strip()
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(" ".join(str(p[k]) for k in ("internal_api", "version", "architecture") if k in p) for p in pools)


def set_up(library: str, threads: int) -> dict[str, Any]:
    """Give the library its threads; its version and instruction set."""
    about: dict[str, Any] = {"version": platform.python_version() if library == "memory" else "", "isa": "native"}
    if library == "fastact":
        import fastact
        from fastact import runtime

        fastact.set_num_threads(threads)
        about = {"version": fastact.__version__, "isa": runtime.instruction_set or "numpy"}
    elif library == "numpy":
        about = {"version": np.__version__, "isa": numpy_isa(), "blas": blas()}
    elif library.startswith("torch"):
        import torch

        torch.set_num_threads(threads)
        about = {"version": torch.__version__, "isa": torch.backends.cpu.get_cpu_capability().lower()}
    elif library != "memory":
        about["version"] = metadata.version(library)
        if library == "jax" and "AVX2" in os.environ.get("XLA_FLAGS", ""):
            about["isa"] = "avx2"
    return about


def fall_asleep(patience: float = 0.2) -> None:
    """Wait until no thread of this process runs any more (pools spin for a while after their last work)."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0004:
            return


def turn(timed: Timed, seconds: float) -> list[float]:
    """Samples of a few milliseconds, after one that warms the caches up."""
    timed.sample()
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        samples.append(timed.sample())
    return samples


def serve(module: str, library: str, threads: int) -> None:
    """Answer requests from standard input until it closes: (whether it was done, answer or message)."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the replies
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    if library not in ("fastact", "numpy"):
        bare = types.ModuleType("fastact")
        bare.__path__ = [str(PACKAGE)]
        sys.modules["fastact"] = bare
    state: dict[str, Any] = {}

    def answer(kind: str, *arguments: Any) -> Any:
        if kind == "open":
            about = set_up(library, threads)
            state["prepare"] = importlib.import_module(f"fastact.measure.{module}").LIBRARIES[library]()
            return about
        if kind == "prepare":
            state["timed"] = state["prepare"](*arguments)
            result = state["timed"].result()
            return result if result is None else np.asarray(result)
        samples = turn(state["timed"], *arguments)
        fall_asleep()
        return samples

    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            reply: tuple[bool | None, Any] = True, answer(*request)
        except NotImplementedError:
            reply = None, ""
        except Exception as error:
            reply = False, f"{type(error).__name__}: {error}"
        try:
            pickle.dump(reply, replies)
            replies.flush()
        except BrokenPipeError:  # nobody is listening any more
            os._exit(1)


# ------------------------------------------------------------------------------------------ in the parent process


class WorkerError(Exception):
    """Why a worker could not do what it was asked."""


class Row(Protocol):
    """One thing to measure in every library."""

    tolerance: tuple[float, float]  # relative and absolute, within which all libraries' results agree

    def request(self, library: str) -> tuple[Any, ...] | None:
        """What the library's ``prepare`` is given; None where the library has nothing for this row."""


# What holds everybody to AVX2: OpenBLAS, MKL, oneDNN, PyTorch, NumPy, JAX (but not its products). ONNX Runtime has no
# such setting.
LIMITED = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTACT_NUM_THREADS", "NPROC")


def environment(threads: int, isa: str | None) -> dict[str, str]:
    """The environment of a worker; isa None is what the machine has."""
    paths = [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]  # the worker measures the fastact that runs here
    made = {
        **os.environ,
        **dict.fromkeys(THREADS, str(threads)),
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    made.pop("FASTACT_BACKEND", None)
    if isa is not None:
        made["FASTACT_ISA"] = isa
    if isa == "avx2":
        found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])  # type: ignore[index, call-overload, unused-ignore]
        made |= LIMITED | {"NPY_DISABLE_CPU_FEATURES": " ".join(f for f in found if "512" in f or "V4" in f)}
    if threads == 1:
        made["XLA_FLAGS"] = made.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    return made


class Worker:
    """The process of one library."""

    def __init__(self, module: str, library: str, threads: int, isa: str | None) -> None:
        self.library = library
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, module, library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(threads, isa),
            start_new_session=True,  # Ctrl-C reaches the parent, which closes the pipes
        )
        try:
            self.information: dict[str, Any] = self.ask("open")
        except BaseException:
            self.close()
            raise

    def ask(self, *request: Any) -> Any:
        """Send a request, wait for the reply; raises NotImplementedError or WorkerError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
            done, reply = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise WorkerError(f"the worker for {self.library} died") from error
        if done is None:
            raise NotImplementedError
        if not done:
            raise WorkerError(f"{self.library}: {reply}")
        return reply

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        self.process.wait()


class Bench:
    """One worker per library (fastact first), and what they measured."""

    def __init__(self, module: str, peers: Iterable[str], threads: int = 1, isa: str | None = None) -> None:
        self.threads = threads
        self.workers: dict[str, Worker] = {}
        try:
            for library in ("fastact", *peers):
                self.workers[library] = Worker(module, library, threads, isa)
        except BaseException:
            self.close()
            raise

    def measure(self, row: Row, rounds: int, seconds: float) -> dict[str, list[float]]:
        """Nanoseconds per call of each library that can run the row, all samples; raises WorkerError."""
        samples: dict[str, list[float]] = {}
        expected: Any = None
        for library, worker in self.workers.items():
            request = row.request(library)
            if request is None:
                continue
            try:
                result = worker.ask("prepare", *request)
            except NotImplementedError:
                continue
            except WorkerError as error:
                raise WorkerError(f"{row}: {error}") from error
            expected = result if expected is None else expected
            if result is not None and not np.allclose(result, expected, *row.tolerance):
                worst = np.abs(np.asarray(result) - expected).max()
                raise WorkerError(f"{row}: {library} computes something else (up to {worst:g} from fastact's)")
            samples[library] = []
        order = list(samples)
        for _ in range(rounds):
            for library in order:
                samples[library] += self.workers[library].ask("turn", seconds)
            order.append(order.pop(0))
        return samples

    def conditions(self) -> dict[str, Any]:
        """On what and with what it is measured."""
        information = {library: dict(worker.information) for library, worker in self.workers.items()}
        return {
            "processor": processor(),
            "isa": information["fastact"]["isa"],
            "threads": self.threads,
            "date": time.strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "blas": information.get("numpy", {}).pop("blas", None),
            "libraries": information,
        }

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def importable(library: str) -> bool:
    """Whether the library (and what its worker needs besides) is installed."""
    needed = {"onnxruntime": ("onnxruntime", "onnx"), "scikit-learn": ("sklearn",), "memory": ()}.get(
        library, (library.split(maxsplit=1)[0],)
    )
    return all(importlib.util.find_spec(name) is not None for name in needed)


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def file_name(what: str, about: dict[str, Any]) -> str:
    """The results file of these conditions: "steps-intel-xeon-avx512-1t.json"."""
    family = re.sub(r"\b(r|tm|cpu|processor|\d+-core)\b|\W*@.*|[^a-z0-9]+", "-", about["processor"].lower())
    return f"{what}-{re.sub('-+', '-', family).strip('-')}-{about['isa']}-{about['threads']}t.json"


def dumps(content: dict[str, Any]) -> str:
    """JSON with a line for each value and, below it, one for each item: a changed row is a changed line."""

    def lines(value: Any) -> str:
        if isinstance(value, dict) and value:
            return "{\n  " + ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()) + "\n }"
        if isinstance(value, list) and value:
            return "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        return json.dumps(value)

    return "{\n " + ",\n ".join(f"{json.dumps(k)}: {lines(v)}" for k, v in content.items()) + "\n}\n"


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
