"""ONNX files: networks and estimators to what any runtime reads, and files of others to networks (extra ``onnx``).

>>> import numpy as np
>>> import fastact as fa
>>> net = fa.Sequential(fa.Dense(4, 8, "gelu"), fa.LayerNorm(), fa.Dense(8, 3), rng=0)
>>> _ = fa.onnx.export(net, "net.onnx", softmax=True)
>>> again = fa.onnx.load("net.onnx")
>>> again.layers
(Dense(4 -> 8, gelu), LayerNorm(8 -> 8, eps=1e-05), Dense(8 -> 3), Activation(3 -> 3, softmax))
>>> x = np.ones((2, 4), np.float32)
>>> np.array_equal(again(x), fa.softmax(net(x)))
True

``operators`` is the table of what is said how, ``writing`` and ``reading`` use it in their directions, ``graph`` reads
bytes that nobody believes yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import files

if TYPE_CHECKING:
    from ...network import Sequential

__all__ = ["export", "load"]


def check() -> None:
    """Raise ImportError, which says what to install, where there is no onnx."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise ImportError("fastact.onnx needs onnx; install it with pip install 'fastact[onnx]'") from error


def export(
    net: Any,
    path: Any = None,
    *,
    opset: int | None = None,
    softmax: bool = False,
    input_name: str | None = None,
    metadata: Mapping[str, str] | None = None,
    scaling: tuple[Any, Any] | None = None,
    input_dtype: Any = None,
    classes: Sequence[Any] | None = None,
    zipmap: bool = False,
) -> Any:
    """Write a network, or a fitted estimator of ``fastact.sklearn``, as an ONNX file.

    Parameters
    ----------
    net : Sequential of the library's layers and activations, MLPClassifier or MLPRegressor
    path : where to write it, whole or not at all; None: nowhere
    opset : whole number from 13 to 24, 20 by default; Gelu is an operator of its own from 20 on, Swish from 24 on
    softmax : whether to apply softmax to the network's output
    input_name : "input" by default, of estimators "X"
    metadata : texts to go with the model, beside those of the network
    scaling : (mean, scale), one number a feature: the model takes raw features, of which it computes
        (x - mean) / scale in double
    input_dtype : "float64" for raw features that float32 does not tell apart (timestamps); by default the network's
    classes : whole numbers or texts, one an output: the network is a classifier, whose model gives labels and
        probabilities as an estimator's does
    zipmap : whether a classifier's probabilities are maps of classes, as skl2onnx gives them by default, in place of an
        array

    Returns the ``onnx.ModelProto``. The number of rows is open, the dtype the network's. Parameters keep their names
    ("0.weight"). A network has the output "output"; estimators have skl2onnx's names: "variable", or "label" (int64
    or texts) and "probabilities" of shape (rows, classes), which with ``zipmap`` are "output_label" and
    "output_probability". Operators are ONNX's own where it has them, compositions that compute the same where not.
    Raises TypeError for anything else, ValueError for layers and activations of your own and for another opset,
    ImportError without the package onnx.

    >>> import fastact as fa
    >>> model = fa.onnx.export(fa.Sequential(fa.Dense(4, 3, "tanh"), rng=0))
    >>> [node.op_type for node in model.graph.node], [array.name for array in model.graph.initializer]
    (['Gemm', 'Tanh'], ['0.weight', '0.bias'])
    """
    check()
    from . import writing

    file = None if path is None else files.any_path("export", path)
    if file is not None:
        files.checked_place("export", file)
    model = writing.model_of(net, softmax, scaling, classes, zipmap)
    proto = writing.build(model, opset, input_name, input_dtype, metadata or {}, zipmap)
    if file is not None:
        files.write_atomically(file, proto.SerializeToString())
    return proto


def load(path: Any, *, logits: bool = False, output: str | None = None, external_data: bool = False) -> Sequential:
    """Read a feed-forward ONNX file, of whatever exporter, as a ``Sequential`` that can be trained further.

    Parameters
    ----------
    path : an ONNX file, or an ``onnx.ModelProto``
    logits : whether to leave out a softmax, logarithm of it or sigmoid at the end, as ``softmax_cross_entropy`` and
        ``bce_with_logits`` want it
    output : the name of the output to compute, where there are several numeric ones
    external_data : whether weights may lie in files beside this one, in its folder or below

    The network computes what the output does; its dtype is that of the weights. A classifier's labels are left out: its
    classes are ``net.metadata["classes"]``, as JSON, beside the file's own texts; one output for two classes becomes
    two. Products, activations (compositions too), BatchNormalization, LayerNormalization, scalers, additions around
    layers, Dropout, Flatten and what merely changes shapes are understood. Inputs of more dimensions are taken as rows.

    Raises FileNotFoundError for a missing file and ValueError for one that is damaged, or that holds an operator that
    the library lacks, naming node and operator. Nothing in a file is believed or executed; sizes are compared with the
    file's before memory is taken.
    """
    check()
    from . import reading

    return reading.load(path, logits, output, external_data)
