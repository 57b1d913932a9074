"""Batches of a source: every row once, shuffled within windows, read ahead; threads end, errors come through."""

import threading
import time

import numpy as np
import pytest

from fastact.data.sources import Arrays, Piece, Stream
from fastact.data.streaming import StreamBatches, window_rows

X = np.arange(230, dtype=np.float32).reshape(115, 2)
Y = np.arange(115)
WEIGHTS = np.linspace(0, 3, 115)


def convert(x, y, weight):
    return x, y, weight, weight


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "fastact reader"]


def batches(size=10, window=40, seed=0, source=None, block=7, **options):
    source = Arrays(X, Y, WEIGHTS) if source is None else source
    source.ahead = options.pop("ahead", True)
    generator = None if seed is None else np.random.default_rng(seed)
    return StreamBatches("fit", source, convert, size, window, generator, pieces=source.pieces(block), **options)


def gone_through(made):
    return [[part if isinstance(part, float | int) else part.copy() for part in batch] for batch in made.epoch()]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.parametrize(
    ("size", "window", "block"),
    [(10, 40, 7), (10, 43, 7), (1, 1, 1), (7, 50, 200), (114, 10, 3), (115, 1, 9), (500, 1000, 20), (8, 8, 8)],
)
def test_every_row_once(size, window, block, seed, ahead):
    made = batches(size, window, seed, block=block, ahead=ahead)
    assert made.rows == 115
    orders = []
    for _ in range(3):
        found = gone_through(made)
        assert [len(x) for x, *_ in found[:-1]] == [made.size] * (len(found) - 1)
        assert made.steps == len(found)
        assert {len(x) for x, *_ in found} == set(made.sizes)
        for x, y, sample_weight, weight in found:
            np.testing.assert_array_equal(x, X[y])
            np.testing.assert_array_equal(sample_weight, WEIGHTS[y])
            assert weight == pytest.approx(WEIGHTS[y].sum())
        order = np.concatenate([y for _, y, _, _ in found])
        assert sorted(order) == Y.tolist()
        orders.append(order.tolist())
    if seed is None:
        assert orders == [Y.tolist()] * 3
    elif size < 114 and window > 1:
        assert orders[0] != orders[1] != orders[2]
    assert made.passed == 3 * 115


def test_the_order_follows_from_the_generator_alone():
    ahead, inline, other = batches(), batches(ahead=False), batches(seed=1)
    orders = []
    for made in (ahead, inline, other):
        made.waiting = threading.Lock  # any context will do
        orders.append([np.concatenate([b[1] for b in gone_through(made)]).tolist() for _ in range(2)])
    assert orders[0] == orders[1] != orders[2]
    for made in (ahead, inline):
        state = made.generator.bit_generator.state
        twin = batches()
        twin.generator.bit_generator.state = state  # as a checkpoint has it, between two epochs
        assert [b[1].tolist() for b in gone_through(twin)] == [b[1].tolist() for b in gone_through(made)]


def test_all_is_drawn_when_the_epoch_begins():
    made = batches()
    epoch = made.epoch()
    state = made.generator.bit_generator.state
    for _ in epoch:
        assert made.generator.bit_generator.state == state


def test_windows_mix_pieces_from_everywhere():
    """Of 1000 rows in order, a window of 200 in blocks of 10 holds rows of all of them."""
    x = np.arange(1000, dtype=np.float32)[:, None]
    made = batches(20, 200, 0, Arrays(x, np.arange(1000)), 10)
    order = np.concatenate([b[1].copy() for b in made.epoch()])
    for window in order.reshape(5, 200):
        assert window.min() < 150
        assert window.max() > 850
        assert abs(np.corrcoef(np.arange(200), window)[0, 1]) < 0.3
        assert len(set(window // 10)) == 20  # whole blocks, mixed: neighbours come apart
        assert np.median(np.abs(np.diff(window))) > 30


def test_each_window_has_an_order_of_its_own():
    made = batches(20, 20, 0, Stream([(X, Y, WEIGHTS)], rows=100))
    orders = [tuple(b[1] - b[1].min()) for _ in range(2) for b in made.epoch()]
    assert len(set(orders)) == 10
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_pieces_are_asked_for_beforehand():
    source, events = Arrays(X, Y, WEIGHTS), []

    def noting(piece):
        def read(labelled):
            events.append(("read", piece.first))
            return piece.read(labelled)

        return piece._replace(read=read, prepare=lambda: events.append(("prepare", piece.first)))

    made = StreamBatches("fit", source, convert, 10, 40, None, pieces=[noting(p) for p in source.pieces(10)])
    assert len(list(made.epoch())) == made.steps
    firsts = list(range(0, 115, 10))
    assert [first for event, first in events if event == "read"] == firsts
    assert [first for event, first in events if event == "prepare"] == firsts[1:]
    for first in firsts[1:]:
        assert events.index(("prepare", first)) < events.index(("read", max(0, first - 40))) or first <= 40


def test_memory_is_reused():
    made = batches(10, 40)
    places = {x.ctypes.data // 4096 for _ in range(3) for x, *_ in made.epoch()}
    assert sum(held is not None for window in made.spare for held in window.arrays) == 8
    assert all(window.arrays[0].shape == (40, 2) for window in made.spare)
    assert places


def test_weights_that_some_blocks_lack():
    blocks = [(X[:20], Y[:20], None), (X[20:50], Y[20:50], WEIGHTS[20:50]), (X[50:], Y[50:], None)]
    expected = np.concatenate([np.ones(20), WEIGHTS[20:50], np.ones(65)])
    for window in (10, 35, 200):
        made = batches(5, window, None, Stream([b if b[2] is not None else b[:2] for b in blocks]))
        seen = {}
        for _, y, sample_weight, weight in made.epoch():
            given = np.ones(len(y)) if sample_weight is None else sample_weight
            seen.update(zip(y.tolist(), given.tolist(), strict=True))
            assert weight == pytest.approx(expected[y].sum())
        assert [seen[i] for i in range(115)] == expected.tolist()


@pytest.mark.parametrize("ahead", [True, False])
def test_batches_as_they_come(ahead):
    given = [(X[:3], Y[:3], WEIGHTS[:3]), (X[3:3], Y[3:3], WEIGHTS[:0]), (X[3:10], Y[3:10], WEIGHTS[3:10])] * 40
    made = batches(None, 20, 0, Stream(given), ahead=ahead)
    assert (made.rows, made.steps, tuple(made.sizes)) == (None, None, ())
    for _ in range(2):
        found = list(made.epoch())
        assert [len(x) for x, *_ in found] == [3, 7] * 40
        assert all((y == Y[:3]).all() for _, y, _, _ in found[::2])


def test_a_slow_source_is_not_waited_for_longer_than_it_takes():
    """A batch that somebody waits for is handed over at once, however small."""

    def slow():
        for _ in range(3):
            yield X, Y, WEIGHTS
            assert handed.wait(10)
            handed.clear()

    handed = threading.Event()
    for _ in batches(None, 10**6, 0, Stream(slow)).epoch():
        handed.set()


def test_reading_goes_on_meanwhile():
    read = threading.Event()

    def source():
        yield X[:50], Y[:50], WEIGHTS[:50]
        yield X[50:60], Y[50:60], WEIGHTS[50:60]
        read.set()
        yield X[60:], Y[60:], WEIGHTS[60:]

    epoch = batches(10, 50, 0, Stream(source)).epoch()
    next(epoch)
    assert read.wait(10)
    assert sum(len(b[0]) for b in epoch) == 105


@pytest.mark.parametrize("after", [0, 1, 5])
@pytest.mark.parametrize("size", [10, None])
def test_threads_end_where_nobody_goes_on(after, size):
    epoch = batches(size, 20, 0, Stream(lambda: ((X, Y, WEIGHTS) for _ in range(10**9)))).epoch()
    for _ in range(after):
        next(epoch)
    epoch.close()


def test_an_iterator_that_never_returns_is_left():
    forever, wanted = threading.Event(), threading.Event()

    def stuck():
        yield X, Y, WEIGHTS
        wanted.set()
        forever.wait()

    epoch = batches(None, 20, 0, Stream(stuck)).epoch()
    next(epoch)
    assert wanted.wait(10)
    began = time.monotonic()
    epoch.close()
    assert time.monotonic() - began < 5
    forever.set()
    for thread in threading.enumerate():
        if thread.name == "fastact reader":
            thread.join(10)


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError, SystemExit])
@pytest.mark.parametrize("size", [10, None])
def test_errors_of_the_reader_come_through(ahead, error, size):
    def failing():
        yield X, Y, WEIGHTS
        raise error("mine")

    epoch = batches(size, 200, 0, Stream(failing), ahead=ahead).epoch()
    with pytest.raises(error) as caught:
        list(epoch)
    assert caught.value.args == ("mine",)


def test_errors_name_the_place():
    def refuse(x, y, weight):
        if (y == 60).any():
            raise TypeError(f"fit: bad at row {int(np.argmax(y == 60))}, column 1")
        return convert(x, y, weight)

    for source, place in (
        (Arrays(X, Y, WEIGHTS), r"bad at row 60, column 1 \(in x\)"),
        (Stream([(X[:50], Y[:50], WEIGHTS[:50]), (X[50:], Y[50:], WEIGHTS[50:])]), r"bad at row 10, .* \(in batch 2\)"),
    ):
        made = batches(source=source)
        made.convert = refuse
        with pytest.raises(TypeError, match=place):
            list(made.epoch())


@pytest.mark.parametrize(
    ("message", "says"),
    [("bad at row 3, column 1", r"bad at row 1063, column 1 \(in t.csv\)"), ("bad", r"\(in t.csv, from row 1060 on\)")],
)
def test_rows_are_counted_through_the_blocks_of_a_piece(message, says):
    def refuse(x, y, weight):
        if (y == 60).any():
            raise ValueError(message)
        return convert(x, y, weight)

    def read(labelled):
        for start in range(0, 115, 10):
            yield X[start : start + 10], Y[start : start + 10], WEIGHTS[start : start + 10]

    made = StreamBatches("fit", Arrays(X), refuse, 10, 40, None, pieces=[Piece("t.csv", None, read, 1000)])
    with pytest.raises(ValueError, match=says):
        list(made.epoch())


def test_other_rows_than_were_promised():
    with pytest.raises(ValueError, match="expected 200 rows, as it was said to have, got 115"):
        list(batches(source=Stream([(X, Y, WEIGHTS)], rows=200)).epoch())
    assert [len(b[0]) for b in batches(30, source=Stream([(X, Y, WEIGHTS)], rows=70)).epoch()] == [30, 30, 10]
    used = iter([(X, Y, WEIGHTS)])
    made = batches(source=Stream(lambda: used))
    list(made.epoch())
    with pytest.raises(
        ValueError, match="fit: expected at least one row of data, got none; a function must return a new"
    ):
        list(made.epoch())
    with pytest.raises(ValueError, match="fit: expected rows that count"):
        list(batches(source=Arrays(X, Y, 0 * WEIGHTS)).epoch())


def test_windows_in_rows_and_bytes():
    assert window_rows("fit", 17, 4) == 17
    assert window_rows("fit", "64 MB", 100) == 640_000
    assert window_rows("fit", "1.5KiB", 8) == 192
    assert window_rows("fit", "3gb", 1) == 3 * 10**9
    assert window_rows("fit", "10", 100) == 1
    for wrong in ("64 QB", "", "MB", "-3 MB"):
        with pytest.raises(ValueError, match="fit: expected window to be a number of rows, or bytes as in '64 MB'"):
            window_rows("fit", wrong, 4)
    with pytest.raises(ValueError, match="window"):
        window_rows("fit", 0, 4)
