"""The accuracy contract: float32 over a sweep of all bit patterns, float64 against as many digits as it takes."""

import functools
import json
from pathlib import Path

import exact
import numpy as np
import pytest
from support import (
    FMA_SETS,
    INSTRUCTION_SETS,
    assert_gradient,
    assert_ulp,
    backward,
    backward_bound,
    forward,
    forward_bound,
    gradients,
    inputs,
    kinks,
    near,
    reference_backward,
    reference_forward,
    reference_ulp,
    saved_by,
    ulp_error,
    using_instruction_set,
)

import fastact as fa
from fastact import runtime
from fastact.measure import accuracy
from fastact.registry import ACTIVATIONS

STEP = 4099  # prime, so that it meets every exponent with every low bit


def branch_points(dtype, entry):
    """Where kernels change their minds: range reduction, saturation, clamps, kinks, the ends of the number range."""
    info = np.finfo(dtype)
    reduction = np.arange(1, 311) * np.log(2) / 2
    saturation = [0.5, 1, 2, 3, 6, 8.3178, 9.0109, 14.5, 16.6355, 17.3287, 18.714, 20, 37, 37.43, 40]
    overflow = [np.log(float(info.max)), -np.log(float(info.smallest_normal)), -np.log(float(info.smallest_subnormal))]
    clamps = [104, 106, 746, 750, *np.sqrt(2 * np.array(overflow)), *overflow]
    range_ends = [0, info.smallest_subnormal, info.smallest_normal, info.eps, info.eps / 2, info.max]
    return near([*reduction, *saturation, *clamps, *range_ends, *kinks(entry), *entry.slope_roots], dtype, 64)


def sweep(entry):
    patterns = np.arange(0, 2**32, STEP, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([patterns, branch_points(np.float32, entry)])


@pytest.fixture(params=dict.fromkeys((INSTRUCTION_SETS[0], INSTRUCTION_SETS[-1])))
def instruction_set(request):
    """Without FMA, and with: the sets that have it give the same bits (functional/test_same_bits.py)."""
    with using_instruction_set(request.param):
        yield request.param


def test_float32_forward(entry, instruction_set):
    x = sweep(entry)
    bound = forward_bound(entry, np.float32, instruction_set)
    assert_ulp(forward(entry, x), reference_forward(entry, x, entry.defaults), np.float32, bound, x)


def test_float32_backward(entry, instruction_set):
    x = sweep(entry)
    saved = saved_by(entry, x, forward(entry, x))
    grad = gradients(np.float32, x.size)
    truth = reference_backward(entry, grad, saved)
    bound = backward_bound(entry, np.float32) + 0.001
    assert_gradient(entry, backward(entry, grad, saved), truth, grad=grad, saved=saved, bound=bound)


@pytest.mark.parametrize(
    ("name", "worst"),
    [
        ("gelu", [-11.326398]),
        ("gelu_tanh", [-8.4]),
        ("silu", [-1.90836]),
        ("mish", [-6.52888]),
    ],
)
def test_float32_backward_at_its_worst(name, worst, instruction_set):
    """Every input near what an exhaustive search found, with the gradients at which a slope's error counts most."""
    entry = ACTIVATIONS[name]
    x = near(worst, np.float32, 1 << 14)
    slope = reference_backward(entry, np.ones_like(x), x).astype(np.float64)
    for limit in (2 - 2.0**-20, 2 - 2.0**-10, 1.5):  # of grad * slope
        grad = (limit * np.exp2(np.floor(np.log2(np.abs(slope)))) / slope).astype(np.float32)
        truth = reference_backward(entry, grad, x)
        bound = backward_bound(entry, np.float32)
        assert_gradient(entry, backward(entry, grad, x), truth, grad=grad, saved=x, bound=bound)


def test_float64_forward_dense(entry, instruction_set):
    x = np.concatenate([inputs(np.float64, 100_000, 5), branch_points(np.float64, entry)])
    bound = forward_bound(entry, np.float64, instruction_set) + reference_ulp(entry, entry.defaults)
    assert_ulp(forward(entry, x), reference_forward(entry, x), np.float64, bound, x)


def hard_points(entry):
    """Float64 inputs on which a reference with many digits is affordable."""
    x = branch_points(np.float64, entry)
    rng = np.random.default_rng(7)
    few = [
        rng.choice(x[np.abs(x) < 800], 150),
        rng.normal(0, 2, 100),
        rng.uniform(-40, 40, 100),
        rng.uniform(-750, 12, 30),
    ]
    small = rng.choice([-1.0, 1.0], 60) * np.exp2(rng.uniform(-600, 0, 60))
    return np.concatenate([*few, small])


@functools.cache
def _exact_forward(name):
    entry = ACTIVATIONS[name]
    return exact.array(entry.formula, hard_points(entry), "x", entry, entry.defaults)


def exact_forward(entry):
    return _exact_forward(entry.name)  # entries do not hash


def test_float64_forward_exact(entry, instruction_set):
    x = hard_points(entry)
    bound = forward_bound(entry, np.float64, instruction_set)
    assert_ulp(forward(entry, x), exact_forward(entry), np.float64, bound, x)


def test_float64_backward_exact(entry, instruction_set):
    x = hard_points(entry)
    saved = saved_by(entry, x, forward(entry, x))
    grad = gradients(np.float64, x.size)
    slope = exact.array(entry.slope_formula, saved, entry.saved_name, entry, entry.defaults, **entry.slope_constants)
    truth = grad.astype(slope.dtype) * slope
    bound = backward_bound(entry, np.float64, instruction_set)
    assert_gradient(entry, backward(entry, grad, saved), truth, grad=grad, saved=saved, bound=bound)


# What guided searches found before the kernels were mended: forward (x), backward (x, grad).
BREACHES = {
    "softplus": ([-0.43509067243089744, 2.137497620408045e-05], []),
    "log_sigmoid": ([0.43409280351914825, -7.31690688798302e-05], []),
    "tanh_shrink": ([1.0195895616766022, 1.0196286923677786], [(-0.5508123687739478, 1.9909974973260272)]),
    "hard_swish": ([1.367684983111602], []),  # without FMA
    "gelu_tanh": ([], [(-18.98832608385689, 0.4736787794212341), (-17.33123706464196, 1.4937633692967633e-06)]),
    "silu": ([], [(-9.010915054528317, 0.1248609288912924)]),
    "mish": ([], [(-0.5277952437656734, 1.757160832642668), (-0.5329702283529864, -1.4070513457834082e-05)]),
}


def worst_inputs(entry):
    """Where float64 forward and backward were ever found to be furthest off: x, and (x, grad)."""
    ahead, back = (list(points) for points in BREACHES.get(entry.name, ([], [])))
    for name, dtype, result in (case.values for case in committed_results()):
        if name == entry.name and dtype == "float64" and tuple(result["parameters"].values()) == entry.defaults:
            ahead.append(result["forward"]["at"])
            back.append((result["backward"]["at"], result["backward"].get("grad")))
    return [x for x in ahead if x is not None], [pair for pair in back if None not in pair]


def test_float64_at_its_worst(entry, instruction_set):
    ahead, back = worst_inputs(entry)
    if ahead:
        x = np.array(ahead)
        truth = exact.array(entry.formula, x, "x", entry, entry.defaults)
        bound = 2.001 if entry.name == "hard_swish" else forward_bound(entry, np.float64, instruction_set)
        assert_ulp(forward(entry, x), truth, np.float64, bound, x)
    if back:
        x, grad = np.array(back).T.copy()
        saved = saved_by(entry, x, forward(entry, x))
        slope = exact.array(
            entry.slope_formula, saved, entry.saved_name, entry, entry.defaults, **entry.slope_constants
        )
        bound = backward_bound(entry, np.float64, instruction_set)
        assert_gradient(
            entry, backward(entry, grad, saved), grad * slope, grad=grad, saved=saved, bound=bound
        )  # fmt: skip


def test_float32_around_zero(entry, instruction_set):
    """Dense where most inputs are, and where some kernels go from one piece to the next or from near to far."""
    for bits in np.linspace(-22, 22, 20 * accuracy.CHUNK, dtype=np.float32).view(np.uint32).reshape(20, -1):
        error = accuracy._measure_float32(entry, bits, entry.defaults)
        assert error.forward.ulp <= forward_bound(entry, np.float32, instruction_set)
        assert error.backward.ulp <= backward_bound(entry, np.float32, instruction_set)


def test_numpy_formula_is_the_documented_one(entry):
    """The NumPy formula in float64: not held to the kernels' bounds, but it is the same function."""
    x = hard_points(entry)
    truth = exact_forward(entry)
    with fa.use_backend("numpy"):
        y = forward(entry, x)
    error = np.minimum(ulp_error(y, truth, np.float64), np.abs(y - truth) / np.finfo(np.float64).eps)
    assert error.max() <= 64


def committed_results():
    """(name, dtype, result) of every measurement in bench/results."""
    for path in sorted((Path(__file__).parents[2] / "bench" / "results").glob("accuracy-*.json")):
        for key, dtypes in json.loads(path.read_text(encoding="utf-8")).items():
            for dtype, result in dtypes.items():
                yield pytest.param(key.split(" ")[0], dtype, result, id=f"{key} {dtype}")


@pytest.mark.parametrize(("name", "dtype", "result"), [*committed_results()])
def test_committed_results_are_measured_again(name, dtype, result):
    """The published error of forward at the point where it is, and a small sample that does not exceed the others."""
    entry, values = ACTIVATIONS[name], tuple(result["parameters"].values())
    at = result["forward"]["at"]
    if (result["instruction_set"] == "baseline") != (runtime.instruction_set not in FMA_SETS):
        pytest.skip("without FMA some bits differ")
    if dtype == "float64":
        pytest.importorskip("mpmath")
        sample = accuracy.measure(entry, dtype, values, points=30)
        if at is not None and values == entry.defaults and "searched" in result:
            truth = exact.array(entry.formula, np.array([at]), "x", entry, values)
            error = ulp_error(forward(entry, np.array([at])), truth, np.float64)
            assert error[0] == pytest.approx(result["forward"]["ulp"], abs=1e-3)
    else:
        bits = np.arange(0, 2**32, 4099 * 257, dtype=np.uint64)
        sample = accuracy._measure_float32(entry, bits, values)
        if at is not None:
            there = accuracy._measure_float32(entry, np.array([at], np.float32).view(np.uint32), values)
            assert there.forward.ulp == pytest.approx(result["forward"]["ulp"])
    # float64 is known from few points, and the gradients of backward depend on the place in the sample
    assert sample.forward.ulp <= result["forward"]["ulp"] * 1.1 + (0.1 if dtype == "float32" else 0.5)
    assert sample.backward.ulp <= result["backward"]["ulp"] * 1.25 + 0.5


def test_search_finds_what_few_points_do_not():
    """Forward's worst is in a hundredth of the numbers, backward's where the gradient's last bits say so too."""
    pytest.importorskip("mpmath")
    entry = ACTIVATIONS["softsign"]
    x, grad = accuracy.worst(entry, (), 1 << 17, accuracy.ROOT_WIDTH)
    known = accuracy._measure_float64(entry, (), 300, 0)
    found = accuracy._measure_float64(entry, (), 300, 1 << 17)
    assert found.searched == 1 << 17
    assert x.shape == grad.shape
    assert found.forward.ulp > 1.45 > known.forward.ulp
    assert found.backward.ulp > 3.3 > known.backward.ulp
    assert found.backward.grad in grad


def test_infinity_counts_as_the_number_after_the_largest_where_rounding_decides():
    largest = float(np.finfo(np.float32).max)
    for got, reference, low, high in (
        (np.inf, largest * (1 + 2.0**-26), 0.5, 1),  # it should have been the largest number, by a hair
        (largest, 2.0**128, 0, 1),  # or infinity
        (np.inf, 1e39, 0, 0),
        (-np.inf, 1e39, np.inf, np.inf),
        (np.nan, 1.0, np.inf, np.inf),
        (np.inf, np.nan, np.inf, np.inf),
        (np.inf, 3.0, 1e7, np.inf),
    ):
        error = accuracy.ulp_error(np.array([got], np.float32), np.array([reference]))[0]
        assert low <= error <= high, (got, reference, error)


def test_processes_measure_what_one_does():
    """Pieces of float32, of numbers around 1 and -2, which the processes share, and the same one after the other."""
    entry, starts = ACTIVATIONS["silu"], (0x3F800000, 0xBFC00000)
    for start, part in zip(starts, accuracy._in_processes(entry, (), 2, starts), strict=True):
        expected = accuracy.Measurement("silu", "float32")
        for at in range(start, start + accuracy.PIECE, accuracy.CHUNK):
            expected.merge(accuracy._measure_float32(entry, np.arange(at, at + accuracy.CHUNK, dtype=np.uint64), ()))
        assert part == expected
        assert part.inputs == accuracy.PIECE
        assert part.forward.ulp > 1
