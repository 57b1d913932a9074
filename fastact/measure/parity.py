"""Parity: what the kernels compute on this machine, beside the NumPy twins and exact values.

Everything comes from the lists (``registry``, ``losses.FACTS``, ``optim.OPTIMIZERS``), so what is added there is
checked here. Elementwise kernels are measured in units in the last place, against the registry's formulas one
precision up and, on special points, against the formula texts in decimal numbers. All else is measured against its
twin in the same dtype, in units of eps times the largest value of the twin's result; there the bound is ``TWIN``.
Each instruction set is measured with one thread, and has to give the same bits with more.
"""

from __future__ import annotations

import decimal
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np

from .. import backends, epilogues, functional, losses, registry, runtime
from ..dtypes import FLOATS, Float
from ..layers import Dense
from ..network import Sequential
from ..optim import OPTIMIZERS
from ..registry import ACTIVATIONS, LEARNED, Entry
from ..training import fit
from .accuracy import ROOT_WIDTH, _exact, _gradients
from .search import near_root

__all__ = ["Report", "Row", "check"]

POINTS = 6000
TWIN = 64.0  # eps of the largest value: two orders of summation and two exponentials differ by less than a tenth of it
STEPS = 12  # of the training run
EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant
HAS_FMA = platform.machine() in ("aarch64", "arm64")  # the baseline has, too
Results = dict[str, np.ndarray]


@dataclass
class Row:
    """The largest error of one function in one dtype, over instruction sets and threads, and where it is.

    ``bound`` is the one that holds there: the baseline without FMA has larger ones in float64.
    """

    function: str
    dtype: str
    bound: float
    ulp: float = 0.0
    at: str = ""
    failures: list[str] = field(default_factory=list)  # the input that shows each

    def take(self, error: float, at: str, bound: float | None = None) -> None:
        """Look at an error; bound, where another than the row's holds."""
        bound = self.bound if bound is None else bound
        if not error <= bound:
            self.failures.append(f"{at}: {error:.4g} ULP")
        if not error <= self.ulp:
            self.ulp, self.at, self.bound = error, at, bound


@dataclass
class Report:
    """What ``check`` found: ``ok``, and a row a function and dtype. ``str`` of it is a table."""

    instruction_sets: list[str]
    threads: list[int]
    rows: list[Row]

    @property
    def ok(self) -> bool:
        """Whether every error is within its bound."""
        return not any(row.failures for row in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The content as JSON can hold it: an infinite error, of a result that is not a number, is None."""
        rows = [asdict(row) | {"ulp": row.ulp if np.isfinite(row.ulp) else None} for row in self.rows]
        return {"ok": self.ok, **asdict(self), "rows": rows}

    def __str__(self) -> str:
        sets = ", ".join(self.instruction_sets)
        lines = [f"{sets}; threads {', '.join(map(str, self.threads))}", ""]
        lines.append(f"{'function':38}{'dtype':9}{'ULP':>10}{'bound':>10}")
        for row in self.rows:
            mark = "  FAILS" if row.failures else ""
            lines.append(f"{row.function:38}{row.dtype:9}{row.ulp:10.3f}{row.bound:10.4g}{mark}")
        for row in self.rows:
            lines += [f"{row.function} {row.dtype}: {failure}" for failure in row.failures[:3]]
        failed = sum(bool(row.failures) for row in self.rows)
        lines += ["", f"{len(self.rows)} checked, {failed} beyond the bound"]
        return "\n".join(lines)


def check() -> Report:
    """Compare the compiled kernels with the NumPy twins and with exact values, on this machine.

    Every activation, dense layer, loss and optimiser and a training run, float32 and float64, with every instruction
    set of this processor and from one thread to all. Takes some seconds. No other thread should compute with fastact
    meanwhile: the instruction set is the process's.

    Returns a ``Report``: ``ok``, ``rows`` and ``as_dict()``; ``print`` shows a table. Raises RuntimeError where the
    compiled core is missing, as there is nothing to compare then.
    """
    if not backends.compiled:
        raise RuntimeError("check: expected the compiled kernels, got the numpy backend alone; install a wheel")
    sets = [name for name, supported in backends.engine.instruction_sets() if supported]
    most = runtime._usable_cpus()
    threads = sorted({min(2**i, most) for i in range(most.bit_length() + 1)})
    rows = []
    with _everything_shared():
        for kind in FLOATS:
            for entry in ACTIVATIONS.values():
                rows += _elementwise(entry, kind, sets, threads)
            for name, compute in _cases(kind):
                rows.append(_against_twin(name, kind, compute, sets, threads))
    return Report(sets, threads, rows)


# ------------------------------------------------------------------------------------------------ how


@contextmanager
def _everything_shared() -> Iterator[None]:
    """Let work of any size use all threads; the instruction set and the sizes are as before afterwards."""
    sizes = runtime.THRESHOLDS
    try:
        runtime.set_thresholds(0, 0, 0, dict.fromkeys(sizes, 0))
        yield
    finally:
        runtime.set_thresholds(sizes["rows"], sizes["updates"], sizes["products"])
        backends.engine.use_instruction_set(runtime.instruction_set)


def _natively(
    compute: Callable[[], Results], sets: list[str], threads: list[int], row: Callable[[str], Row]
) -> Iterator[tuple[str, Results]]:
    """What each instruction set computes with one thread; other bits with more threads are a failure."""
    for name in sets:
        backends.engine.use_instruction_set(name)
        first: Results = {}
        for n in threads:
            with backends.use_backend("native"), runtime.num_threads(n):
                found = compute()
            first = first or found
            for key, array in found.items():
                if array.tobytes() != first[key].tobytes():
                    differ = (array != first[key]) & ~(np.isnan(array) & np.isnan(first[key]))
                    place = np.argwhere(differ)[0].tolist() if differ.any() else "a sign or a NaN"
                    row(key).failures.append(f"{name}, {n} threads: other bits than one thread, at {place}")
        yield name, first


def _ulp(got: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """|got - reference| in units in the last place of got's dtype at the reference, which may be a longdouble."""
    kind = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = reference.astype(got.dtype)
        _, exponent = np.frexp(np.where(np.isfinite(reference), reference, 1))
        unit = np.ldexp(reference.dtype.type(1), np.maximum(exponent - 1, kind.minexp) - kind.nmant)
        error = np.abs(got.astype(reference.dtype) - reference) / unit
        same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
        border = np.isfinite(reference) & (np.abs(reference) > float(kind.max) * (1 - 4 * float(kind.eps)))
        near = border & (np.abs(got) > float(kind.max) * (1 - 8 * float(kind.eps))) & (got * reference > 0)
    odd = ~np.isfinite(got) | ~np.isfinite(rounded)
    return np.where(odd, np.where(same | near, 0, np.inf), error).astype(np.float64)


# ------------------------------------------------------------------------------------------------ elementwise


def _points(entry: Entry, dtype: np.dtype) -> np.ndarray:
    """Dense and random points of every magnitude, and special ones."""
    generator = np.random.default_rng(7)
    info = np.finfo(dtype)
    spread = generator.choice([-1.0, 1.0], POINTS) * np.exp(generator.uniform(-40, 6.6, POINTS))
    special = [0.0, float(info.smallest_subnormal), float(info.smallest_normal), float(info.max), np.inf]
    roots = [r + generator.uniform(-1e-3, 1e-3, 20) for r in entry.slope_roots]
    parts = [
        np.linspace(-40, 40, POINTS),
        np.linspace(-3.5, 3.5, POINTS),
        spread,
        *roots,
        special,
        np.negative(special),
    ]
    return np.concatenate([*parts, [np.nan]]).astype(dtype)


def _elementwise(entry: Entry, kind: Float, sets: list[str], threads: list[int]) -> list[Row]:
    """Forward and backward of one activation."""
    dtype = kind.dtype
    wide = np.dtype(np.float64 if dtype == np.float32 else np.longdouble)
    slack = (
        0.001 if wide.itemsize > dtype.itemsize and (EXTENDED or dtype == np.float32) else 4.0
    )  # the reference's own
    exact = tuple(wide.type(v) for v in registry.rounded(entry.defaults, dtype))
    x = _points(entry, dtype)
    saved_x = x[np.isfinite(x)]
    with np.errstate(all="ignore"):
        true = registry.value(entry, x.astype(wide), exact)
        saved = saved_x if entry.saves == "x" else registry.value(entry, saved_x.astype(wide), exact).astype(dtype)
        keep = np.isfinite(saved)
        saved, saved_x = saved[keep], saved_x[keep]
        grad = _gradients(saved)
        slope = registry.gradient(entry, grad.astype(wide), saved.astype(wide), exact, dtype)
    forward = Row(entry.name, kind.name, entry.ulp_bound(dtype))
    backward = Row(f"{entry.name}_backward", kind.name, entry.backward_bound(dtype))
    special = _special(entry, dtype)
    promised = forward.bound, backward.bound

    def compute() -> Results:
        value, gradient = getattr(functional, entry.name), getattr(functional, f"{entry.name}_backward")
        return {"forward": value(x), "backward": gradient(grad, saved), "special": value(special[0])}

    rows = {"forward": forward, "special": forward, "backward": backward}
    for name, found in _natively(compute, sets, threads, rows.__getitem__):
        plain = name == "baseline" and not HAS_FMA and dtype == np.float64
        bound = max(promised[0], 3.0) if plain else promised[0]
        errors = _ulp(found["forward"], true)
        i = int(np.argmax(errors))
        forward.take(float(errors[i]), f"{name}, x = {x[i]!r}", bound + slack)
        for point, value, known in zip(special[0], found["special"], special[1], strict=True):
            forward.take(_decimal_ulp(value, known), f"{name}, x = {point!r} (exact value)", bound + 0.001)
        errors = _backward_errors(entry, found["backward"], slope, grad, saved_x)
        i = int(np.argmax(errors))
        bound = max(promised[1], 8.0) if plain else promised[1]
        backward.take(float(errors[i]), f"{name}, grad = {grad[i]!r}, {entry.saved_name} = {saved[i]!r}", bound + slack)
    return [forward, backward]


def _backward_errors(entry: Entry, got: np.ndarray, true: np.ndarray, grad: np.ndarray, x: np.ndarray) -> np.ndarray:
    """In ULP where the result is normal; near a root of the slope in eps * |grad|."""
    kind = np.finfo(got.dtype)
    errors = _ulp(got, true)
    with np.errstate(all="ignore"):
        errors[(np.abs(true) < float(kind.smallest_normal)) & (true != 0) & np.isfinite(got)] = 0
        absolute = np.abs(got - true) / (float(kind.eps) * np.abs(grad.astype(true.dtype)))
    return np.where(near_root(entry, x, ROOT_WIDTH), absolute, errors).astype(np.float64)


def _special(entry: Entry, dtype: np.dtype) -> tuple[np.ndarray, list[Decimal]]:
    """Special points, and the formula's text there in decimal numbers (33 digits are right: those of pi)."""
    positive = [0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0, 8.0]
    x = np.array([*positive, *np.negative(positive)], dtype)
    with decimal.localcontext() as context:
        context.prec = 120
        values = registry.rounded(entry.defaults, dtype)
        names = _names() | {p.name: Decimal(float(v)) for p, v in zip(entry.parameters, values, strict=True)}
        return x, [Decimal(eval(_exact(entry.formula), names, {"x": Decimal(float(at))})) for at in x]


def _decimal_ulp(got: np.floating, exact: Decimal) -> float:
    kind = np.finfo(got.dtype)
    if not np.isfinite(got):
        return np.inf
    _, exponent = np.frexp(float(exact))
    unit = Decimal(2) ** (max(int(exponent) - 1, int(kind.minexp)) - int(kind.nmant))
    return float(abs(Decimal(float(got)) - exact) / unit)


def _names() -> dict[str, Any]:
    """What a formula text may use, in decimal numbers."""
    pi, one = Decimal(registry.PI), Decimal(1)

    def tanh(x: Decimal) -> Decimal:
        return one - 2 / ((2 * x).exp() + 1)

    def normal_distribution(x: Decimal) -> Decimal:
        """Phi(x) = 1/2 + phi(x) (x + x^3 / 3 + x^5 / (3 * 5) + ...)."""
        term = total = x
        n = 1
        while abs(term) > Decimal("1e-80"):
            n += 2
            term *= x * x / n
            total += term
        return one / 2 + density(x) * total

    def density(x: Decimal) -> Decimal:
        return (-x * x / 2).exp() / (2 * pi).sqrt()

    return {
        "exp": Decimal.exp, "expm1": lambda x: x.exp() - 1, "log1p": lambda x: (1 + x).ln(), "tanh": tanh,
        "sqrt": Decimal.sqrt, "pi": pi, "abs": abs, "max": max, "min": min, "mpf": Decimal,
        "Phi": normal_distribution, "phi": density, "s": lambda x: 1 / (1 + (-x).exp()),
        "SELU_ALPHA": Decimal("1.6732632423543772848170429916717"),
        "SELU_LAMBDA": Decimal("1.0507009873554804934193349852946"),
        "SELU_LIMIT": Decimal("1.7580993408473768599402175208123"), "__builtins__": {},
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ all else


def _against_twin(name: str, kind: Float, compute: Callable[[], Results], sets: list[str], threads: list[int]) -> Row:
    eps = float(np.finfo(kind.dtype).eps)
    steps = STEPS if name.startswith("fit") else 1
    row = Row(name, kind.name, steps * TWIN)
    with backends.use_backend("numpy"):
        twin = compute()
    for instruction_set, found in _natively(compute, sets, threads, lambda _: row):
        for key, expected in twin.items():
            got, wide = found[key].astype(np.float64), expected.astype(np.float64)
            scale = max(float(np.abs(wide).max(initial=0.0)), float(np.finfo(kind.dtype).smallest_normal))
            errors = np.atleast_1d(np.abs(got - wide) / (eps * scale))
            errors = np.where(np.isfinite(errors), errors, np.inf)
            place = np.unravel_index(int(np.argmax(errors)), errors.shape)
            index = [int(i) for i in place]
            at = f"{instruction_set}, {key}{index}: {np.atleast_1d(got)[place]!r}, NumPy {np.atleast_1d(wide)[place]!r}"
            row.take(float(errors[place]), at)
    return row


def _cases(kind: Float) -> Iterator[tuple[str, Callable[[], Results]]]:
    """Names and computations of all that is compared with its twin."""
    dtype = kind.dtype
    names: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in (*ACTIVATIONS, *LEARNED)]
    for name, options in [*names, ("maxout", {"pieces": 2})]:
        yield f"dense {name}", partial(_dense, epilogues.activation(name, **options), dtype)
    for name in LEARNED:
        yield name, partial(_learned, name, dtype)
    for name in epilogues.ROW_FUNCTIONS:
        yield name, partial(_rows, name, dtype)
    yield "maxout", partial(_maxout, dtype)
    yield "relu_masked", lambda: _masked(dtype)
    for loss, facts in losses.FACTS.items():
        yield loss.__name__, partial(_loss, loss, facts, dtype)
    for rule in OPTIMIZERS.values():
        yield f"optim.{rule.__name__}", partial(_optimizer, rule, dtype)
    yield "fit", partial(_training, dtype)


def _eighths(generator: np.random.Generator, *shape: int, dtype: np.dtype) -> np.ndarray:
    """Multiples of 1/8, whose products sum without rounding: what follows the product gets the same from everyone."""
    return (generator.integers(-8, 9, shape) / 8).astype(dtype)


def _dense(after: epilogues.Epilogue, dtype: np.dtype) -> Results:
    generator = np.random.default_rng(1)
    x, weight = _eighths(generator, 53, 29, dtype=dtype), _eighths(generator, 29, 34, dtype=dtype)
    bias = _eighths(generator, 34, dtype=dtype)
    y, saved = functional.dense_forward(x, weight, bias, activation=after)
    gradients = functional.dense_backward(_eighths(generator, *y.shape, dtype=dtype), saved, x, weight)
    return {"y": y} | {k: np.asarray(v) for k, v in gradients._asdict().items() if v is not None}


def _learned(name: str, dtype: np.dtype) -> Results:
    generator = np.random.default_rng(2)
    x, grad = generator.normal(0, 2, (2, 83, 21)).astype(dtype)
    dx, dparameter = getattr(functional, f"{name}_backward")(grad, x)
    return {"y": getattr(functional, name)(x), "dx": dx, "dparameter": np.asarray(dparameter)}


def _rows(name: str, dtype: np.dtype) -> Results:
    x, grad = np.random.default_rng(3).normal(0, 3, (2, 83, 21)).astype(dtype)
    y = getattr(functional, name)(x)
    return {"y": y, "dx": getattr(functional, f"{name}_backward")(grad, y)}


def _maxout(dtype: np.dtype) -> Results:
    x = np.random.default_rng(4).normal(0, 3, (83, 21)).astype(dtype)
    y, index = functional.maxout(x, 3)
    return {"y": y, "index": index, "dx": functional.maxout_backward(y, index, 3)}


def _masked(dtype: np.dtype) -> Results:
    x = np.random.default_rng(5).normal(0, 3, 1733).astype(dtype)
    mask = np.zeros((x.size + 7) // 8, np.uint8)
    y = functional.relu_masked(x, mask=mask)
    return {"y": y, "mask": mask, "dx": functional.relu_masked_backward(x, mask)}


def _loss(loss: Callable[..., Any], facts: losses.Facts, dtype: np.dtype) -> Results:
    generator = np.random.default_rng(6)
    shape = (83, 13)
    raw = generator.normal(0, 2, shape)
    pred = (1 / (1 + np.exp(-raw)) if facts.threshold == 0.5 else raw).astype(dtype)  # of probabilities
    target: np.ndarray
    if facts.targets == "classes":
        target = generator.integers(0, shape[1], shape[0])
    elif facts.targets == "signs":
        target = generator.choice([-1.0, 1.0], shape).astype(dtype)
    else:
        target = generator.uniform(0, 1, shape).astype(dtype)
    found: Results = {}
    for reduction in losses.REDUCTIONS:
        value, grad = loss(pred, target, reduction=reduction)
        found |= {f"loss ({reduction})": np.asarray(value), f"grad ({reduction})": grad}
    return found


def _optimizer(rule: Callable[..., Any], dtype: np.dtype) -> Results:
    generator = np.random.default_rng(8)
    net = Sequential(Dense(119, 17), dtype=dtype.name, rng=0)
    optimizer = rule()
    for _ in range(5):
        net.gradients[:] = generator.normal(0, 1, net.gradients.shape)
        optimizer.step(net)
    return {"parameters": net.parameters.copy()}


def _training(dtype: np.dtype) -> Results:
    generator = np.random.default_rng(9)
    x, labels = generator.normal(0, 1, (96, 21)).astype(dtype), generator.integers(0, 5, 96)
    net = Sequential(Dense(21, 33, "tanh"), Dense(33, 17, "gelu"), Dense(17, 5), dtype=dtype.name, rng=0)
    fit(net, x, labels, loss="softmax_cross_entropy", optimizer=OPTIMIZERS["sgd"](), epochs=STEPS // 4, batch_size=24,
        rng=0, progress=False)  # fmt: skip
    return {"parameters": net.parameters.copy(), "outputs": net(x)}
