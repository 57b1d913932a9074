"""Mistakes: the exception, what its message says, that nothing was written, and that both backends say the same."""

import numpy as np
import pytest
from support import BACKENDS, ENTRIES, backward, forward

import fastact as fa
from fastact import functional

N = 6


def bfloat16():
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


PYTHON = {"list": [1.0, 2.0], "tuple": (1.0, 2.0), "float": 1.0, "int": 1}  # taken for input, never for out
WRONG_ARRAYS = {
    "list of booleans": ([True, False], "list", "np.asarray({name}"),
    "list of texts": (["1.0"], "list", "np.asarray({name}"),
    "bool object": (True, "bool", "np.asarray({name}"),
    "None": (None, "NoneType", "np.asarray({name}"),
    "str": ("relu", "str", "np.asarray({name}"),
    "range": (range(3), "range", "np.asarray({name}"),
    "masked array": (np.ma.masked_array([1.0, 2.0], [0, 1]), "masked", "fill"),
    "int64": (np.arange(N), "int64", "{name}.astype(np.float32)"),
    "uint8": (np.zeros(N, np.uint8), "uint8", "{name}.astype(np.float32)"),
    "bool": (np.zeros(N, bool), "bool", "{name}.astype(np.float32)"),
    "float16": (np.zeros(N, np.float16), "float16", "{name}.astype(np.float32)"),
    "longdouble": (np.zeros(N, np.longdouble), np.dtype(np.longdouble).name, "{name}.astype(np.float32)"),
    "complex64": (np.zeros(N, np.complex64), "complex64", "{name}.astype(np.float32)"),
    "complex128": (np.zeros(N, complex), "complex128", "{name}.astype(np.float32)"),
    "object": (np.zeros(N, object), "object", "{name}.astype(np.float32)"),
    "strings": (np.zeros(N, "U3"), "U3", "{name}.astype(np.float32)"),
    "dates": (np.zeros(N, "M8[s]"), "datetime64", "{name}.astype(np.float32)"),
    "records": (np.zeros(N, [("a", np.float32)]), "a", "{name}.astype(np.float32)"),
    "float16 scalar": (np.float16(1), "float16", "{name}.astype(np.float32)"),
    "int64 scalar": (np.int64(1), "int64", "np.asarray({name}"),
}


def message(call, kind):
    """The message of the exception, which is the same in both backends."""
    messages = set()
    for name in BACKENDS:
        with fa.use_backend(name), pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        messages.add(str(caught.value))
    assert len(messages) == 1
    return messages.pop()


@pytest.mark.parametrize("what", WRONG_ARRAYS)
def test_wrong_input(entry, what):
    value, named, fix = WRONG_ARRAYS[what]
    good = np.zeros(N, np.float32)
    for function, argument, call in (
        (entry.name, "x", lambda: forward(entry, value)),
        (f"{entry.name}_backward", "grad", lambda: backward(entry, value, good)),
        (f"{entry.name}_backward", entry.saved_name, lambda: backward(entry, good, value)),
    ):
        text = message(call, TypeError)
        assert text.startswith(f"{function}: ")
        assert named in text
        assert fix.format(name=argument) in text


def test_bfloat16_is_named(entry):
    text = message(lambda: forward(entry, np.zeros(N, bfloat16())), TypeError)
    assert text == f"{entry.name}: expected float32 or float64, got bfloat16; convert with x.astype(np.float32)"


@pytest.mark.parametrize("what", [*PYTHON, *(name for name in WRONG_ARRAYS if name != "None")])
def test_wrong_out(entry, what):
    value = PYTHON[what] if what in PYTHON else WRONG_ARRAYS[what][0]
    good = np.ones(N, np.float32)
    before = value.copy() if isinstance(value, np.ndarray) else None
    for function, call in (
        (entry.name, lambda: forward(entry, good, out=value)),
        (f"{entry.name}_backward", lambda: backward(entry, good, good, out=value)),
    ):
        text = message(call, TypeError)
        assert text.startswith(f"{function}: expected out to be ")
    if before is not None:
        np.testing.assert_array_equal(value, before)


@pytest.mark.parametrize(
    ("out", "kind", "says"),
    [
        (np.full(N, 7, np.float64), TypeError, "expected out to be float32, got float64; nothing is cast silently"),
        (np.full(N + 1, 7, np.float32), ValueError, f"expected out to have shape ({N},), got ({N + 1},)"),
        (np.full((N, 1), 7, np.float32), ValueError, f"expected out to have shape ({N},), got ({N}, 1)"),
        (np.full((1, N), 7, np.float32), ValueError, f"expected out to have shape ({N},), got (1, {N})"),
        (np.full((), 7, np.float32), ValueError, f"expected out to have shape ({N},), got ()"),
        (np.full(0, 7, np.float32), ValueError, f"expected out to have shape ({N},), got (0,)"),
    ],
    ids=["dtype", "longer", "column", "row", "0-d", "empty"],
)
def test_out_that_does_not_fit(entry, out, kind, says):
    x = np.ones(N, np.float32)
    assert message(lambda: forward(entry, x, out=out), kind) == f"{entry.name}: {says}"
    assert message(lambda: backward(entry, x, x, out=out), kind) == f"{entry.name}_backward: {says}"
    assert np.all(out == 7)


def test_read_only_out(entry):
    x = np.ones(N, np.float32)
    frozen = np.full(N, 7, np.float32)
    frozen.flags.writeable = False
    for call in (lambda: forward(entry, x, out=frozen), lambda: backward(entry, x, x, out=frozen)):
        text = message(call, ValueError)
        assert "out is read-only; pass a writeable array or leave out" in text
    assert np.all(frozen == 7)
    in_place = np.ones(N, np.float32)
    in_place.flags.writeable = False
    assert "read-only" in message(lambda: forward(entry, in_place, out=in_place), ValueError)


def test_out_that_repeats_its_elements(entry):
    x = np.ones((4, N), np.float32)
    base = np.full(N, 7, np.float32)
    repeated = np.lib.stride_tricks.as_strided(base, (4, N), (0, 4), writeable=True)
    for call in (lambda: forward(entry, x, out=repeated), lambda: backward(entry, x, x, out=repeated)):
        assert "out overlaps itself" in message(call, ValueError)
    assert np.all(base == 7)


def test_out_whose_elements_overlap_each_other(entry):
    """Not only a stride of 0: overlapping windows have several places for one element."""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    base = np.full(6, 7, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(base, 4, writeable=True)
    for call in (lambda: forward(entry, x, out=windows), lambda: backward(entry, x, x, out=windows)):
        assert "out overlaps itself" in message(call, ValueError)
    assert np.all(base == 7)


def test_out_whose_elements_interleave_is_taken(entry):
    """Strides that are no multiple of each other, and yet every element has a place of its own."""
    base = np.full(6, 7, np.float32)
    out = np.lib.stride_tricks.as_strided(base, (2, 2), (12, 8), writeable=True)  # elements 0, 2, 3 and 5
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    np.testing.assert_array_equal(forward(entry, x, out=out), forward(entry, x))
    np.testing.assert_array_equal(base[[1, 4]], [7, 7])


def test_backward_of_arrays_that_differ(entry):
    grad = np.ones((2, 3), np.float32)
    name = f"{entry.name}_backward"
    text = message(lambda: backward(entry, grad, np.ones((2, 3))), TypeError)
    assert text.startswith(f"{name}: expected grad and {entry.saved_name} to have one dtype, got float32 and float64")
    for shape in ((3, 2), (2,), (6,), (1, 2, 3), ()):
        text = message(lambda shape=shape: backward(entry, grad, np.ones(shape, np.float32)), ValueError)
        assert text.startswith(f"{name}: expected {entry.saved_name} to have grad's shape (2, 3), got {shape}")


def test_signature_mistakes(entry):
    x = np.ones(N, np.float32)
    forward, backward = getattr(functional, entry.name), getattr(functional, f"{entry.name}_backward")
    for call in (
        lambda: forward(x, inplace=True),
        forward,
        lambda: forward(x, *entry.defaults, x),
        lambda: backward(x),
        lambda: backward(x, x, *entry.defaults, x),
    ):
        assert entry.name in message(call, TypeError)


def test_a_refused_call_leaves_everything_alone(entry):
    x = np.linspace(-2, 2, N, dtype=np.float32)
    for wrong in (np.ones(N, np.float64), np.ones(N + 1, np.float32)):
        out = np.full(N, 7, np.float32)
        with pytest.raises((TypeError, ValueError)):
            backward(entry, x, wrong, out=out)
        assert np.all(out == 7)
    np.testing.assert_array_equal(x, np.linspace(-2, 2, N, dtype=np.float32))


def test_message_of_the_design():
    name = ENTRIES[-1].name
    text = message(lambda: getattr(fa, name)(np.arange(3)), TypeError)
    assert text == f"{name}: expected float32 or float64, got int64; convert with x.astype(np.float32)"


# ------------------------------------------------------------- learned weights, rows, maxout, masked ReLU

A, B, BYTES = (4, 6), (4, 3), np.uint8
# name: arrays that are read, other arguments, arrays that are written; shapes, and uint8 where it is not float32
OTHERS = {
    "prelu": ({"x": A, "weight": (6,)}, {}, {"out": A}),
    "prelu_backward": ({"grad": A, "x": A, "weight": (6,)}, {}, {"out": A, "out_weight": (6,)}),
    "swish": ({"x": A, "beta": (6,)}, {}, {"out": A}),
    "swish_backward": ({"grad": A, "x": A, "beta": (6,)}, {}, {"out": A, "out_beta": (6,)}),
    "softmax": ({"x": A}, {}, {"out": A}),
    "softmax_backward": ({"grad": A, "y": A}, {}, {"out": A}),
    "log_softmax": ({"x": A}, {}, {"out": A}),
    "log_softmax_backward": ({"grad": A, "y": A}, {}, {"out": A}),
    "maxout": ({"x": A}, {"pieces": 2}, {"out": B, "out_index": (B, BYTES)}),
    "maxout_backward": ({"grad": B, "index": (B, BYTES)}, {"pieces": 2}, {"out": A}),
    "relu_masked": ({"x": A}, {}, {"out": A, "mask": ((3,), BYTES)}),
    "relu_masked_backward": ({"grad": A, "mask": ((3,), BYTES)}, {}, {"out": A}),
}


def ones(spec):
    shape, dtype = spec if isinstance(spec[0], tuple) else (spec, np.float32)
    return np.ones(shape, dtype)


@pytest.fixture(params=OTHERS)
def other(request):
    """The function, its arguments, and the names of those that are read and those that are written."""
    read, more, written = OTHERS[request.param]
    arguments = {name: ones(spec) for name, spec in {**read, **written}.items()}
    return getattr(fa, request.param), {**arguments, **more}, list(read), list(written)


def refused(function, arguments, kind, *words):
    """The call raises that, says so with the function's name, and leaves every array alone."""
    arrays = {name: a for name, a in arguments.items() if isinstance(a, np.ndarray) and a.dtype != object}
    before = {name: a.tobytes() for name, a in arrays.items()}
    text = message(lambda: function(**arguments), kind)
    assert text.startswith(f"{function.__name__}: ")
    for word in words:
        assert word in text
    assert {name: a.tobytes() for name, a in arrays.items()} == before


def test_wrong_input_of_the_others(other):
    function, arguments, read, _ = other
    function(**arguments)
    for name in read:
        for what, (value, named, _) in WRONG_ARRAYS.items():
            is_number = what in ("bool object", "int64 scalar", "float16 scalar")
            if (name in ("weight", "beta") and is_number) or (what == "uint8" and arguments[name].dtype == BYTES):
                continue
            words = () if what == "masked array" and arguments[name].dtype == BYTES else (named,)
            refused(function, {**arguments, name: value}, TypeError, *words)
        for shape in ((5, 6), (4, 5), (7,), (4, 6, 1)):
            if len(read) > 1 or (shape == (4, 5) and function is fa.maxout):
                refused(function, {**arguments, name: np.ones(shape, arguments[name].dtype)}, ValueError)


def test_wrong_outputs_of_the_others(other):
    function, arguments, _, written = other
    for name in written:
        good = arguments[name]
        for value in (np.zeros(good.shape, np.float64), np.zeros(good.shape, np.int8), [1.0], 1.0):
            refused(function, {**arguments, name: value}, TypeError, name)
        for shape in ((*good.shape, 1), (0,), (), (*good.shape[:-1], good.shape[-1] + 1)):
            refused(function, {**arguments, name: np.zeros(shape, good.dtype)}, ValueError, name)
        frozen = good.copy()
        frozen.flags.writeable = False
        refused(function, {**arguments, name: frozen}, ValueError, name, "read-only")
        repeated = np.lib.stride_tricks.as_strided(good.copy(), good.shape, (0,) * good.ndim, writeable=True)
        refused(function, {**arguments, name: repeated}, ValueError, name, "overlaps itself")


def test_overlap_in_the_others(other):
    """No output may share part of its memory with any other array of the call."""
    function, arguments, read, written = other
    for name in written:
        for partner in (*read, *(w for w in written if w != name)):
            own, its = arguments[name], arguments[partner]
            for first, second in ((own, its), (its, own)):  # the second begins within the first's last element
                start = first.nbytes - max(4, first.itemsize) if first.nbytes > 4 else 0
                start -= start % second.itemsize
                memory = np.zeros(start + second.nbytes + first.nbytes + 64, np.uint8)
                memory = memory[-memory.__array_interface__["data"][0] % 64 :]
                a = memory[: first.nbytes].view(first.dtype).reshape(first.shape)
                b = memory[start : start + second.nbytes].view(second.dtype).reshape(second.shape)
                a[...], b[...] = 0, 0
                pair = {name: a, partner: b} if first is own else {name: b, partner: a}
                refused(function, {**arguments, **pair}, ValueError, "overlap")
