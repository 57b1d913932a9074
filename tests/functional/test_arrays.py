"""What a caller may pass: layouts, out=, aliasing, subclasses, scalars; in both backends."""

import ctypes
import mmap
import os

import numpy as np
import pytest
from support import assert_same_bits, backward, forward, saved_by

import fastact as fa

SHAPE = (6, 8)


@pytest.fixture
def case(entry, dtype, backend):
    """The activation with arrays x, grad, saved, and what it makes of them."""
    x = np.random.default_rng(0).normal(0, 2, SHAPE).astype(dtype)
    grad = np.random.default_rng(1).normal(0, 2, SHAPE).astype(dtype)
    y = forward(entry, x)
    saved = saved_by(entry, x, y)
    return entry, x, grad, saved, y, backward(entry, grad, saved)


def misaligned(array):
    buffer = np.empty(array.nbytes + 1, np.uint8)
    copy = buffer[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    assert not copy.flags.aligned
    return copy


def strided(array):
    wide = np.zeros((array.shape[0] * 2, array.shape[1] * 3), array.dtype)
    wide[::2, ::3] = array
    return wide[::2, ::3]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


class Subclass(np.ndarray):
    pass


LAYOUTS = {
    "C": lambda a: np.array(a, order="C"),
    "Fortran": lambda a: np.array(a, order="F"),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "strided": strided,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "read-only": read_only,
    "subclass": lambda a: a.copy().view(Subclass),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_input_layouts(case, layout):
    entry, x, grad, saved, y, dx = case
    arrange = LAYOUTS[layout]
    given = arrange(x)
    before = np.array(given)
    result = forward(entry, given)
    assert type(result) is np.ndarray
    assert result.dtype.isnative
    assert_same_bits(result, y)
    np.testing.assert_array_equal(given, before)
    for g, s in ((arrange(grad), arrange(saved)), (grad, arrange(saved)), (arrange(grad), saved)):
        result = backward(entry, g, s)
        assert type(result) is np.ndarray
        assert_same_bits(result, dx)
        np.testing.assert_array_equal(g, grad)
        np.testing.assert_array_equal(s, saved)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
def test_output_layouts(case, layout):
    entry, x, grad, saved, y, dx = case
    out = LAYOUTS[layout](np.full_like(x, 99))
    assert forward(entry, x, out=out) is out
    np.testing.assert_array_equal(out, y)
    out = LAYOUTS[layout](np.full_like(x, 99))
    assert backward(entry, grad, saved, out=out) is out
    np.testing.assert_array_equal(out, dx)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "read-only"])
def test_in_place_in_any_layout(case, layout):
    entry, x, grad, saved, y, dx = case
    arrange = LAYOUTS[layout]
    out = arrange(x)
    assert forward(entry, out, out=out) is out
    np.testing.assert_array_equal(out, y)
    out = arrange(grad)
    assert backward(entry, out, saved, out=out) is out
    np.testing.assert_array_equal(out, dx)
    out = arrange(saved)
    assert backward(entry, grad, out, out=out) is out
    np.testing.assert_array_equal(out, dx)


def test_a_result_is_new_memory(case):
    _, x, grad, saved, y, dx = case
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, grad)
    assert not np.shares_memory(dx, saved)


def test_inputs_are_left_alone(case):
    entry, x, grad, saved, _, _ = case
    copies = x.copy(), grad.copy(), saved.copy()
    forward(entry, x)
    backward(entry, grad, saved)
    forward(entry, x, out=np.empty_like(x))
    backward(entry, grad, saved, out=np.empty_like(x))
    for array, copy in zip((x, grad, saved), copies, strict=True):
        assert_same_bits(array, copy)


def test_neighbours_in_one_buffer_are_disjoint(case):
    entry, x, grad, saved, y, dx = case
    buffer = np.concatenate([x, np.zeros_like(x), np.zeros_like(x)])
    forward(entry, buffer[:6], out=buffer[6:12])
    assert_same_bits(buffer[6:12].copy(), y)
    assert_same_bits(buffer[:6].copy(), x)
    buffer[:6], buffer[12:] = grad, saved
    backward(entry, buffer[:6], buffer[12:], out=buffer[6:12])
    assert_same_bits(buffer[6:12].copy(), dx)
    # Interleaved columns touch no common element.
    pairs = np.zeros((x.size, 2), x.dtype)
    pairs[:, 0] = x.ravel()
    forward(entry, pairs[:, 0], out=pairs[:, 1])
    assert_same_bits(pairs[:, 1].copy(), y.ravel())


def overlapping(array):
    """(source, out) pairs that share some memory but are not the same place."""
    line = np.concatenate([array.ravel(), array.ravel()])
    n = array.size
    yield line[:n], line[1 : n + 1]
    yield line[1 : n + 1], line[:n]
    yield line[:n], line[n - 1 : 2 * n - 1]
    yield line[:n], line[:n][::-1]
    yield line[::2], line[:n]
    square = np.array(array[:6, :6])
    yield square, square.T
    stretched = np.lib.stride_tricks.as_strided(line, (n,), (line.itemsize * 2,))
    yield stretched, line[:n]
    shifted = line.view(np.uint8)[1 : n * line.itemsize + 1].view(line.dtype)
    yield line[:n], shifted


def test_partial_overlap_is_refused(case):
    entry, x, grad, saved, _, _ = case
    for source, out in overlapping(x):
        before = out.copy()
        with pytest.raises(ValueError, match=f"^{entry.name}: out overlaps x; pass exactly x or memory"):
            forward(entry, source, out=out)
        assert_same_bits(out.copy(), before)
    for source, out in overlapping(grad):
        before, other = out.copy(), np.resize(saved, source.shape)
        with pytest.raises(ValueError, match=f"^{entry.name}_backward: out overlaps grad"):
            backward(entry, source, other, out=out)
        assert_same_bits(out.copy(), before)
    for source, out in overlapping(saved):
        before, other = out.copy(), np.resize(grad, source.shape)
        with pytest.raises(ValueError, match=f"^{entry.name}_backward: out overlaps {entry.saved_name}"):
            backward(entry, other, source, out=out)
        assert_same_bits(out.copy(), before)


def test_exact_on_one_and_partial_on_the_other_is_refused(case):
    entry, x, *_ = case
    line = np.concatenate([x.ravel(), x.ravel()])
    for grad, saved in ((line[: x.size], line[1 : x.size + 1]), (line[1 : x.size + 1], line[: x.size])):
        before = line.copy()
        with pytest.raises(ValueError, match="overlaps"):
            backward(entry, grad, saved, out=grad)
        assert_same_bits(line, before)


def test_empty_arrays_do_not_overlap(entry, dtype, backend):
    line = np.zeros(4, dtype)
    assert forward(entry, line[2:2], out=line[2:2]).size == 0
    assert forward(entry, line[1:1], out=line[2:2]).size == 0
    assert backward(entry, line[1:1], line[2:2], out=line[3:3]).size == 0


def test_zero_dimensional_arrays_and_scalars(case):
    entry, x, grad, saved, y, dx = case
    dtype = x.dtype.type
    zero_d = forward(entry, np.array(x[1, 2]))
    assert isinstance(zero_d, np.ndarray)
    assert zero_d.shape == ()
    assert_same_bits(zero_d, y[1, 2])
    scalar = forward(entry, x[1, 2])
    assert type(scalar) is dtype
    assert_same_bits(scalar, y[1, 2])
    scalar = backward(entry, grad[1, 2], saved[1, 2])
    assert type(scalar) is dtype
    assert_same_bits(scalar, dx[1, 2])
    out = np.zeros((), dtype)
    assert forward(entry, x[1, 2], out=out) is out
    assert_same_bits(out, y[1, 2])


def test_broadcast_input(case):
    entry, x, *_ = case
    line = np.broadcast_to(x[0], (5, x.shape[1]))
    np.testing.assert_array_equal(forward(entry, line), np.broadcast_to(forward(entry, x[0].copy()), line.shape))
    np.testing.assert_array_equal(backward(entry, line, line), backward(entry, line.copy(), line.copy()))


def test_memory_map(case, tmp_path):
    entry, x, grad, saved, y, dx = case
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[...] = x
    result = forward(entry, mapped)
    assert type(result) is np.ndarray
    assert_same_bits(result, y)
    assert forward(entry, mapped, out=mapped) is mapped
    mapped.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x", x.dtype).reshape(SHAPE), y)
    mapped[...] = grad
    assert backward(entry, mapped, saved, out=mapped) is mapped
    np.testing.assert_array_equal(mapped, dx)
    frozen = np.memmap(tmp_path / "x", x.dtype, "r", shape=x.shape)
    assert_same_bits(forward(entry, frozen), forward(entry, dx))
    with pytest.raises(ValueError, match="read-only"):
        forward(entry, x, out=frozen)


def test_structured_field(case):
    entry, x, *_, y, _ = case
    records = np.zeros(x.size, [("flag", np.int8), ("value", x.dtype)])
    records["value"] = x.ravel()
    assert_same_bits(forward(entry, records["value"]), y.ravel())
    assert forward(entry, records["value"], out=records["value"]) is not None
    assert_same_bits(records["value"].copy(), y.ravel())
    assert not records["flag"].any()


@pytest.fixture
def endless():
    """2^32 + 4096 float32: the same 64 MB of memory again and again, so that elements are equal modulo 2^24."""
    if not hasattr(os, "memfd_create") or ctypes.sizeof(ctypes.c_void_p) < 8:
        pytest.skip("needs memory mapped many times over")
    piece, total = 1 << 26, (1 << 34) + 4096 * 4
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    file, failed, fixed = os.memfd_create("endless"), ctypes.c_void_p(-1).value, 0x10
    os.ftruncate(file, piece)
    start = libc.mmap(None, total, mmap.PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, -1, 0)
    try:
        if start == failed:
            pytest.skip("no address space")
        for at in range(0, total, piece):
            size = min(piece, total - at)
            flags = mmap.MAP_SHARED | fixed
            if libc.mmap(start + at, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, file, 0) == failed:
                pytest.skip("no address space")
        yield np.frombuffer((ctypes.c_char * total).from_address(start), np.float32)
    finally:
        os.close(file)
        if start != failed:
            libc.munmap(start, total)


def test_more_elements_than_an_int_counts(endless):
    """Lengths cut to 32 bits would leave all but the first 4096 elements as they were, or go astray."""
    for threads, call in (
        (1, lambda x: fa.relu(x, out=x)),
        (2, lambda x: fa.relu_backward(x, x, out=x)),
        (2, lambda x: fa.prelu(x, 0.0, out=x)),
    ):
        endless[: 1 << 24] = -1
        with fa.num_threads(threads):
            assert call(endless) is endless
        assert (endless[: 1 << 24] == 0).all()
