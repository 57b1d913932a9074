"""Functions with two results return named tuples, whether the core or NumPy made them."""

import copy
import gc
import pickle
import sys

import numpy as np
import pytest

import fastact as fa
from fastact import functional, losses


def array(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


CASES = {  # class, fields, call
    "prelu_backward": (
        functional.learned.PReluGradients,
        ("dx", "dweight"),
        lambda x, **out: fa.prelu_backward(x, x, 0.5, **out),
    ),
    "prelu_backward, one weight a channel": (
        functional.learned.PReluGradients,
        ("dx", "dweight"),
        lambda x, **out: fa.prelu_backward(x, x, array(2, 16), **out),
    ),
    "swish_backward": (
        functional.learned.SwishGradients,
        ("dx", "dbeta"),
        lambda x, **out: fa.swish_backward(x, x, 0.5, **out),
    ),
    "maxout": (
        functional.routed.MaxoutResult,
        ("y", "index"),
        lambda x, **out: fa.maxout(x, 1, **out),
    ),
    "softmax_cross_entropy": (
        losses.LossAndGradient,
        ("loss", "grad"),
        lambda x, **out: losses.softmax_cross_entropy(x, np.arange(len(x)) % 16, **out),
    ),
    "squared_error": (
        losses.LossAndGradient,
        ("loss", "grad"),
        lambda x, **out: losses.squared_error(x, x + 1, **out),
    ),
}


@pytest.fixture(params=[(64, 16), (2000, 16)], ids=["small", "large"])
def x(request):
    return array(1, *request.param)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", ["plain", "strided"])
def test_a_named_tuple(case, layout, x, backend):
    kind, fields, call = CASES[case]
    if layout == "strided":
        x = np.repeat(x, 2, axis=0)[::2]
    found = call(x)
    assert type(found) is kind
    assert found._fields == fields
    assert len(found) == 2
    first, second = found
    assert found[0] is first is getattr(found, fields[0])
    assert found[1] is second is getattr(found, fields[1])
    assert repr(found) == f"{kind.__name__}({fields[0]}={first!r}, {fields[1]}={second!r})"
    for twin in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), found._replace(**found._asdict())):
        assert type(twin) is kind
        np.testing.assert_array_equal(twin[0], first, strict=True)
        np.testing.assert_array_equal(twin[1], second, strict=True)
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


@pytest.mark.parametrize("case", CASES)
def test_a_result_owns_one_reference_to_each_part(case, x, backend):
    call = CASES[case][2]
    out = np.empty_like(x)
    before = sys.getrefcount(out)
    found = call(x, out=out)
    assert sys.getrefcount(out) == before + 1
    assert gc.is_tracked(found)
    assert any(p is out for p in gc.get_referents(found))
    del found
    assert sys.getrefcount(out) == before
