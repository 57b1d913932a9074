"""A function is a function: the same value gives the same bits wherever it stands and whoever computes it."""

import numpy as np
import pytest
from support import (
    ENTRIES,
    FMA_SETS,
    SHARED,
    assert_same_bits,
    backward,
    forward,
    gradients,
    inputs,
    parameter_sets,
    saved_by,
    using_instruction_set,
)

import fastact as fa

# Over every threshold: several blocks for each of four threads, and a tail.
MANY = SHARED + 3 * 8192 + 37


@pytest.fixture
def case(entry, dtype, instruction_set):
    """The activation with arrays x, grad, saved, and what it makes of them."""
    x, grad = inputs(dtype, 1013), gradients(dtype, 1013)
    y = forward(entry, x)
    saved = saved_by(entry, x, y)
    return entry, x, grad, saved, y, backward(entry, grad, saved)


def test_position_and_length(case):
    entry, x, grad, saved, y, dx = case
    for n in (*range(1, 36), 63, 64, 65, 97, 255):
        for start in (0, 1, 2, 3, 5, 8, 16, 31, 700):
            place = slice(start, start + n)
            assert_same_bits(forward(entry, x[place]), y[place])
            assert_same_bits(backward(entry, grad[place], saved[place]), dx[place])


def at_offset(array, offset):
    """A copy that starts that many bytes after a multiple of 64; misaligned unless a multiple of the item size."""
    buffer = np.empty(array.nbytes + 128, np.uint8)
    start = -buffer.__array_interface__["data"][0] % 64 + offset
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize(("n", "offsets"), [(97, range(64)), (1103, range(0, 64, 4))])
def test_alignment(case, n, offsets):
    entry, *arrays = case
    x, grad, saved, y, dx = (np.resize(array, n) for array in arrays)
    for offset in offsets:
        misaligned = at_offset(x, offset)
        assert misaligned.flags.aligned == (offset % x.itemsize == 0)
        assert_same_bits(forward(entry, misaligned), y)
        out = at_offset(np.zeros_like(x), (offset * 7) % 64)
        assert forward(entry, x, out=out) is out
        assert_same_bits(out, y)
        out = at_offset(grad, offset)
        assert backward(entry, out, at_offset(saved, (offset * 5) % 64), out=out) is out
        assert_same_bits(out, dx)


@pytest.mark.parametrize("step", [2, 3, 7, -1, -2])
def test_strides(case, step):
    entry, x, grad, saved, y, dx = case
    assert_same_bits(forward(entry, x[::step]), y[::step])
    assert_same_bits(backward(entry, grad[::step], saved[::step]), dx[::step])
    out = np.zeros(x[::step].size * abs(step), x.dtype)[::step]
    assert forward(entry, x[::step], out=out) is out
    assert_same_bits(out, y[::step])
    assert backward(entry, grad[::step].copy(), saved[::step], out=out) is out
    assert_same_bits(out, dx[::step])


@pytest.mark.parametrize("guest", [-400.0, -21.0, -7.0, 9.0, 30.0, np.nan, np.inf])
def test_company(entry, dtype, instruction_set, guest):
    """Kernels may treat a strip of ordinary numbers another way than one with a guest from far away: bits must not."""
    count = 131
    x, grad = np.linspace(-4, 4, count).astype(dtype), gradients(dtype, count)
    guests = np.full(count, guest, dtype)
    y, far = forward(entry, x), forward(entry, guests)
    saved, far_saved = saved_by(entry, x, y), saved_by(entry, guests, far)
    dx, far_dx = backward(entry, grad, saved), backward(entry, grad, far_saved)
    for places in (*range(0, 100, 3), slice(None, None, 2), slice(1, None, 5), slice(40, 90)):
        visited = np.zeros(count, bool)
        visited[places] = True
        assert_same_bits(forward(entry, np.where(visited, guests, x)), np.where(visited, far, y))
        assert_same_bits(backward(entry, grad, np.where(visited, far_saved, saved)), np.where(visited, far_dx, dx))


@pytest.mark.parametrize("share", [0.0003, 0.02, 0.2, 0.45, 0.55, 1])
def test_crowds(entry, dtype, instruction_set, share):
    """Few far numbers in a row, many, rare ones in a long array: bits are those of a handful computed by itself."""
    random, count = np.random.default_rng(3), 20011
    x = random.uniform(-4, 4, count).astype(dtype)
    far = random.choice([-400.0, -90.0, -21.0, -12.5, -7.0, 9.0, 12.0, 30.0, np.nan, np.inf], count)
    wide = random.random(count) < share
    x[wide] = (far * random.uniform(1, 1.1, count))[wide]
    grad = random.normal(size=count).astype(dtype)
    handfuls = [slice(i, i + 7) for i in range(0, count, 7)]
    y = np.concatenate([forward(entry, x[part]) for part in handfuls])
    saved = saved_by(entry, x, y)
    dx = np.concatenate([backward(entry, grad[part], saved[part]) for part in handfuls])
    for start in (0, 5):
        places = slice(start, None)
        assert_same_bits(forward(entry, x[places]), y[places])
        assert_same_bits(backward(entry, grad[places], saved[places]), dx[places])
    out = x.copy()
    assert_same_bits(forward(entry, out, out=out), y)
    out = grad.copy()
    assert_same_bits(backward(entry, out, saved, out=out), dx)
    out = saved.copy()
    assert_same_bits(backward(entry, grad, out, out=out), dx)


def test_in_place(case):
    entry, x, grad, saved, y, dx = case
    for n in (1, 7, 8, 33, x.size):
        out = x[:n].copy()
        assert forward(entry, out, out=out) is out
        assert_same_bits(out, y[:n])
        out = grad[:n].copy()
        assert backward(entry, out, saved[:n], out=out) is out
        assert_same_bits(out, dx[:n])
        out = saved[:n].copy()
        assert backward(entry, grad[:n], out, out=out) is out
        assert_same_bits(out, dx[:n])


def test_grad_may_be_saved_itself(case):
    entry, _, _, saved, _, _ = case
    expected = backward(entry, saved.copy(), saved)
    assert_same_bits(backward(entry, saved, saved), expected)
    out = saved.copy()
    assert backward(entry, out, out, out=out) is out
    assert_same_bits(out, expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_order(case, order):
    entry, x, grad, saved, y, dx = case
    shape = (11, 23, 4)
    size = int(np.prod(shape))

    def shaped(array, order=order):
        return np.array(array[:size].reshape(shape), order=order)

    result = forward(entry, shaped(x))
    assert result.flags[f"{order}_CONTIGUOUS"]
    assert_same_bits(result, shaped(y))
    for other in "CF":  # backward's operands and output need not agree
        assert_same_bits(backward(entry, shaped(grad), shaped(saved, other)), shaped(dx))
        out = np.empty(shape, x.dtype, order=other)
        assert forward(entry, shaped(x), out=out) is out
        assert_same_bits(out, shaped(y))
    transposed = shaped(x).transpose(1, 2, 0)
    assert_same_bits(forward(entry, transposed), shaped(y).transpose(1, 2, 0))


def test_long_arrays(case):
    """Where kernels ask for memory ahead, in every thread here (FA_FAR), the values are those of short arrays."""
    entry, *arrays = case
    x, grad, saved, y, dx = (np.resize(array, 270_037) for array in arrays)
    frame = np.full(x.size + 64, 7, x.dtype)
    out = frame[3:-61]  # not aligned, and nothing around it may change
    with fa.num_threads(2):
        assert_same_bits(forward(entry, x, out=out), y)
        out[...] = x
        assert_same_bits(forward(entry, out, out=out), y)
        assert_same_bits(backward(entry, grad, saved, out=out), dx)
        out[...] = grad
        assert_same_bits(backward(entry, out, saved, out=out), dx)
    assert np.all(frame[:3] == 7)
    assert np.all(frame[-61:] == 7)


def test_threads(entry, dtype):
    x, grad = inputs(dtype, MANY), gradients(dtype, MANY)
    with fa.num_threads(1):
        y = forward(entry, x)
        saved = saved_by(entry, x, y)
        dx = backward(entry, grad, saved)
    for n in (2, 3, 4):
        with fa.num_threads(n):
            assert_same_bits(forward(entry, x), y)
            assert_same_bits(backward(entry, grad, saved), dx)
            assert_same_bits(forward(entry, x.copy(), out=np.empty_like(x)), y)
    with fa.num_threads(2):
        small = slice(MANY // 3, MANY // 3 + 1000)
        assert_same_bits(forward(entry, x[small]), y[small])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@pytest.mark.skipif(len(FMA_SETS) < 2, reason="one instruction set with FMA here")
def test_instruction_sets_with_fma_agree(entry, dtype):
    """Zero signs included, NaN payloads apart."""
    unsigned = np.uint32 if dtype is np.float32 else np.uint64
    patterns = np.random.default_rng(11).integers(0, np.iinfo(unsigned).max, 300_000, unsigned, endpoint=True)
    x = np.concatenate([patterns.view(dtype), inputs(dtype, 100_001)])
    grad = gradients(dtype, x.size)
    for values in parameter_sets(entry):
        results = []
        for name in FMA_SETS:
            with using_instruction_set(name):
                y = forward(entry, x, values)
                results.append((y, backward(entry, grad, saved_by(entry, x, y), values)))
        for y, dx in results[1:]:
            assert_same_bits(y, results[0][0])
            assert_same_bits(dx, results[0][1])


# ------------------------------------------------------------- learned weights, masked ReLU, maxout, softmax


def masked(x, out):
    mask = np.empty((x.size + 7) // 8, np.uint8)
    y = fa.relu_masked(x, mask=mask, out=out)
    return y, np.unpackbits(mask, count=x.size, bitorder="little")


# name: a call's arrays from two given ones, elements or rows in step with theirs; the call; which arrays out may be
OTHERS = {
    "prelu": (lambda x, g: (x,), lambda x, out: (fa.prelu(x, 0.3, out=out),), (0,)),
    "swish": (lambda x, g: (x,), lambda x, out: (fa.swish(x, 0.7, out=out),), (0,)),
    "prelu_backward": (lambda x, g: (g, x), lambda g, x, out: (fa.prelu_backward(g, x, 0.3, out=out).dx,), (0, 1)),
    "swish_backward": (lambda x, g: (g, x), lambda g, x, out: (fa.swish_backward(g, x, 0.7, out=out).dx,), (0, 1)),
    "relu_masked": (lambda x, g: (x,), masked, (0,)),
    "relu_masked_backward": (
        lambda x, g: (g, np.packbits(x >= 0, bitorder="little")),
        lambda g, mask, out: (fa.relu_masked_backward(g, mask, out=out),),
        (0,),
    ),
    "maxout": (lambda x, g: (np.stack([x, g, -x], -1),), lambda x, out: fa.maxout(x, 3, out=out), ()),
    "maxout_backward": (
        lambda x, g: (g[:, np.newaxis], (x > 0).astype(np.uint8)[:, np.newaxis]),
        lambda g, index, out: (fa.maxout_backward(g, index, 2, out=out),),
        (),
    ),
    **{
        f.__name__: (lambda x, g: (np.stack([x, g, -x, x], -1),), lambda x, out, f=f: (f(x, out=out),), (0,))
        for f in (fa.softmax, fa.log_softmax)
    },
    **{
        f.__name__: (
            lambda x, g: (np.stack([g, x, g], -1), np.stack([x, g, -x], -1) / 8),
            lambda g, y, out, f=f: (f(g, y, out=out),),
            (0, 1),
        )
        for f in (fa.softmax_backward, fa.log_softmax_backward)
    },
}


@pytest.fixture(params=OTHERS)
def other(request):
    return OTHERS[request.param]


def spread(array, step):
    """The same numbers, every step-th of a larger array."""
    memory = np.zeros((array.shape[0] * abs(step), *array.shape[1:]), array.dtype)
    memory[::step] = array
    return memory[::step]


@pytest.mark.usefixtures("instruction_set")
def test_position_and_length_of_the_others(other, dtype):
    arrays, call, _ = other
    x, grad = inputs(dtype, 1013), gradients(dtype, 1013)
    whole = call(*arrays(x, grad), None)
    for n in (*range(1, 36), 63, 64, 65, 97, 255):
        for start in (0, 1, 3, 8, 31, 700):
            place = slice(start, start + n)
            for got, expected in zip(call(*arrays(x[place], grad[place]), None), whole, strict=True):
                assert_same_bits(got, expected[place])


@pytest.mark.usefixtures("instruction_set")
def test_layouts_of_the_others(other, dtype):
    """Every offset from 64 bytes, strides, in place."""
    arrays, call, in_place = other
    given = arrays(inputs(dtype, 97), gradients(dtype, 97))
    whole = call(*given, None)
    for offset in range(64):
        out = at_offset(np.zeros_like(whole[0]), (offset * 7) % 64)
        results = call(*(at_offset(a, (offset * k) % 64) for k, a in zip((1, 5), given, strict=False)), out)
        assert results[0] is out
        for got, expected in zip(results, whole, strict=True):
            assert_same_bits(got, expected)
    for step in (2, 3, -1, -2):
        out = spread(np.zeros_like(whole[0]), step)
        for place in (None, out):
            for got, expected in zip(call(*(spread(a, step) for a in given), place), whole, strict=True):
                assert_same_bits(got, expected)
    for which in in_place:
        own = [a.copy() for a in given]
        results = call(*own, own[which])
        assert results[0] is own[which]
        for got, expected in zip(results, whole, strict=True):
            assert_same_bits(got, expected)


def test_threads_of_the_others(other, dtype):
    arrays, call, _ = other
    given = arrays(inputs(dtype, MANY), gradients(dtype, MANY))
    with fa.num_threads(1):
        whole = call(*given, None)
    for n in (2, 3, 4):
        with fa.num_threads(n):
            for got, expected in zip(call(*given, None), whole, strict=True):
                assert_same_bits(got, expected)


@pytest.mark.parametrize("name", [name for name in OTHERS if "softmax" not in name])
@pytest.mark.skipif(len(FMA_SETS) < 2, reason="one instruction set with FMA here")
def test_instruction_sets_with_fma_agree_on_the_others(name, dtype):
    arrays, call, _ = OTHERS[name]
    given = arrays(inputs(dtype, 100_001), gradients(dtype, 100_001))
    results = []
    for which in FMA_SETS:
        with using_instruction_set(which):
            results.append(call(*given, None))
    for other_results in results[1:]:
        for got, expected in zip(other_results, results[0], strict=True):
            assert_same_bits(got, expected)


@pytest.mark.parametrize("name", ["prelu", "swish"])
def test_one_weight_and_one_a_column_give_the_same_bits(name, dtype, instruction_set):
    forward_of, backward_of = getattr(fa, name), getattr(fa, f"{name}_backward")
    x, grad = inputs(dtype, 37 * 23).reshape(37, 23), gradients(dtype, 37 * 23).reshape(37, 23)
    weight = np.random.default_rng(2).normal(0.5, 0.5, 23).astype(dtype)
    weight[5] = 0
    y, dx = forward_of(x, weight), backward_of(grad, x, weight).dx
    for column in range(23):
        one = weight[column : column + 1]
        assert_same_bits(y[:, column], forward_of(x[:, column], one))
        assert_same_bits(dx[:, column], backward_of(grad[:, column], x[:, column], one).dx)


def test_repeated_calls(case):
    entry, x, grad, saved, y, dx = case
    for _ in range(3):
        assert_same_bits(forward(entry, x), y)
        assert_same_bits(backward(entry, grad, saved), dx)
