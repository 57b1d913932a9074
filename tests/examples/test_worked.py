"""The lectures' worked examples: every printed number, copied here once more, and the rule of agreement."""

import contextlib
import re

import numpy as np
import pytest

import fastact as fa
from fastact import registry
from fastact.examples import worked

# Per example, the printed numbers of its rows of numbers in order.
PRINTED = {
    1: ["0.99995 0.50000 0.73105 0.00247", "1.0 0.0 0.76159 -0.99999", "10 0 1 0"],
    2: ["0.0005 -1.2500 -0.0786 0.0037", "0.0000 -5.0000 -0.1680 0.0000", "10 -5 -0.4 0"],
    3: ["0 1 0 1"],
    4: ["-7", "5 -2 1", "3 -12", "3 -4 -4 -4", "6 6", "24 -54", "7", "2", "0 6", "6 0", "-6", "3 -2 2", "0"],
    5: ["0.73", "0.20", "-0.20 0.40 -0.40 -0.60 0.20", "0.39 -0.39 -0.59"],
    6: [
        "0.3775",
        "0.593269992 0.596884378",
        "0.75136507 0.772928465",
        "0.274811083 0.023560026 0.298371109",
        "0.74136507",
        "0.186815602",
        "0.082167041",
        "0.35891648 0.408666186",
        "0.511301270 0.561370121",
        "0.138498562",
        "0.055399425",
        "-0.019049119",
        "-0.0190491185",
        "0.036350306",
        "0.241300709",
        "0.000438568",
        "0.149780716 0.19956143",
        "0.24975114 0.29950229",
        "0.00003510188",
        "0.015913620 0.984064274",
    ],
    13: ["4.5e-5 0.25 4.5e-5", "0.25"],
    14: ["0 0", "3", "0", "0", "0.25 -500", "0 1", "0"],
    15: ["0 0.088835", "0 0.782648"],
}
#: Rows in words, per example.
FACTS = {3: 2, 6: 1, 7: 2, 8: 1, 9: 5, 10: 5, 11: 2, 12: 2, 13: 4, 14: 4, 15: 3, 16: 3, 17: 2, 18: 8, 19: 1, 20: 2}
NUMBERS = re.compile(r"-?\d[\d.]*(e-?\d+)?( -?\d[\d.]*(e-?\d+)?)*")


def is_numbers(row):
    return NUMBERS.fullmatch(row.lecture) is not None


@pytest.mark.parametrize("number", worked.EXAMPLES)
@pytest.mark.usefixtures("backend")
def test_example(number):
    title, rows = worked.run(number)
    assert title
    printed = [row for row in rows if is_numbers(row)]
    assert [row.lecture for row in printed] == PRINTED.get(number, [])
    assert len(rows) - len(printed) == FACTS.get(number, 0)
    assert [row for row in rows if row.agrees is False] == []
    assert [row.agrees is None for row in rows] == [number == 16] * len(rows)
    for row in printed:
        for said, got in zip(row.lecture.split(), row.fastact.split(), strict=True):
            mantissa, _, exponent = said.partition("e")
            digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
            unit = 10.0**-digits if digits else 0
            assert abs(float(got) - float(said)) <= unit * (1 + 1e-9)


def test_all_twenty_are_there():
    assert list(worked.EXAMPLES) == list(range(1, 21))


@pytest.mark.parametrize(
    ("printed", "value", "right"),
    [
        ("0.73", 0.7311, True),
        ("0.73", 0.7399, True),
        ("0.73", 0.7401, False),
        ("0.73", -0.73, False),
        ("4.5e-5", 4.54e-5, True),
        ("4.5e-5", 4.61e-5, False),
        ("-7", -7.0, True),
        ("-7", -7.0000001, False),  # a whole number is exact
        ("10", 10.5, False),
        ("1.0", 0.95, True),
        ("0.0000", 0.00009, True),
        ("0.5", float("nan"), False),
        ("0.5", float("inf"), False),
    ],
)
def test_agreement_is_one_unit_of_the_last_printed_digit(printed, value, right):
    assert worked.agrees(printed, value) is right


# ------------------------------------------------------------------------------------------ a flipped sign is seen


@contextlib.contextmanager
def changed(thing, **attributes):
    """The numpy backend with another formula."""
    before = {name: getattr(thing, name) for name in attributes}
    for name, value in attributes.items():
        object.__setattr__(thing, name, value)
    try:
        with fa.use_backend("numpy"):
            yield
    finally:
        for name, value in before.items():
            object.__setattr__(thing, name, value)


def flipped(function):
    return lambda *arguments: -function(*arguments)


@pytest.mark.parametrize(
    ("name", "attribute", "examples"),
    [
        ("sigmoid", "value", (1, 5, 9, 13)),
        ("sigmoid", "slope", (2, 5, 6, 9, 13)),
        ("tanh", "value", (1, 13)),
        ("tanh", "slope", (2,)),
        ("relu", "value", (1, 18)),
        ("relu", "slope", (18,)),
        ("elu", "slope", (14,)),
        ("selu", "value", (15,)),
        ("selu", "slope", (15,)),
    ],
)
def test_a_flipped_sign_is_seen(name, attribute, examples):
    entry = registry.ACTIVATIONS[name]
    with changed(entry, **{attribute: flipped(getattr(entry, attribute))}), np.errstate(all="ignore"):
        for number in examples:
            assert any(row.agrees is False for row in worked.run(number)[1]), number


def test_a_wrong_sum_of_gradients_is_seen(monkeypatch):
    backward = worked.functional.dense_backward

    def wrong(*arguments, **options):
        result = backward(*arguments, **options)
        return result._replace(dw=-result.dw)

    monkeypatch.setattr(worked.functional, "dense_backward", wrong)
    for number in (4, 5, 18):
        assert any(row.agrees is False for row in worked.run(number)[1]), number
