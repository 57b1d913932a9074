"""Rows of activations: one function, direction, dtype and size, in place, in fastact and in its ``peers``.

A sample is the time per call over a block of calls that work on fresh copies of the input, restored before the clock
starts: in place, a function applied again and again would drift into zeros or subnormal numbers.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .processes import Repeated

BLOCK_BYTES = 16_384  # small arrays are timed many calls at a time, all of them in the first-level cache
UNIT, ROUNDS, SECONDS = "nanoseconds an element", 12, 0.005
PEERS = ("numpy", "torch", "jax", "onnxruntime")  # "memory" is measured where it is asked for
Arrays = dict[str, np.ndarray]


# ------------------------------------------------------------------------------------------ in the worker process


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


class Statements:
    """A form that is Python statements, on arrays that share memory with NumPy's."""

    def __init__(
        self, namespace: dict[str, Any], form: str | tuple[str, str], forward: bool, arrays: Arrays,
        array: Callable[[np.ndarray], Any] = lambda a: a,
    ) -> None:  # fmt: skip
        setup, timed = form if isinstance(form, tuple) else ("pass", form)
        fresh = "x" if forward else "g"
        self.source = arrays[fresh]
        calls = max(1, BLOCK_BYTES // self.source.nbytes)
        self.block = aligned((calls, *self.source.shape), self.source.dtype.name)
        self.fresh = [array(row) for row in self.block]
        names = {key: array(aligned_copy(a)) for key, a in arrays.items() if key != fresh}
        names |= {"t": array(aligned(self.source.shape, self.source.dtype.name)), "clock": time.perf_counter_ns}

        def bind(found: re.Match[str]) -> str:
            """Dotted names of modules become local variables: looking names up is not what is measured."""
            name = found[0].replace(".", "_")
            names[name] = eval(found[0], namespace)
            return name

        timed = re.sub(rf"\b({'|'.join(namespace)})(\.\w+)+", bind, timed)
        first, semicolon, last = timed.rpartition(";")
        # A function around both turns the arrays and functions into closure variables, cheaper than globals.
        source = (
            f"def make({', '.join(names)}):\n"
            f"    {setup}\n"
            f"    def run({fresh}s):\n"
            "        start = clock()\n"
            f"        for {fresh} in {fresh}s:\n"
            f"            {timed}\n"
            "        return clock() - start\n"
            f"    def once({fresh}):\n"
            f"        {first}{semicolon} return {last}\n"
            "    return run, once\n"
        )
        scope = dict(namespace)
        exec(compile(source, f"<{timed}>", "exec"), scope)
        self.run, self.once = scope["make"](**names)

    def result(self) -> np.ndarray | None:
        np.copyto(self.block, self.source)
        result = self.once(self.fresh[0])
        return None if result is None else np.array(result[0] if isinstance(result, tuple) else result)

    def sample(self) -> float:
        np.copyto(self.block, self.source)
        return self.run(self.fresh) / len(self.fresh)


Prepare = Callable[[Any, bool, Arrays, str, tuple[float, ...]], Any]


def use_fastact() -> Prepare:
    import fastact

    return lambda form, forward, arrays, *_: Statements({"fa": fastact, "np": np}, form, forward, arrays)


def use_numpy() -> Prepare:
    from .. import registry

    def prepare(form: Any, forward: bool, arrays: Arrays, name: str, values: tuple[float, ...]) -> Statements:
        namespace: dict[str, Any] = {"np": np}
        if name in registry.ACTIVATIONS:
            entry = registry.ACTIVATIONS[name]
            namespace["value"] = lambda x: registry.value(entry, x, values)
            namespace["slope"] = lambda saved: registry.slope(entry, saved, values)
            arrays = arrays if forward else {**arrays, "saved": arrays[entry.saved_name]}
        return Statements(namespace, form, forward, arrays)

    return prepare


def use_torch() -> Prepare:
    import torch

    torch.inference_mode().__enter__()
    names = {"torch": torch, "nn": torch._C._nn, "aten": torch.ops.aten}
    return lambda form, forward, arrays, *_: Statements(names, form, forward, arrays, torch.from_numpy)


def use_jax() -> Prepare:
    import jax

    def prepare(form: str, forward: bool, arrays: Arrays, *_: Any) -> Repeated:
        function = eval(f"lambda x: {form}", {"jax": jax, "jnp": jax.numpy})
        put = jax.numpy.array
        call: Any
        arguments: tuple[Any, ...]
        if forward:
            call, arguments = jax.jit(function), (put(arrays["x"]),)
        else:
            # Forward's residuals are computed once, as in training; the clock sees backward alone.
            _, pull = jax.jit(lambda x: jax.vjp(function, x))(put(arrays["x"]))
            call, arguments = jax.jit(lambda pull, g: pull(g)[0]), (pull, put(arrays["g"]))
        return Repeated(lambda: call(*arguments).block_until_ready())

    return prepare


MODEL = '<ir_version: 9, opset_import: ["" : 20]> row ({T}[{N}] x) => ({T}[{N}] y) {{ {nodes} }}'


def use_onnxruntime() -> Prepare:
    import onnx.parser
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.inter_op_num_threads = 1
    options.log_severity_level = 4

    def prepare(form: str, forward: bool, arrays: Arrays, *_: Any) -> Repeated:
        x = aligned_copy(arrays["x"])
        element = {"float32": "float", "float64": "double"}[x.dtype.name]
        text = MODEL.format(T=element, N=",".join("MN"[: x.ndim]), nodes=form.format(T=element))
        model = onnx.parser.parse_model(text).SerializeToString()
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            if element == "double":  # it lacks many kernels in float64
                raise NotImplementedError from error
            raise
        y = aligned(x.shape, x.dtype.name)
        binding = session.io_binding()
        binding.bind_input("x", "cpu", 0, x.dtype, x.shape, x.ctypes.data)
        binding.bind_output("y", "cpu", 0, x.dtype, x.shape, y.ctypes.data)

        def call(run: Any = session.run_with_iobinding, binding: Any = binding, x: np.ndarray = x) -> None:
            run(binding)  # x stays alive as long as this function

        def result() -> np.ndarray:
            call()
            return y.copy()

        return Repeated(call, result)

    return prepare


def use_memory() -> Prepare:
    """The limit of what is larger than the caches: a bare C loop over the same arrays."""
    from .limits import compiled

    loops, threads = compiled("native"), int(os.environ["OMP_NUM_THREADS"])

    def stream(x: np.ndarray, factor: np.ndarray | None = None) -> None:
        loop = getattr(loops, x.dtype.name)
        loop(x.ctypes, None if factor is None else factor.ctypes, ctypes.c_long(x.size), threads)

    return lambda form, forward, arrays, *_: Statements({"stream": stream}, form, forward, arrays)


LIBRARIES = {
    "fastact": use_fastact,
    "numpy": use_numpy,
    "torch": use_torch,
    "jax": use_jax,
    "onnxruntime": use_onnxruntime,
    "memory": use_memory,
}

# ------------------------------------------------------------------------------------------ in the parent process


@dataclass(frozen=True)
class Row:
    name: str
    direction: str
    dtype: str
    size: int
    # ONNX Runtime's approximations are good to 1e-3 or so; this is to find a form of something else.
    tolerance = (5e-3, 1e-3)

    def __str__(self) -> str:
        return f"{self.name}-{self.direction}-{self.dtype}-{self.size}"

    @property
    def forward(self) -> bool:
        return self.direction == "forward"

    @property
    def scale(self) -> float:
        """Nanoseconds a call are so many units."""
        return 1 / self.size

    def request(self, library: str) -> tuple[Any, ...] | None:
        from .peers import form, parameters

        used = form(self.name, library, self.forward)
        return None if used is None else (used, self.forward, inputs(self), self.name, parameters(self.name))


@functools.lru_cache(maxsize=1)
def inputs(row: Row) -> Arrays:
    """The row's arrays, as random as pre-activations are; y is what fastact makes of x."""
    import fastact

    from .peers import form, peers_of

    columns = peers_of(row.name).columns
    draw = np.random.default_rng(row.size)
    x = draw.standard_normal((row.size,) if columns is None else (row.size // columns, columns)).astype(row.dtype)
    if row.forward:
        return {"x": x}
    forward = form(row.name, "fastact", True)
    assert forward is not None
    y = Statements({"fa": fastact, "np": np}, forward, True, {"x": x}).result()
    assert y is not None
    return {"x": x, "y": y, "g": draw.standard_normal(y.shape).astype(row.dtype)}


def rows(
    name: Sequence[str] = (), direction: Sequence[str] = ("forward", "backward"), dtype: Sequence[str] = ("float32",),
    size: Sequence[str | int] = (65_536,),
) -> Iterator[Row]:  # fmt: skip
    """All rows of these activations (of all that there are, if none is named)."""
    from .peers import NAMES, peers_of

    unknown = [n for n in name if n not in NAMES]
    if unknown:
        raise LookupError(f"no activation {', '.join(unknown)}; there are {', '.join(NAMES)}")
    for one, way, real, n in itertools.product(name or NAMES, direction, dtype, size):
        columns = peers_of(one).columns or 1
        yield Row(one, way, real, max(int(n) // columns, 1) * columns)
