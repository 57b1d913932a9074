"""What the tests share: what the registry says, reference values, the ULP measure, bits, another Python."""

import contextlib
import functools
import os
import platform
import subprocess
import sys
import textwrap
from pathlib import Path

import exact
import numpy as np

import fastact as fa
from fastact import backends, functional, registry, runtime

ENTRIES = tuple(registry.ACTIVATIONS.values())
DTYPES = (np.float32, np.float64)
BACKENDS = tuple(name for name in backends.BACKENDS if name != "native" or backends.compiled)
INSTRUCTION_SETS = tuple(runtime.config()["instruction_sets_supported"])
FMA_SETS = tuple(name for name in INSTRUCTION_SETS if name != "baseline" or platform.machine() in ("aarch64", "arm64"))

# From zero past four vectors of the widest instruction set, around its multiples, and one long array with a tail.
LENGTHS = (*range(18), 31, 32, 33, 63, 64, 65, 97, 4097)

# Elements from which any elementwise call and any call of rows is shared between threads.
SHARED = max(size for cost, size in runtime.THRESHOLDS.items() if cost not in ("updates", "products"))

# The dtype in which reference values are computed.
WIDE = {np.float32: np.float64, np.float64: np.longdouble}
EXTENDED = np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant


# ------------------------------------------------------------------------------------------------ calling


def forward(entry, x, values=None, **keywords):
    return getattr(functional, entry.name)(x, **_named(entry, values), **keywords)


def backward(entry, grad, saved, values=None, **keywords):
    return getattr(functional, f"{entry.name}_backward")(grad, saved, **_named(entry, values), **keywords)


def _named(entry, values):
    return {} if values is None else {p.name: v for p, v in zip(entry.parameters, values, strict=True)}


def saved_by(entry, x, y):
    """What backward reads."""
    return x if entry.saves == "x" else y


def parameter_sets(entry):
    """The defaults, and some other values that are in range together."""
    sets = [entry.defaults]
    if entry.parameters:
        sets += [tuple(p.default * factor if p.default else factor for p in entry.parameters) for factor in (0.5, 3.0)]
        sets.append(tuple(p.low if p.accepts(p.low) else p.default for p in entry.parameters))
    return list(dict.fromkeys(values for values in sets if _accepted(entry, values)))


def _accepted(entry, values):
    if entry.ordered and list(values) != sorted(set(values)):
        return False
    return all(p.accepts(v) for p, v in zip(entry.parameters, values, strict=True))


def rounded(values, dtype):
    """Parameters as a kernel of that dtype sees them."""
    return tuple(float(dtype(v)) for v in values)


def evaluated(expression, entry, values):
    """A registry expression in the parameters ("-alpha", "inf") as a float."""
    names = {p.name: v for p, v in zip(entry.parameters, values, strict=True)}
    constants = {"inf": np.inf, "SELU_LIMIT": 1.7580993408473768}
    return float(eval(expression, {"__builtins__": {}, **constants, **names}))


def kinks(entry, values=None):
    values = entry.defaults if values is None else values
    return [evaluated(kink, entry, values) for kink in entry.kinks]


@contextlib.contextmanager
def using_instruction_set(name):
    """Compute natively with that instruction set."""
    backends.engine.use_instruction_set(name)
    try:
        with fa.use_backend("native"):
            yield
    finally:
        backends.engine.use_instruction_set(runtime.instruction_set)


# ------------------------------------------------------------------------------------------------ inputs


def special_values(dtype):
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.smallest_normal, 1.0, info.max, np.inf]
    return np.array([np.nan, *positive, *(-np.array(positive, dtype))], dtype)


def inputs(dtype, n, seed=0):
    """Values near 0, where functions bend, where they saturate, of every magnitude, and special ones; shuffled."""
    rng = np.random.default_rng(seed)
    info = np.finfo(dtype)
    parts = [
        rng.normal(0, 1.5, n),
        rng.uniform(-12, 12, n),
        rng.uniform(-120, 120, n) if dtype is np.float32 else rng.uniform(-760, 760, n),
        rng.choice([-1.0, 1.0], n) * np.exp2(rng.uniform(info.minexp - 10, min(info.maxexp, 1000) - 1, n)),
    ]
    x = np.choose(rng.choice(4, n, p=[0.4, 0.3, 0.15, 0.15]), parts).astype(dtype)
    special = special_values(dtype)
    places = rng.permutation(n)[: min(n // 4, 4 * special.size)]
    x[places] = np.resize(special, places.size)
    return x


def gradients(dtype, n, seed=1):
    """Incoming gradients of the range for which backward's accuracy is promised."""
    rng = np.random.default_rng(seed)
    return (rng.choice([-1.0, 1.0], n) * np.exp2(rng.uniform(-20, 20, n))).astype(dtype)


def near(values, dtype, count=32):
    """Each value with its count neighbours on both sides."""
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    offsets = np.arange(-count, count + 1).astype(unsigned)
    magnitudes = np.abs(np.asarray(values, dtype)).view(unsigned)
    found = (magnitudes[:, None] + offsets[None, :]).ravel().view(dtype)
    found = found[np.isfinite(found)]
    return np.unique(np.concatenate([found, -found]))


# ------------------------------------------------------------------------------------------------ reference values


def widened(array):
    with np.errstate(invalid="ignore"):  # signalling NaNs among the bit patterns
        return array.astype(WIDE[array.dtype.type])


def reference_forward(entry, x, values=None):
    """f(x) in a wider dtype than x's, parameters rounded to x's."""
    dtype = x.dtype.type
    values = rounded(entry.defaults if values is None else values, dtype)
    return registry.value(entry, widened(x), values)


def reference_backward(entry, grad, saved, values=None):
    """grad * f' in a wider dtype, as a function of what backward is given."""
    dtype = saved.dtype.type
    values = rounded(entry.defaults if values is None else values, dtype)
    return registry.gradient(entry, widened(grad), widened(saved), values, saved.dtype)


def reference_ulp(entry, values):
    """Error of the wide float64 reference itself: a formula with a polynomial of its own is no better than float64."""
    return _reference_ulp(entry.name, values)


@functools.cache
def _reference_ulp(name, values):
    entry = registry.ACTIVATIONS[name]
    if not EXTENDED:
        return 4.0
    x = np.concatenate([inputs(np.float64, 400, 3), np.linspace(-3, 3, 97)])
    x = x[(np.abs(x) < 700) & (np.abs(x) > 1e-50)]
    try:
        truth = exact.array(entry.formula, x, "x", entry, values)
    except exact.NotAFormulaError:
        return 4.0
    return 2 * np.max(ulp_error(reference_forward(entry, x, values), truth, np.float64)) + 0.01


def forward_bound(entry, dtype, instruction_set=None, values=None):
    """The forward ULP bound of the contract."""
    bound = entry.ulp_bound(dtype)
    if values is not None and values != entry.defaults:
        bound = max(bound, 8.0)
    if dtype is np.float64 and instruction_set == "baseline" and "baseline" not in FMA_SETS:
        bound = max(bound, 3.0)
    return bound + 0.001


def backward_bound(entry, dtype, instruction_set=None):
    """The backward ULP bound of the contract."""
    without_fma = dtype is np.float64 and instruction_set == "baseline" and "baseline" not in FMA_SETS
    return 8.0 if without_fma else entry.backward_bound(dtype)


# ------------------------------------------------------------------------------------------------ measures


def ulp_error(got, truth, dtype):
    """|got - truth| in units in the last place of dtype at truth.

    Below the normal range the unit is the smallest subnormal. A truth beyond the largest number counts as the power of
    two above it, and so does an infinity got there. A NaN or an infinity on one side only counts as infinite.
    """
    info = np.finfo(dtype)
    truth = np.asarray(truth)
    with np.errstate(all="ignore"):
        got = np.asarray(got).astype(truth.dtype)
        beyond = np.ldexp(truth.dtype.type(1), info.maxexp)
        _, exponent = np.frexp(np.clip(truth, -info.max, info.max))
        unit = np.ldexp(truth.dtype.type(1), np.maximum(exponent - 1, info.minexp) - info.nmant)
        error = np.abs(np.clip(got, -beyond, beyond) - np.clip(truth, -beyond, beyond)) / unit
    error = np.where((got == truth) | (np.isnan(got) & np.isnan(truth)), 0, error)
    error = np.where(np.isinf(truth) & (got != truth), np.inf, error)
    return np.where(np.isnan(error), np.inf, error).astype(np.float64)


def assert_ulp(got, truth, dtype, bound, *context):
    """All of got within bound ULP of truth; context arrays are shown at the worst place."""
    error = ulp_error(got, truth, dtype)
    if error.size and not error.max() <= bound:
        worst = np.unravel_index(np.argmax(error), error.shape)
        where = ", ".join(repr(np.asarray(array)[worst]) for array in context)
        raise AssertionError(
            f"{error[worst]:.3f} ULP > {bound:g} at ({where}): got {got[worst]!r}, expected {truth[worst]!r} "
            f"({np.count_nonzero(error > bound)} of {error.size} elements)"
        )


def assert_gradient(entry, got, truth, *, grad, saved, bound):
    """All of got within bound ULP of truth; near a root of the slope, where digits cancel, within bound eps |grad|."""
    dtype = saved.dtype.type
    wide = truth.dtype.type
    with np.errstate(all="ignore"):
        error = ulp_error(got, truth, dtype)
        for root in entry.slope_roots:
            close = np.abs(saved - root) < 0.25
            absolute = np.abs(got.astype(wide) - truth) / (np.finfo(dtype).eps * np.abs(grad.astype(wide)))
            error = np.where(close, np.minimum(error, absolute.astype(np.float64)), error)
        normal = ~(np.abs(truth) < np.finfo(dtype).smallest_normal) | (truth == 0)
    # Below the normal range nothing is promised but a result that is small too.
    with np.errstate(invalid="ignore"):
        assert np.all(normal | (np.abs(got) <= 2 * np.finfo(dtype).smallest_normal))
    error = np.where(normal, error, 0)
    if error.size and not error.max() <= bound:
        worst = int(np.argmax(error))
        raise AssertionError(
            f"{error[worst]:.3f} ULP > {bound:g} at grad {grad[worst]!r}, saved {saved[worst]!r}: got {got[worst]!r}, "
            f"expected {truth[worst]!r} ({np.count_nonzero(error > bound)} of {error.size} elements)"
        )


def bits(array):
    """The bit patterns, zero signs included, all NaNs alike."""
    array = np.ascontiguousarray(array)
    patterns = array.view(f"u{array.dtype.itemsize}").copy()
    patterns[np.isnan(array)] = np.iinfo(patterns.dtype).max
    return patterns


def assert_same_bits(got, expected, message=""):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(bits(got), bits(expected), message)


# ------------------------------------------------------------------------------------------------ another Python


def run_python(program, folder, timeout, options=(), environment=None):
    """Run a program with the package under test and no FASTACT_ or OMP_ settings but the given ones."""
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("FASTACT_", "OMP_", "PYTHON"))}
    if not backends.compiled:
        settings["FASTACT_BACKEND"] = "numpy"  # no warning that it is missing
    settings |= {"PYTHONPATH": str(Path(fa.__file__).parent.parent), **(environment or {})}
    settings = {k: v for k, v in settings.items() if v is not None}
    file = Path(folder, "program.py")
    file.write_text(textwrap.dedent(program), encoding="utf-8")
    return subprocess.run(
        [sys.executable, *options, str(file)],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
