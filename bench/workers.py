"""Times forms of bench/peers.py: one worker process per library, one of them awake at a time.

Two libraries in one process share caches of compiled code, allocators and thread pools, and a pool that still spins
takes the processor from the next one measured. So every library gets a process of its own with the same number of
threads, on the same CPUs. A worker answers only once all of its threads have gone to sleep, and then blocks on its
pipe. ``Bench.measure`` goes round the workers many times, a few milliseconds each, so that a slow moment of the
machine hits all of them.

A sample is the time per call over a block of calls that work on fresh copies of the input, restored before the clock
starts: in place, a function applied again and again would drift into zeros or subnormal numbers.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import pickle
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

# ------------------------------------------------------------------------------------------ in the worker process

BLOCK_BYTES = 16_384  # small arrays are timed many calls at a time, all of them in the first-level cache


def aligned(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Memory on a cache line's boundary, so that no library is lucky or unlucky."""
    nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned(array.shape, array.dtype.name)
    copy[...] = array
    return copy


class BindModules(ast.NodeTransformer):
    """Replaces dotted names that start at a module by local variables: looking names up is not what is measured."""

    def __init__(self, namespace: dict[str, Any], arrays: Sequence[str]):
        self.namespace, self.arrays, self.found = namespace, arrays, {}

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        text = ast.unparse(node)
        root = text.split(".", 1)[0]
        if root not in self.namespace or root in self.arrays or not re.fullmatch(r"[\w.]+", text):
            return self.generic_visit(node)
        name = "_".join(text.split("."))
        self.found[name] = eval(text, self.namespace)
        return ast.copy_location(ast.Name(name, ast.Load()), node)


class PythonForms:
    """A library whose forms are Python statements on arrays that share memory with NumPy's."""

    def __init__(self, namespace: dict[str, Any]):
        self.namespace = namespace

    def array(self, array: np.ndarray) -> Any:
        return array

    def numpy(self, result: Any) -> np.ndarray:
        return np.asarray(result)

    def prepare(self, form: str | tuple[str, str], forward: bool, arrays: dict[str, np.ndarray]) -> None:
        """Compile the form and lay out its arrays; nothing is timed."""
        setup, timed = form if isinstance(form, tuple) else ("", form)
        fresh = "x" if forward else "g"
        self.source = arrays[fresh]
        calls = max(1, BLOCK_BYTES // self.source.nbytes)
        self.block = aligned((calls, *self.source.shape), self.source.dtype.name)
        self.fresh = [self.array(row) for row in self.block]
        names = {key: self.array(aligned_copy(array)) for key, array in arrays.items() if key != fresh}
        names["t"] = self.array(aligned(self.source.shape, self.source.dtype.name))

        bind = BindModules(self.namespace, [*names, fresh])
        statements = bind.visit(ast.parse(timed)).body
        loop = ast.parse(
            f"def run({fresh}s):\n"
            "    start = clock()\n"
            f"    for {fresh} in {fresh}s:\n"
            "        pass\n"
            "    return clock() - start\n"
            f"def once({fresh}):\n"
            "    pass\n"
        )
        run, once = loop.body
        run.body[1].body = statements
        once.body = [*statements[:-1], ast.Return(statements[-1].value)]
        # A function around both turns the arrays and functions into closure variables, cheaper than globals.
        outer = ast.parse(f"def make({', '.join([*names, *bind.found, 'clock'])}):\n    return run, once")
        outer.body[0].body[:0] = [*ast.parse(setup).body, run, once]
        scope = dict(self.namespace)
        exec(compile(ast.fix_missing_locations(outer), f"<{timed}>", "exec"), scope)
        self.run, self.once = scope["make"](**names, **bind.found, clock=time.perf_counter_ns)

    def result(self) -> np.ndarray:
        """What one call gives."""
        self.restore()
        return self.numpy(self.once(self.fresh[0])).copy()

    def restore(self) -> None:
        np.copyto(self.block, self.source)

    def sample(self) -> float:
        """Nanoseconds per call."""
        return self.run(self.fresh) / len(self.fresh)


class Fastact(PythonForms):
    def __init__(self, threads: int):
        import fastact

        super().__init__({"fa": fastact, "np": np})
        fastact.set_num_threads(threads)
        self.information = {
            "version": fastact.__version__,
            "threads": fastact.get_num_threads(),
            "isa": str(fastact.runtime.instruction_set),
        }


class Numpy(PythonForms):
    def __init__(self, threads: int):
        super().__init__({"np": np})
        self.information = {"version": np.__version__, "threads": 1, "isa": numpy_isa()}

    def prepare(self, form: Any, forward: bool, arrays: dict[str, np.ndarray]) -> None:
        from fastact import registry

        arrays = dict(arrays)
        name, values = arrays.pop("name"), arrays.pop("parameters")
        if name in registry.ACTIVATIONS:
            entry = registry.ACTIVATIONS[name]
            self.namespace["value"] = lambda x: registry.value(entry, x, values)
            self.namespace["slope"] = lambda saved: registry.slope(entry, saved, values)
            if not forward:
                arrays["saved"] = arrays[entry.saved_name]
        super().prepare(form, forward, arrays)


class Torch(PythonForms):
    def __init__(self, threads: int):
        import torch

        torch.set_num_threads(threads)
        self.guard = torch.inference_mode()
        self.guard.__enter__()
        super().__init__({"torch": torch, "nn": torch._C._nn, "aten": torch.ops.aten})
        self.from_numpy = torch.from_numpy
        self.information = {
            "version": torch.__version__,
            "threads": torch.get_num_threads(),
            "isa": torch.backends.cpu.get_cpu_capability().lower(),
        }

    def array(self, array: np.ndarray) -> Any:
        return self.from_numpy(array)

    def numpy(self, result: Any) -> np.ndarray:
        return (result[0] if isinstance(result, tuple) else result).numpy()


class Jax:
    def __init__(self, threads: int):
        import jax

        self.jax = jax
        self.information = {
            "version": jax.__version__,
            "threads": threads,
            "isa": "avx2" if "AVX2" in os.environ.get("XLA_FLAGS", "") else "native",
        }

    def prepare(self, form: str, forward: bool, arrays: dict[str, np.ndarray]) -> None:
        function = eval(f"lambda x: {form}", {"jax": self.jax, "jnp": self.jax.numpy})
        put = self.jax.numpy.array
        if forward:
            self.call, self.arguments = self.jax.jit(function), (put(arrays["x"]),)
        else:
            # Forward's residuals are computed once, as in training; the clock sees backward alone.
            _, pull = self.jax.jit(lambda x: self.jax.vjp(function, x))(put(arrays["x"]))
            self.call, self.arguments = self.jax.jit(lambda pull, g: pull(g)[0]), (pull, put(arrays["g"]))
        self.calls = max(1, BLOCK_BYTES // arrays["x"].nbytes)

    def result(self) -> np.ndarray:
        return np.asarray(self.call(*self.arguments))

    def restore(self) -> None:
        pass

    def sample(self) -> float:
        call, arguments = self.call, self.arguments
        start = time.perf_counter_ns()
        for _ in range(self.calls):
            call(*arguments).block_until_ready()
        return (time.perf_counter_ns() - start) / self.calls


class OnnxRuntime:
    MODEL = '<ir_version: 9, opset_import: ["" : 20]> row ({T}[{N}] x) => ({T}[{N}] y) {{ {nodes} }}'

    def __init__(self, threads: int):
        import onnx.parser
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 4
        self.information = {"version": onnxruntime.__version__, "threads": threads, "isa": "native"}

    def prepare(self, form: str, forward: bool, arrays: dict[str, np.ndarray]) -> None:
        x = aligned_copy(arrays["x"])
        element = {"float32": "float", "float64": "double"}[x.dtype.name]
        model = self.onnx.parser.parse_model(
            self.MODEL.format(T=element, N=",".join("MN"[: x.ndim]), nodes=form.format(T=element))
        )
        session = self.runtime.InferenceSession(
            model.SerializeToString(), self.options, providers=["CPUExecutionProvider"]
        )
        self.y = aligned(x.shape, x.dtype.name)
        binding = session.io_binding()
        binding.bind_input("x", "cpu", 0, x.dtype, x.shape, x.ctypes.data)
        binding.bind_output("y", "cpu", 0, x.dtype, x.shape, self.y.ctypes.data)
        self.call, self.binding, self.keep = session.run_with_iobinding, binding, x
        self.calls = max(1, BLOCK_BYTES // x.nbytes)

    def result(self) -> np.ndarray:
        self.call(self.binding)
        return self.y.copy()

    def restore(self) -> None:
        pass

    def sample(self) -> float:
        call, binding = self.call, self.binding
        start = time.perf_counter_ns()
        for _ in range(self.calls):
            call(binding)
        return (time.perf_counter_ns() - start) / self.calls


ADAPTERS = {"fastact": Fastact, "numpy": Numpy, "torch": Torch, "jax": Jax, "onnxruntime": OnnxRuntime}


def numpy_isa() -> str:
    """The best vector instructions that NumPy found."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    return "avx512" if any("512" in f or f == "X86_V4" for f in found) else (found[-1].lower() if found else "baseline")


def fall_asleep(patience: float = 0.2) -> None:
    """Wait until no thread of this process runs any more (pools spin for a while after their last work)."""
    end = time.perf_counter() + patience
    while time.perf_counter() < end:
        before = time.process_time()
        time.sleep(0.002)
        if time.process_time() - before < 0.0004:
            return


def turn(adapter: Any, seconds: float) -> list[float]:
    """Samples of a few milliseconds, after one that warms the caches up."""
    adapter.restore()
    adapter.sample()
    samples, end = [], time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        adapter.restore()
        samples.append(adapter.sample())
    return samples


def serve(library: str, threads: int) -> None:
    """Answer requests from standard input until it closes."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the replies
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    adapter: Any = None

    def answer(kind: str, *arguments: Any) -> Any:
        nonlocal adapter
        if kind == "open":
            adapter = ADAPTERS[library](threads)
            return adapter.information
        if kind == "prepare":
            adapter.prepare(*arguments)
            return adapter.result()
        samples = turn(adapter, *arguments)
        fall_asleep()
        return samples

    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            reply = True, answer(*request)
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


# What holds everybody to AVX2: OpenBLAS, MKL, oneDNN, PyTorch, NumPy, JAX (but not its products). ONNX Runtime has no
# such setting.
LIMITED = {
    "OPENBLAS_CORETYPE": "Haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def limited() -> dict[str, str]:
    """LIMITED, and NumPy without the instruction sets beyond AVX2 that this machine has."""
    beyond = [f for f in np.show_config(mode="dicts")["SIMD Extensions"].get("found", []) if "512" in f or "V4" in f]
    return {**LIMITED, "NPY_DISABLE_CPU_FEATURES": " ".join(beyond)} if beyond else LIMITED


class Worker:
    """The process of one library."""

    def __init__(self, library: str, threads: int, isa: str | None = None):
        import fastact

        self.library = library
        package = str(Path(fastact.__file__).parents[1])  # the worker measures the fastact that runs here
        environment = {
            **os.environ,
            **dict.fromkeys(
                ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "FASTACT_NUM_THREADS"], str(threads)
            ),
            "JAX_PLATFORMS": "cpu",
            "JAX_ENABLE_X64": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        }
        environment.pop("FASTACT_BACKEND", None)
        if isa is not None:
            environment.update(limited() if isa == "avx2" else {}, FASTACT_ISA=isa)
        self.process = subprocess.Popen(
            [sys.executable, __file__, library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the parent, which closes the pipes
        )
        try:
            self.information = self.ask("open")
        except WorkerError:
            self.close()
            raise

    def ask(self, *request: Any) -> Any:
        """Send a request, wait for the reply; raises WorkerError."""
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
            done, reply = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            raise WorkerError(f"the worker for {self.library} died") from error
        if not done:
            raise WorkerError(reply)
        return reply

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Bench:
    """One worker per library, and what they measured."""

    def __init__(self, libraries: Sequence[str], threads: int = 1, isa: str | None = None):
        self.threads = threads
        self.workers: dict[str, Worker] = {}
        try:
            for library in libraries:
                self.workers[library] = Worker(library, threads, isa)
        except BaseException:
            self.close()
            raise

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """Version, threads and instruction set of each library."""
        return {library: worker.information for library, worker in self.workers.items()}

    def measure(self, row: Any, rounds: int = 12, seconds: float = 0.005) -> dict[str, list[float]]:
        """Nanoseconds per call of each library that can run the row, all samples."""
        import peers

        arrays = inputs(row)
        expected = arrays.pop("expected")
        able: dict[str, list[float]] = {}
        for library, worker in self.workers.items():
            form = peers.form(row, library)
            if form is None:
                continue
            extra = {"name": row.name, "parameters": peers.parameters(row.name)} if library == "numpy" else {}
            try:
                result = worker.ask("prepare", form, row.forward, {**arrays, **extra})
            except WorkerError as error:
                if library == "onnxruntime" and row.dtype == "float64":  # it lacks many kernels in float64
                    continue
                raise WorkerError(f"{row}: {library}: {error}") from error
            # ONNX Runtime's approximations are good to 1e-3 or so; this is to find a form of something else.
            if result.dtype != expected.dtype or not np.allclose(result, expected, rtol=5e-3, atol=1e-3):
                worst = np.abs(result - expected).max()
                raise WorkerError(
                    f"{row}: {library} computes something else than fastact (they differ by up to {worst:g})"
                )
            able[library] = []
        order = list(able)
        for _ in range(rounds):
            for library in order:
                able[library] += self.workers[library].ask("turn", seconds)
            order.append(order.pop(0))
        return able

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inputs(row: Any) -> dict[str, np.ndarray]:
    """The row's arrays, as random as pre-activations are, and what fastact makes of them with one thread."""
    import peers

    import fastact

    forward, backward = peers.fastact_forms(row.name)
    here = PythonForms({"fa": fastact, "np": np})
    draw = np.random.default_rng(row.size)
    x = draw.standard_normal(row.shape).astype(row.dtype)
    with fastact.num_threads(1):
        here.prepare(forward, True, {"x": x})
        y = here.result()
        if row.forward:
            return {"x": x, "expected": y}
        arrays = {"x": x, "y": y, "g": draw.standard_normal(y.shape).astype(row.dtype)}
        here.prepare(backward, False, arrays)
        return {**arrays, "expected": here.result()}


def importable(library: str) -> bool:
    """Whether the library (and what its worker needs besides) is installed."""
    needed = {"onnxruntime": ("onnxruntime", "onnx")}.get(library, (library,))
    return all(importlib.util.find_spec(name) is not None for name in needed)


def summary(samples: Sequence[float]) -> dict[str, float]:
    """Minimum and median of the samples, in nanoseconds per call."""
    return {"min_ns": min(samples), "median_ns": statistics.median(samples)}


def cpu_model() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
