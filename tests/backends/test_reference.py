"""The two backends have the same functions with the same arguments."""

import inspect

import pytest

from fastact import backends
from fastact.backends import reference

pytestmark = pytest.mark.skipif(not backends.compiled, reason="no compiled core")


def public(module):
    """Functions and classes of a backend, constants too."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, int))
        if getattr(value, "__module__", module.__name__).startswith("fastact.") or isinstance(value, int)
    }


def test_the_same_names():
    compiled, twin = public(backends.engine), public(reference)
    assert sorted(compiled) == sorted(twin)
    for name, value in compiled.items():
        if isinstance(value, int):
            assert twin[name] == value


@pytest.mark.parametrize("name", sorted(name for name, value in public(reference).items() if callable(value)))
def test_the_same_arguments(name):
    ours, theirs = getattr(backends.engine, name), getattr(reference, name)
    if inspect.isclass(theirs):
        methods = {m for m in vars(theirs) if not m.startswith("_")}
        assert {m for m in dir(ours) if not m.startswith("_")} >= methods
        return
    assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
