"""Measured accuracy: the largest error of every kernel in units in the last place, against independent references.

Three columns: ``forward``; ``backward``, against grad * slope(saved), which is what backward is given; and
``derivative``, against grad * f'(x) at the true x, which a slope formed from a rounded y cannot know better than y
does.

float32 is measured against the registry's NumPy formulas in float64, on every bit pattern when asked. float64 is
measured against the registry's formula texts evaluated by mpmath in 50 digits, on dense, random and hard points and on
the worst that a guided search finds.
"""

from __future__ import annotations

import ast
import json
import math
import multiprocessing
import platform
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from itertools import islice, pairwise
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from .. import backends, functional, registry, runtime
from ..registry import ACTIVATIONS, Entry
from .processes import dumps
from .search import near_root, worst

__all__ = ["Column", "Measurement", "measure", "ulp_error"]

CHUNK = 1 << 14  # small temporaries: they stay in the second-level cache and the allocator's bins
PIECE = 1 << 22  # what a process is given at a time
STRIDE = 4099  # prime: a sample of float32's bit patterns that meets every exponent and no pattern in the mantissa
ROOT_WIDTH = 0.25  # this near a root of the slope the error is measured against grad, not against the tiny product


_EXPONENT = np.int64(0x7FF0_0000_0000_0000)


def ulp_error(got: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|got - reference| in units in the last place of got's dtype at the reference, which is exact enough in float64.

    Infinite where one is NaN and the other is not, or where only one is infinite, except that a reference beyond the
    largest finite number counts as infinity. Subnormal results have the smallest unit.
    """
    kind = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        wide = got.astype(np.float64)
        reference = np.asarray(reference, np.float64)
        binade = (reference.view(np.int64) & _EXPONENT).view(np.float64)  # 2^floor(log2 |reference|)
        unit = np.maximum(binade * 2.0**-kind.nmant, float(kind.smallest_subnormal))
        difference = np.abs(wide - reference)
        error = difference / unit
    odd = ~np.isfinite(error)  # NaN, infinity, or overflow on either side: sorted out one by one
    if odd.any():
        g, r = wide[odd], reference[odd]
        largest, beyond = float(kind.max), math.ldexp(1, kind.maxexp) if kind.bits == 32 else math.inf
        rounds_to_infinity = np.abs(r) >= largest * (1 + 2.0 ** -(kind.nmant + 2))
        same = (g == np.where(rounds_to_infinity, np.copysign(np.inf, r), r)) | (np.isnan(g) & np.isnan(r))
        # Where rounding decides whether a result overflows, infinity counts as the number after the largest.
        close = ~np.isnan(g) & (np.abs(r) <= beyond * (1 + 4 * float(kind.eps))) & np.isfinite(r)
        with np.errstate(invalid="ignore"):
            distance = np.abs(np.clip(g, -beyond, beyond) - np.clip(r, -beyond, beyond)) / (beyond - largest)
        error[odd] = np.where(same, 0.0, np.where(close & (beyond < math.inf), distance, np.inf))
    return error


@dataclass
class Column:
    """The largest error of one column, where it is, and how many values were looked at."""

    ulp: float = 0.0
    at: float = math.nan
    grad: float | None = None  # what backward was given there
    count: int = 0
    near_root: float = 0.0  # largest error in units of eps * |grad| within ROOT_WIDTH of a root of the slope

    def take(self, errors: np.ndarray, x: np.ndarray, grad: np.ndarray | None = None) -> None:
        """Look at the errors of the values at x, backward's with grad."""
        self.count += errors.size
        if errors.size and (most := int(np.argmax(errors))) >= 0 and errors.flat[most] > self.ulp:
            self.ulp, self.at = float(errors.flat[most]), float(x.flat[most])
            self.grad = None if grad is None else float(grad.flat[most])

    def merge(self, other: Column) -> None:
        self.count += other.count
        self.near_root = max(self.near_root, other.near_root)
        if other.ulp > self.ulp:
            self.ulp, self.at, self.grad = other.ulp, other.at, other.grad


@dataclass
class Measurement:
    """Errors of one activation in one dtype."""

    name: str
    dtype: str
    parameters: dict[str, float] = field(default_factory=dict)
    exhaustive: bool = False
    searched: int = 0  # points that a guided search looked at, forward and backward each
    forward: Column = field(default_factory=Column)
    backward: Column = field(default_factory=Column)
    derivative: Column = field(default_factory=Column)

    @property
    def inputs(self) -> int:
        return self.forward.count

    def merge(self, other: Measurement) -> None:
        self.forward.merge(other.forward)
        self.backward.merge(other.backward)
        self.derivative.merge(other.derivative)

    def as_dict(self) -> dict[str, Any]:
        result = asdict(self)
        for column in ("forward", "backward", "derivative"):
            if math.isnan(result[column]["at"]):
                result[column]["at"] = None
        return result


def _forward(entry: Entry, x: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    return getattr(functional, entry.name)(x, *values)


def _backward(entry: Entry, grad: np.ndarray, saved: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    return getattr(functional, f"{entry.name}_backward")(grad, saved, *values)


def _gradients(x: np.ndarray) -> np.ndarray:
    """Upstream gradients of both signs from 2^-20 to 2^20, fixed by the position."""
    i = np.arange(x.size, dtype=np.float64)
    sign = np.where(np.mod(i, 2) == 0, 1, -1)
    return (sign * np.exp2(np.mod(i * 0.6180339887498949, 1) * 40 - 20)).astype(x.dtype)


_GRADIENTS = _gradients(np.empty(CHUNK, np.float32))


def _take_backward(
    column: Column, entry: Entry, got: np.ndarray, reference: np.ndarray, grad: np.ndarray, x: np.ndarray
) -> None:
    """Errors of normal results; near a root of the slope in units of eps * |grad|."""
    kind = np.finfo(got.dtype)
    errors = ulp_error(got, reference)
    size = np.abs(reference)
    errors[(size < float(kind.smallest_normal)) & (size > 0)] = 0
    near = near_root(entry, x, ROOT_WIDTH)
    errors[near] = 0
    column.take(errors, x, grad)
    if near.any():
        distance = np.abs(np.asarray(got, np.float64)[near] - reference[near])
        scaled = distance / (float(kind.eps) * np.abs(grad[near].astype(np.float64)))
        column.near_root = max(column.near_root, float(scaled.max()))


def _measure_float32(entry: Entry, bits: np.ndarray, values: tuple[float, ...]) -> Measurement:
    """All three columns on those bit patterns, against the NumPy formulas in float64."""
    result = Measurement(entry.name, "float32")
    x = bits.astype(np.uint32).view(np.float32)
    exact = tuple(float(v) for v in registry.rounded(values, x.dtype))
    with np.errstate(invalid="ignore"):  # signalling NaNs
        wide = x.astype(np.float64)
    y = _forward(entry, x, values)
    exact_y = registry.value(entry, wide, exact)
    result.forward.take(ulp_error(y, exact_y), x)

    finite = np.isfinite(x)
    if not finite.all():
        x, wide, y, exact_y = x[finite], wide[finite], y[finite], exact_y[finite]
    grad = _GRADIENTS[: x.size]
    wide_grad = grad.astype(np.float64)
    dx = _backward(entry, grad, x if entry.saves == "x" else y, values)
    saved = wide if entry.saves == "x" else y.astype(np.float64)
    _take_backward(result.backward, entry, dx, registry.gradient(entry, wide_grad, saved, exact, x.dtype), grad, x)
    if entry.saves == "x":  # nothing was rounded before the slope
        result.derivative = result.backward
    else:
        _take_backward(result.derivative, entry, dx, registry.gradient(entry, wide_grad, exact_y, exact), grad, x)
    return result


def _patterns(exhaustive: bool) -> Iterator[np.ndarray]:
    """float32 bit patterns in chunks: all, or every STRIDE-th and the neighbourhoods of special points."""
    if exhaustive:
        for start in range(0, 1 << 32, CHUNK):
            yield np.arange(start, start + CHUNK, dtype=np.uint64)
        return
    sample = np.arange(0, 1 << 32, STRIDE, dtype=np.uint64)
    yield from np.array_split(sample, sample.size // CHUNK + 1)
    special = np.array([0, 0.5, 1, 2, 3, 6, 9, 17, 20, 88.72, 103.97, 1e-38, 1e-45, 3e38], np.float32).view(np.uint32)
    around = (special.astype(np.int64)[:, np.newaxis] + np.arange(-512, 513)).ravel()
    around = around[(around >= 0) & (around < 1 << 31)]
    both = np.concatenate([around, around + (1 << 31)]).astype(np.uint64)
    yield from np.array_split(both, both.size // CHUNK + 1)


def _float64_points(entry: Entry, count: int) -> np.ndarray:
    """Dense, random and hard points: where results are ordinary, where they vanish, and beside every change."""
    generator = np.random.default_rng(20)
    third = count // 3
    dense = np.linspace(-40, 40, third)
    spread = generator.choice([-1.0, 1.0], third) * np.exp(generator.uniform(-40, 6.6, third))
    tail = generator.uniform(-760, 30, third // 2)
    edges = np.array([0.5, 1, 2, 3, 6, math.log(2) / 2, math.log(2), 0.75, 5.0, 8.3, 18.7, 36.7, 38.4, 708.4, 745.1])
    hard = np.concatenate([e * (1 + np.arange(-3, 4) * 2.0**-52) for e in (*edges, *-edges)])
    near = [r + generator.uniform(-1e-3, 1e-3, 20) for r in entry.slope_roots]
    return np.concatenate([dense, spread, tail, hard, *near, [0.0, -0.0, 5e-324, 2.3e-308, 1e300, -1e300]])


def check(dtypes: Iterable[str]) -> None:
    """Raise ImportError, which says what to install, where these need mpmath and there is none."""
    if "float64" in dtypes and find_spec("mpmath") is None:
        raise ImportError(
            "accuracy: float64 is measured against mpmath; install it with pip install fastact[bench], or measure "
            "float32 alone (--dtype float32)"
        )


def _names() -> dict[str, Callable[..., Any]]:
    """What a formula text may use, in mpmath."""
    import mpmath as mp

    def normal_distribution(x: Any) -> Any:
        if abs(x) > 1e4:  # where mpmath's series gives up
            return mp.mpf(x > 0)
        return mp.erfc(-x / mp.sqrt(2)) / 2

    return {
        "exp": mp.exp,
        "expm1": mp.expm1,
        "log1p": mp.log1p,
        "tanh": mp.tanh,
        "sqrt": mp.sqrt,
        "pi": mp.pi,
        "abs": abs,
        "max": max,
        "min": min,
        "mpf": mp.mpf,
        "Phi": normal_distribution,
        "phi": lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi),
        "s": lambda x: 1 / (1 + mp.exp(-x)),
        "SELU_ALPHA": mp.mpf("1.6732632423543772848170429916717"),
        "SELU_LAMBDA": mp.mpf("1.0507009873554804934193349852946"),
        "SELU_LIMIT": mp.mpf("1.7580993408473768599402175208123"),
        "__builtins__": {},
    }


class _ExactNumbers(ast.NodeTransformer):
    """0.044715 as mpf("0.044715"): the decimal that is written, not the nearest double, and 1 / 6 likewise."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not isinstance(node.value, int | float):
            return node
        return ast.Call(ast.Name("mpf", ast.Load()), [ast.Constant(repr(node.value))], [])


def _exact(formula: str) -> CodeType:
    tree = _ExactNumbers().visit(ast.parse(formula, mode="eval"))
    return compile(ast.fix_missing_locations(tree), "<formula>", "eval")


def _measure_float64(entry: Entry, values: tuple[float, ...], count: int, searched: int) -> Measurement:
    """All three columns against the formula texts in mpmath."""
    import mpmath as mp

    result = Measurement(entry.name, "float64", searched=searched)
    x = _float64_points(entry, count)
    grad = _gradients(x)
    if searched:
        found = worst(entry, values, searched, ROOT_WIDTH)
        x, grad = np.concatenate([x, found[0]]), np.concatenate([grad, found[1]])
    y = _forward(entry, x, values)
    saved = x if entry.saves == "x" else y
    dx = _backward(entry, grad, saved, values)
    formula, slope_formula = _exact(entry.formula), _exact(entry.slope_formula)
    with mp.workdps(50):
        names: dict[str, Any] = {
            **_names(),
            **{p.name: mp.mpf(v) for p, v in zip(entry.parameters, values, strict=True)},
        }
        # backward is measured with its constants rounded to the dtype, as the kernel has them
        as_rounded = {name: mp.mpf(c) for name, c in entry.slope_constants.items()}
        near = near_root(entry, x, ROOT_WIDTH)
        for i, at in enumerate(x.tolist()):
            if 0 < abs(at) < 1:  # as many digits more as x - tanh(x) cancels
                mp.mp.dps = 50 + int(-2 * math.log10(abs(at)))
            exact = mp.mpf(eval(formula, names, {"x": mp.mpf(at)}))
            result.forward.take(_distance(y[i : i + 1], exact), x[i : i + 1])
            known = saved[i].item()
            exact_saved = mp.mpf(at) if entry.saves == "x" else exact
            for column, argument, given in (
                (result.backward, mp.mpf(known), {**names, **as_rounded}),
                (result.derivative, exact_saved, names),
            ):
                true = grad[i].item() * mp.mpf(eval(slope_formula, given, {entry.saved_name: argument}))
                if true != 0 and abs(true) < mp.mpf(2) ** -1022:
                    continue
                if near[i]:
                    eps = float(np.finfo(np.float64).eps) * abs(grad[i].item())
                    column.near_root = max(column.near_root, float(abs(mp.mpf(dx[i].item()) - true) / eps))
                    continue
                column.take(_distance(dx[i : i + 1], true), x[i : i + 1], grad[i : i + 1])
    return result


def _distance(got: np.ndarray, exact: Any) -> np.ndarray:
    """Units in the last place, at the exact value, between a float64 and an mpmath number, in an array."""
    import mpmath as mp

    value = got.item()
    if not math.isfinite(value):
        return np.array([0.0 if float(exact) == value else math.inf])
    _, exponent = mp.frexp(exact)
    return np.array([float(mp.ldexp(abs(mp.mpf(value) - exact), -max(exponent - 53, -1074)))])


def measure(
    entry: Entry,
    dtype: str,
    values: tuple[float, ...] | None = None,
    *,
    exhaustive: bool = False,
    points: int = 3000,
    searched: int = 0,
    workers: int | None = None,
    progress: Callable[[int], Any] | None = None,
) -> Measurement:
    """The errors of one activation, float32 or float64, with the backend and instruction set in use.

    ``exhaustive`` goes through all 2^32 float32 inputs in ``workers`` processes (default: one for each CPU this process
    may use); a function takes up to a quarter of an hour, divided by their number. float64 looks at about ``points``
    inputs and at the worst of ``searched`` more (a second or two a million). ``progress`` is called with the number of
    inputs done.
    """
    values = entry.defaults if values is None else values
    total = Measurement(
        entry.name, dtype, dict(zip((p.name for p in entry.parameters), values, strict=True)), exhaustive
    )
    if dtype == "float64":
        with runtime.num_threads(1):
            total.merge(_measure_float64(entry, values, points, searched))
        total.exhaustive, total.searched = False, searched
        return total
    count = workers or (runtime._usable_cpus() if exhaustive else 1)
    if count > 1 and exhaustive and ACTIVATIONS.get(entry.name) is entry:
        parts: Iterable[Measurement] = _in_processes(entry, values, count, range(0, 1 << 32, PIECE))
    else:
        parts = (_measure_float32(entry, bits, values) for bits in _patterns(exhaustive))
    with runtime.num_threads(1):
        for part in parts:
            total.merge(part)
            if progress is not None:
                progress(part.inputs)
    return total


def _in_processes(entry: Entry, values: tuple[float, ...], count: int, starts: Iterable[int]) -> Iterator[Measurement]:
    """The pieces of float32's bit patterns that begin there, each measured by one of so many processes.

    Threads would wait for each other: a reference is many short NumPy calls.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _ignore_interrupts) as pool:
        tasks = (pool.submit(_piece, entry.name, values, start, backends.get_backend()) for start in starts)
        try:
            pending = deque(islice(tasks, 2 * count))  # never hold more than a few
            while pending:
                yield pending.popleft().result()
                pending.extend(islice(tasks, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the one that waits for the pieces deals with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _piece(name: str, values: tuple[float, ...], start: int, backend: str) -> Measurement:
    """What one process measures at a time."""
    total = Measurement(name, "float32")
    with backends.use_backend(backend), runtime.num_threads(1):
        for at in range(start, start + PIECE, CHUNK):
            total.merge(_measure_float32(ACTIVATIONS[name], np.arange(at, at + CHUNK, dtype=np.uint64), values))
    return total


def write_results(measurements: list[Measurement], path: Path) -> None:
    """Merge into the results file (JSON), atomically: what was not measured now stays as it was."""
    from ..files import write_atomically

    known: dict[str, Any] = {}
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
    for m in measurements:
        key = m.name + "".join(f" {k}={v:g}" for k, v in m.parameters.items() if v != _default(m.name, k))
        known.setdefault(key, {})[m.dtype] = {
            **m.as_dict(),
            "instruction_set": runtime.instruction_set,
            "machine": platform.machine(),
        }
    write_atomically(path, dumps(dict(sorted(known.items()))).encode())


def _default(name: str, parameter: str) -> float:
    return next(p.default for p in ACTIVATIONS[name].parameters if p.name == parameter)


def grid(entry: Entry) -> Iterator[tuple[float, ...]]:
    """Other parameter values than the defaults, one parameter at a time: tiny, ordinary and large ones in its range."""
    for i, parameter in enumerate(entry.parameters):
        for value in (-5.0, -0.3, 0.0, 1e-3, 0.1, 0.3, 0.7, 1.0, 1.7, 3.0, 10.0, 100.0):
            values = (*entry.defaults[:i], value, *entry.defaults[i + 1 :])
            rising = not entry.ordered or all(a < b for a, b in pairwise(values))
            if parameter.accepts(value) and rising and values != entry.defaults:
                yield values


def settings(
    name: Sequence[str] = (), dtype: Sequence[str] = ("float32", "float64")
) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """(activation, dtype, parameter values) of the whole grid."""
    for one in name or ACTIVATIONS:
        for values in grid(ACTIVATIONS[one]):
            for real in dtype:
                yield one, real, values
