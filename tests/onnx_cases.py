"""Networks that between them have every activation and every layer, and inputs that reach their tails."""

import numpy as np

import fastact as fa
from fastact.epilogues import ROW_FUNCTIONS
from fastact.layers import catalogue
from fastact.registry import ACTIVATIONS, LEARNED

WIDTH = 6

#: Values that are no defaults and that single precision does not hold.
OTHER = {
    "negative_slope": 0.3, "alpha": 0.7, "beta": 2.3, "min_val": -0.3, "max_val": 2.1, "threshold": 0.1, "value": -0.7,
    "lambd": 0.3,
}  # fmt: skip

LAYERS = {
    "Dense": lambda: [fa.Dense(WIDTH, 5), fa.Dense(5, WIDTH, bias=False)],
    "Activation": lambda: [fa.Activation("identity", WIDTH)],
    "PReLU": lambda: [fa.PReLU(inputs=WIDTH)],
    "PReLU per channel": lambda: [fa.PReLU(per_channel=True, inputs=WIDTH)],
    "Swish": lambda: [fa.Swish(inputs=WIDTH)],
    "Swish per channel": lambda: [fa.Swish(per_channel=True, inputs=WIDTH)],
    "Maxout": lambda: [fa.Maxout(3, inputs=WIDTH)],
    "LayerNorm": lambda: [fa.LayerNorm(inputs=WIDTH)],
    "LayerNorm alone": lambda: [fa.LayerNorm(eps=1e-3, weight=False, bias=False, inputs=WIDTH)],
    "LayerNorm with weight": lambda: [fa.LayerNorm(bias=False, inputs=WIDTH)],
    "BatchNorm": lambda: [fa.BatchNorm(0.3, inputs=WIDTH)],
    "BatchNorm alone": lambda: [fa.BatchNorm(None, 1e-3, weight=False, bias=False, inputs=WIDTH)],
    "Standardize": lambda: [fa.Standardize(WIDTH)],
    "Dropout": lambda: [fa.Dropout(0.3, WIDTH)],
    "AlphaDropout": lambda: [fa.AlphaDropout(0.3, WIDTH)],
    "Residual": lambda: [
        fa.Residual(fa.Dense(WIDTH, 3, "gelu"), fa.Residual(fa.Dense(3, 3, "tanh")), fa.Dense(3, WIDTH))
    ],
    "Residual of one": lambda: [fa.Residual(fa.Activation("silu", WIDTH))],
}
assert {name.split()[0] for name in LAYERS} == set(catalogue.LAYERS)


def _activations():
    for name, entry in ACTIVATIONS.items():
        yield name, fa.activation(name)
        if entry.parameters:
            yield f"{name} with parameters", fa.activation(name, **{p.name: OTHER[p.name] for p in entry.parameters})


CASES = {
    **LAYERS,
    **{name: (lambda a=a: [fa.Activation(a, WIDTH)]) for name, a in _activations()},
    **{name: (lambda a=name: [fa.Activation(a, WIDTH)]) for name in ROW_FUNCTIONS},
    **{f"Dense {a}": (lambda a=a: [fa.Dense(WIDTH, 4, a)]) for a in ("gelu", *LEARNED)},
    "Dense maxout": lambda: [fa.Dense(WIDTH, 4, fa.activation("maxout", pieces=3))],
}


def network(case, dtype):
    """The case's network, with numbers that are all different and away from zero."""
    net = fa.Sequential(*CASES[case](), dtype=dtype, rng=0)
    rng = np.random.default_rng(1)
    for array in {**net.named_parameters(), **net.named_buffers()}.values():
        array[...] = np.abs(rng.normal(size=array.shape)) + 0.1
    return net


def inputs(case, dtype):
    """For what works on single elements numbers from 1e-30 to 1e15; for what mixes columns, moderate ones."""
    rng = np.random.default_rng(2)
    large = np.logspace(-30, 15, 46)
    tails = np.concatenate(
        [np.linspace(-30, 30, 1201), [-1e4, -200, -104, 89, 100, 200, 1e4, 0.0, -0.0], large, -large]
    )
    x = np.stack([np.roll(tails, 7 * i) for i in range(WIDTH)], axis=1)
    if case in ACTIVATIONS or case.endswith("with parameters"):
        return x.astype(dtype)
    return (3 * rng.normal(size=(33, WIDTH))).astype(dtype)


def difference(got, expected):
    """The largest difference, in units of the expected number or of 1."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    return float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max())


TOLERANCE = {"float32": 2e-6, "float64": 1e-13}
