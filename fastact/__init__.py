"""Train small dense networks on CPUs at the speed of the machine.

Where to look (``help`` of each name tells all of it)::

    a network         fa.Sequential(fa.Dense(64, 128, "gelu"), fa.Dense(128, 10)), fa.layers
    training it       fa.fit, fa.evaluate, fa.predict; fa.optim, fa.EarlyStopping, fa.training
    beyond memory     fa.fit(net, fa.data.Parquet("folder", label="y")); memory maps, functions: fa.data
    by hand           net.forward(x, training=True), a loss, net.backward(grad), optimizer.step(net)
    several networks  fa.clip_grad_norm([trunk, pi, v], 0.5), optimizer.step(trunk, pi, v),
                      fa.soft_update(target, net, 0.005), fa.Parameter(n, -0.5)
    losses            fa.softmax_cross_entropy, bce_with_logits, squared_error, absolute_error, huber, quantile
                      fa.binary_cross_entropy, fa.hinge, fa.log_cosh, fa.poisson
    policies          fa.policy_gradient, fa.gaussian_policy_gradient: REINFORCE, PPO
    activations       fa.gelu(x), fa.gelu_backward(grad, x), fa.slope("gelu", x), fa.activation("elu", alpha=0.5)
    rows and maxima   fa.softmax, fa.log_softmax, fa.maxout, fa.prelu, fa.swish, fa.relu_masked
    dense layers      fa.dense, fa.dense_forward, fa.dense_backward
    initial weights   fa.init
    files             net.save(path), fa.load(path), fa.save({"pi": pi, "v": v}, path), fa.Checkpoint;
                      fa.tables: digits, CSV and NPZ files; fa.onnx.export(net, path), fa.onnx.load(path)
    looking inside    net.summary(), fa.Monitor, fa.check_gradients, fa.diagnostics, fa.plot, history.plot()
    your own          fa.Layer, fa.custom_activation, fa.Callback, any function as a loss
    the machine       fa.show_config(), fa.set_num_threads(n), fa.use_backend("numpy"); fa.check() of its kernels
    at a terminal     fastact train, predict, export, compare, examples, plot, check, accuracy, info

Functions take float32 or float64 arrays of any shape, and Python numbers and lists, which are float64 unless an array
beside them says otherwise. What shows its memory on the CPU (``__array_interface__``, the buffer protocol,
``__dlpack__``: tensors of PyTorch, arrays of JAX, ...) is taken without a copy; results are NumPy arrays. ``out=`` says
where the result goes, the input itself included. The second argument of a ``_backward`` function is the input or the
output, as its help says.

>>> import fastact as fa
>>> net = fa.Sequential(fa.Dense(4, 8, "tanh"), fa.Dense(8, 3), rng=0)
>>> net
Sequential(Dense(4 -> 8, tanh), Dense(8 -> 3), float32, 67 parameters)
>>> fa.relu([-1, 2.5])
array([0. , 2.5])
"""

from typing import TYPE_CHECKING

# No __getattr__ here: with one, CPython no longer specialises ``fa.relu``, and each call takes a fifth longer.
from . import data, diagnostics, functional, init, onnx, optim, plot, tables
from ._version import __version__
from .backends import get_backend, use_backend
from .diagnostics import Monitor, check_gradients
from .functional import *  # noqa: F403 - the functions are made from the registry
from .layers import (
    Activation,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Layer,
    LayerNorm,
    Maxout,
    PReLU,
    Residual,
    Standardize,
    Swish,
)
from .losses import (
    absolute_error,
    bce_with_logits,
    binary_cross_entropy,
    hinge,
    huber,
    log_cosh,
    poisson,
    quantile,
    softmax_cross_entropy,
    squared_error,
)
from .memory import ParameterSpec
from .network import Parameter, Sequential, soft_update
from .optim import clip_grad_norm
from .persistence import load, save
from .policies import gaussian_policy_gradient, policy_gradient
from .runtime import C_API as _C_API  # noqa: F401 - where fastact.h looks for the kernels
from .runtime import get_include, get_num_threads, num_threads, set_num_threads, show_config
from .training import Callback, Checkpoint, EarlyStopping, History, Run, evaluate, fit, predict

if TYPE_CHECKING:
    from . import measure

__all__ = [
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "Callback",
    "Checkpoint",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "History",
    "Layer",
    "LayerNorm",
    "Maxout",
    "Monitor",
    "PReLU",
    "Parameter",
    "ParameterSpec",
    "Residual",
    "Run",
    "Sequential",
    "Standardize",
    "Swish",
    "__version__",
    "absolute_error",
    "bce_with_logits",
    "binary_cross_entropy",
    "check",
    "check_gradients",
    "clip_grad_norm",
    "data",
    "diagnostics",
    "evaluate",
    "fit",
    "gaussian_policy_gradient",
    "get_backend",
    "get_include",
    "get_num_threads",
    "hinge",
    "huber",
    "init",
    "load",
    "log_cosh",
    "num_threads",
    "onnx",
    "optim",
    "plot",
    "poisson",
    "policy_gradient",
    "predict",
    "quantile",
    "save",
    "set_num_threads",
    "show_config",
    "soft_update",
    "softmax_cross_entropy",
    "squared_error",
    "tables",
    "use_backend",
]
__all__ += functional.__all__
__all__.sort()


def check() -> "measure.parity.Report":
    """Compare the compiled kernels with NumPy and with exact values on this machine: ``fastact.measure.parity.check``.

    Every activation, dense layer, loss, optimiser and a training run, in both dtypes, with each instruction set of this
    processor and from one thread to all, in some seconds. The report has ``ok``, ``rows`` and ``as_dict()``, and prints
    as a table. Raises RuntimeError without the compiled core. In tests:
    ``pytest --pyargs fastact.measure.test_parity``.
    """
    from .measure.parity import check  # imported here: who only computes does not need it

    return check()
