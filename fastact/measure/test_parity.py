"""``pytest --pyargs fastact.measure.test_parity``: the kernels on this machine, in somebody's own tests."""

from .parity import check


def test_kernels_are_within_their_bounds() -> None:
    report = check()
    assert report.ok, f"\n{report}"
