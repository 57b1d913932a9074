"""``fastact check``: right kernels pass; wrong ones fail, with the input that shows it."""

import json
from decimal import Decimal

import numpy as np
import pytest

import fastact as fa
from fastact import backends, cli, functional, losses, optim, registry, runtime
from fastact.measure import parity

pytestmark = pytest.mark.skipif(not backends.compiled, reason="no compiled core")


@pytest.fixture(scope="module")
def report():
    return fa.check()


def test_everything_is_within_its_bound(report):
    assert report.ok, str(report)
    assert report.instruction_sets == list(runtime.config()["instruction_sets_supported"])


def test_everything_in_the_lists_is_there(report):
    rows = {(row.function, row.dtype) for row in report.rows}
    names = [*registry.ACTIVATIONS, *(f"{name}_backward" for name in registry.ACTIVATIONS), *registry.LEARNED]
    names += [f"dense {name}" for name in (*registry.ACTIVATIONS, *registry.LEARNED)]
    names += [loss.__name__ for loss in losses.FACTS] + [f"optim.{c.__name__}" for c in optim.OPTIMIZERS.values()]
    assert {(name, dtype) for name in (*names, "fit") for dtype in ("float32", "float64")} <= rows


@pytest.mark.parametrize("name", ["gelu_backward", "dense_forward"])
def test_a_wrong_kernel_fails_with_its_input(capsys, monkeypatch, name):
    right = getattr(functional, name)

    def wrong(*arguments, **options):
        found = right(*arguments, **options)
        if fa.get_backend() == "native":
            array = found[0] if isinstance(found, tuple) else found
            with np.errstate(all="ignore"):
                array *= array.dtype.type(1 + 100 * np.finfo(array.dtype).eps)
        return found

    monkeypatch.setattr(functional, name, wrong)
    monkeypatch.setattr(parity, "POINTS", 50)
    code = cli.main(["check", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 1
    assert not found["ok"]
    failed = [row for row in found["rows"] if row["failures"]]
    assert all(row["function"].startswith(name.removesuffix("_forward")) or row["function"] == "fit" for row in failed)
    assert len({row["dtype"] for row in failed}) == 2
    assert all(row["at"] for row in failed)


def test_units_in_the_last_place_and_decimal_values():
    one = np.float32([1, 2, np.inf, np.nan, 0])
    error = parity._ulp(np.float32([1 + 2**-22, 2, np.inf, np.nan, np.nan]), one.astype(np.float64))
    np.testing.assert_array_equal(error, [2, 0, 0, 0, np.inf])
    known = parity._names()
    assert abs(known["Phi"](Decimal(1)) - Decimal("0.84134474606854294858523254563204")) < Decimal("1e-27")
    assert abs(known["tanh"](Decimal("0.5")) - Decimal("0.46211715726000975850231848364367")) < Decimal("1e-27")
