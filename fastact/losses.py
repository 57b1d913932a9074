"""Losses: each returns the loss and its gradient with respect to the raw outputs, from one fused kernel.

What all of them share: arrays are float32 or float64 of any layout; ``out`` takes the gradient and may be exactly the
raw outputs (the first argument) or memory that touches no argument; ``reduction`` is "mean" (the default: the sum
divided by the sum of the weights, which is their number where no weights are given), "sum", or "none" (an array of the
single losses; the gradient is then that of their sum). Of a mean's weights only the ratios count, whatever
their size. A NaN gives NaN. Sums are taken in double over fixed blocks in a fixed order, so the number of threads does
not change a bit. The mean of nothing is NaN, with a gradient of zeros.
Wrong dtypes raise TypeError; wrong shapes, ranges and overlaps raise ValueError, before anything is written.

A new loss is a public function and a row of ``FACTS`` here, a kernel in ``fa_loss.h`` and its twin in
``backends/reference/losses.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from . import backends, checks

__all__ = [
    "LossAndGradient",
    "absolute_error",
    "bce_with_logits",
    "binary_cross_entropy",
    "hinge",
    "huber",
    "log_cosh",
    "poisson",
    "quantile",
    "softmax_cross_entropy",
    "squared_error",
]

REDUCTIONS = ("mean", "sum", "none")
IGNORE_INDEX = -100  # as in PyTorch


class LossAndGradient(NamedTuple):
    """What a loss function returns."""

    loss: float | np.ndarray
    grad: np.ndarray


def softmax_cross_entropy(
    logits: np.ndarray,
    labels: Any,
    *,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
    class_weight: Any = None,
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Cross-entropy of softmax(logits) against labels, and its gradient with respect to the logits.

    loss_i = s_i * sum_j t_ij * (log(sum_k exp(z_ik)) - z_ij), grad_ij = s_i * (softmax(z_i)_j * sum_k t_ik - t_ij),
    with t_ij = w_j * ((1 - e) * p_ij + e / classes): p the probabilities (1 at the class number), e the label
    smoothing (Szegedy et al. 2016, arXiv:1512.00567), w the class weights and s the sample weights.
    ``reduction="mean"`` divides both by sum_i s_i, and for class numbers by sum_i s_i * w_(class i), as PyTorch does.

    Parameters
    ----------
    logits : float32 or float64 array of shape (rows, classes), the raw outputs z
    labels : class numbers, whole numbers of shape (rows,); or rows of probabilities, logits' dtype and shape
    reduction : "mean" (the default), "sum" or "none" (loss is then an array of shape (rows,))
    label_smoothing : number in [0, 1]
    ignore_index : rows with this class number count for nothing, whatever they hold; their gradient is 0. For class
        numbers only.
    class_weight : optional numbers >= 0 of shape (classes,)
    sample_weight : optional numbers >= 0 of shape (rows,)
    out : optional array for the gradient: exactly logits, or memory that touches neither input

    Returns
    -------
    (loss, grad) : float (an array for "none") and array of logits' shape and dtype

    Raises
    ------
    TypeError : wrong dtype
    ValueError : wrong shape, a class number or option out of range, overlapping or read-only out

    A row with a NaN or with +inf gives NaN, a logit of -inf contributes nothing (unless its target is not 0). The
    mean over rows whose weights sum to 0 (or over no rows) is NaN and its gradient 0.
    """
    name = "softmax_cross_entropy"
    if label_smoothing == 0 and class_weight is None and sample_weight is None and _fast(reduction):
        found = _try_softmax_cross_entropy(
            logits, labels, out, reduction == "mean", _index(name, ignore_index), LossAndGradient
        )
        if found is not None:
            return found

    z = checks.matrix(name, "logits", logits, None, out)
    if isinstance(labels, (list, tuple)) and labels and isinstance(labels[0], (list, tuple)):
        labels = checks.real_array(name, "labels", labels, z)
    rows, columns = z.shape
    if columns == 0:
        raise ValueError(f"{name}: expected logits with at least one column, got shape {z.shape}")
    checks.choice(name, "reduction", reduction, REDUCTIONS)
    smoothing = _unit(name, "label_smoothing", label_smoothing)
    ignored = _index(name, ignore_index)
    numbers, targets = None, None
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f" and labels.ndim == 2:
        targets = checks.real_array(name, "labels", labels, z)
        checks.same_shape(name, logits=z, labels=targets)
        targets = checks.plain(targets)
        if ignored != IGNORE_INDEX:
            raise ValueError(
                f"{name}: expected no ignore_index with rows of probabilities, got {ignored}; pass class numbers, or a "
                "sample_weight of 0 for rows that shall not count"
            )
    else:
        numbers = checks.labels(name, labels, rows, columns, ignored)
    dtype = z.dtype.newbyteorder("=")
    w = s = None
    if class_weight is not None:
        w = checks.weights(name, "class_weight", class_weight, ((columns,),))
    if sample_weight is not None:
        s = checks.weights(name, "sample_weight", sample_weight, ((rows,),))
    if numbers is not None:
        w, s = _weights_of_labels(numbers, ignored, w, s, smoothing > 0, reduction == "mean")
    elif s is not None and reduction == "mean":
        s = _relative(s)
    checks.rounded(name, "sample_weight" if class_weight is None else "class_weight", s, dtype)
    w = np.ones(columns, dtype) if w is None and smoothing else checks.rounded(name, "class_weight", w, dtype)
    target = checks.output(name, out, z.shape, z.dtype, {"logits": z})
    checks.disjoint(name, target, "logits", labels=labels, class_weight=class_weight, sample_weight=sample_weight)

    plain = checks.plain(z)
    grad = target if target is not None and checks.is_plain(target) else np.empty(plain.shape, plain.dtype)
    losses = np.empty(rows, dtype) if reduction == "none" else None
    loss = backends.current().softmax_cross_entropy(
        plain, numbers, targets, w, s, losses, grad, ignored, smoothing, reduction == "mean"
    )
    return _result(loss if losses is None else losses, grad, target)


def squared_error(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    factor: float = 1.0,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Squared error: loss = factor * (pred - target)^2, grad = 2 * factor * (pred - target).

    Parameters
    ----------
    pred, target : float32 or float64 arrays of one dtype and shape
    factor : number >= 0; with ``factor=0.5, reduction="sum"`` the gradient is pred - target
    reduction : "mean" over all elements (the default), "sum" or "none"
    sample_weight : optional numbers >= 0 of shape (rows,), one per entry of the first axis, or of pred's shape
    out : optional array for the gradient: exactly pred, or memory that touches neither input

    Returns (loss, grad); raises TypeError for another dtype and ValueError for different shapes (nothing is
    broadcast), options out of range and a wrong out.
    """
    if type(factor) is not float:
        factor = checks.real("squared_error", "factor", factor)
    return _pointwise("squared_error", pred, target, factor, reduction, sample_weight, out)


def absolute_error(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Absolute error: loss = |pred - target|, grad = sign(pred - target), 0 where they are equal.

    Arguments, results and errors as for ``squared_error``.
    """
    return _pointwise("absolute_error", pred, target, 0.0, reduction, sample_weight, out)


def huber(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Huber loss of d = pred - target: d^2 / 2 for |d| <= delta, else delta * (|d| - delta / 2).

    The gradient is d clipped to +-delta.

    ``delta`` is a number > 0; the other arguments, results and errors as for ``squared_error``. Source: Huber 1964,
    Robust estimation of a location parameter.
    """
    if type(delta) is not float or not 0 < delta < np.inf:
        delta = checks.real("huber", "delta", delta, low_included=False)
    return _pointwise("huber", pred, target, delta, reduction, sample_weight, out)


def quantile(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    q: Any = 0.5,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Quantile (pinball) loss: q * (target - pred) below the target, (1 - q) * (pred - target) above it.

    The gradient is -q below, 1 - q above and 0 at the target. Source: Koenker and Bassett 1978, Regression quantiles.

    Parameters
    ----------
    pred : float32 or float64 array
    target : array of pred's dtype and shape. With several quantiles also one of a single column, (rows, 1), or none,
        (rows,): the value whose quantiles the columns of pred are.
    q : a number strictly between 0 and 1, or several of shape (columns,): the quantile that each entry of pred's last
        axis is of, ``q=[0.1, 0.5, 0.9]``
    reduction, sample_weight, out : as for ``squared_error``

    Returns (loss, grad); raises TypeError and ValueError as ``squared_error`` does.
    """
    each = None
    if type(q) is not float or not 0 < q < 1:
        if several(q):
            each = _levels(q, np.shape(pred))
            target = _for_each_level(pred, target, out)
            q = 0.5
        else:
            q = _level(q)
    return _pointwise("quantile", pred, target, q, reduction, sample_weight, out, each)


def several(q: Any) -> bool:
    """Whether q is several quantiles."""
    return isinstance(q, (list, tuple)) or (isinstance(q, np.ndarray) and q.ndim > 0)


def _level(q: Any) -> float:
    number = checks.real("quantile", "q", q, low_included=False)
    if number >= 1:
        raise ValueError(f"quantile: expected q below 1, got {number!r}")
    return number


def _levels(q: Any, shape: tuple[int, ...]) -> np.ndarray:
    levels = np.array([_level(each) for each in q])
    if shape[-1:] != levels.shape:
        raise ValueError(
            f"quantile: expected pred with a column for each q, shape (rows, {len(levels)}), got shape {shape}"
        )
    return levels


def _for_each_level(pred: Any, target: Any, out: Any) -> np.ndarray:
    """Target in pred's shape: its one value, or column of values, for every quantile."""
    x = checks.real_array("quantile", "pred", pred, target, out)
    t = checks.real_array("quantile", "target", target, pred, out)
    if t.shape == x.shape:
        return t
    checks.disjoint("quantile", out, "pred", target=t)
    if t.shape == x.shape[:-1]:
        t = t[..., None]
    if t.shape != (*x.shape[:-1], 1):
        raise ValueError(
            f"quantile: expected target of pred's shape {x.shape}, or with one column, got shape {np.shape(target)}"
        )
    return np.repeat(t, x.shape[-1], axis=-1)


def bce_with_logits(
    logits: np.ndarray,
    targets: np.ndarray,
    *,
    pos_weight: Any = None,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Binary cross-entropy of sigmoid(logits) against targets, and its gradient with respect to the logits.

    loss = w * t * log(1 + exp(-z)) + (1 - t) * log(1 + exp(z)), grad = (1 - t) * s(z) - w * t * s(-z), where s is the
    logistic function and w the positive weight; without it grad = s(z) - t. At z = +-inf loss and gradient are the
    limits: 0 where the target agrees, infinity and +-1 where it does not.

    Parameters
    ----------
    logits : float32 or float64 array, the raw outputs z
    targets : array of logits' dtype and shape, probabilities between 0 and 1
    pos_weight : optional number >= 0, or numbers of shape (columns,), one per entry of the last axis
    reduction, sample_weight, out : as for ``squared_error``, where logits is pred

    Returns (loss, grad); raises TypeError and ValueError as ``squared_error`` does.
    """
    name = "bce_with_logits"
    each = None
    weight = 1.0
    if pos_weight is not None:
        shape = np.shape(logits)
        values = checks.weights(name, "pos_weight", pos_weight, ((), shape[-1:]))
        if values.ndim == 0:
            weight = float(values)
        else:
            each = values
    return _pointwise(name, logits, targets, weight, reduction, sample_weight, out, each, ("logits", "targets"))


def log_cosh(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """log(cosh(pred - target)), and its gradient tanh(pred - target): the squared error's half near 0, then a line.

    Arguments, results and errors as for ``squared_error``.
    """
    return _pointwise("log_cosh", pred, target, 0.0, reduction, sample_weight, out)


def poisson(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Poisson's negative log-likelihood: exp(pred) - target * pred, grad = exp(pred) - target.

    pred is the logarithm of the expected number of events and target their number (>= 0); the term log(target!), which
    does not depend on pred, is left out. Arguments, results and errors as for ``squared_error``; the loss of
    ``torch.nn.functional.poisson_nll_loss``.
    """
    return _pointwise("poisson", pred, target, 0.0, reduction, sample_weight, out)


def hinge(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Hinge loss: max(0, 1 - target * pred) for targets -1 and 1, grad = -target where that is above 0, else 0.

    Arguments, results and errors as for ``squared_error``. Source: Cortes and Vapnik 1995, Support-vector networks.
    """
    return _pointwise("hinge", pred, target, 0.0, reduction, sample_weight, out)


def binary_cross_entropy(
    pred: np.ndarray,
    target: np.ndarray,
    *,
    reduction: str = "mean",
    sample_weight: Any = None,
    out: np.ndarray | None = None,
) -> LossAndGradient:
    """Binary cross-entropy of probabilities: -target * log(pred) - (1 - target) * log(1 - pred), and its gradient.

    grad = (pred - target) / (pred * (1 - pred)). Where pred is 0 or 1 both are the limits, not clipped: 0 where target
    agrees, infinite where it does not. A network trains better with ``bce_with_logits``, which is the same of
    pred = sigmoid(logits) and exact for all logits.

    pred and target are arrays of numbers from 0 to 1 (others give NaN); arguments, results and errors as for
    ``squared_error``.
    """
    return _pointwise("binary_cross_entropy", pred, target, 0.0, reduction, sample_weight, out)


# ------------------------------------------------------------------------------------------------ what training knows


@dataclass(frozen=True)
class Facts:
    """What training must know of a loss: the kind of its targets, and the metrics that suit it."""

    targets: Literal["classes", "probabilities", "signs", "counts", "values", "value", "any"]
    metrics: tuple[str, ...]  # that can be had by name
    measured: tuple[str, ...]  # unless others are asked for
    ignore_index: int | None = None  # the label that counts for nothing, unless another is passed
    threshold: float = 0.0  # above which an output says yes
    q: Any = None  # the quantile or quantiles that are predicted, unless others are passed

    def bound(self, options: Mapping[str, Any]) -> Facts:
        """These, of the loss with options."""
        q = options.get("q", self.q)
        targets = "value" if several(q) else self.targets
        return replace(self, targets=targets, ignore_index=options.get("ignore_index", self.ignore_index), q=q)


FACTS: dict[Callable[..., LossAndGradient], Facts] = {
    softmax_cross_entropy: Facts("classes", ("accuracy",), ("accuracy",), IGNORE_INDEX),
    bce_with_logits: Facts("probabilities", ("accuracy", "r2"), ("accuracy",)),
    squared_error: Facts("values", ("r2",), ("r2",)),
    absolute_error: Facts("values", ("r2",), ("r2",)),
    huber: Facts("values", ("r2",), ("r2",)),
    log_cosh: Facts("values", ("r2",), ("r2",)),
    poisson: Facts("counts", (), ()),
    hinge: Facts("signs", ("accuracy",), ("accuracy",)),
    binary_cross_entropy: Facts("probabilities", ("accuracy",), ("accuracy",), threshold=0.5),
    quantile: Facts("values", ("pinball", "coverage", "r2"), ("pinball", "coverage"), q=0.5),
}
#: Of a function that is not among them: it may take labels, and then ``accuracy`` passes over those ignored here.
CUSTOM = Facts("any", ("accuracy", "r2"), (), IGNORE_INDEX)


# ------------------------------------------------------------------------------------------------ common slow path


_try_softmax_cross_entropy = backends.engine.try_softmax_cross_entropy
_try_pointwise = backends.engine.try_pointwise
_NUMBERS = {name: number for number, name in enumerate(backends.engine.loss_names())}
#: What the parameter of a loss of single elements is called, where that is not factor.
PARAMETERS = {"huber": "delta", "quantile": "q", "bce_with_logits": "pos_weight"}
LARGEST = float(np.finfo(np.float32).max)


def _fast(reduction: str) -> bool:
    return isinstance(reduction, str) and reduction in ("mean", "sum")


def _index(function: str, value: object) -> int:
    if type(value) is not int:
        value = checks.whole(function, "ignore_index", value, -(2**63))
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{function}: expected ignore_index to fit 64 bits, got {value}")
    return value


def _unit(function: str, name: str, value: object) -> float:
    number = checks.real(function, name, value)
    if number > 1:
        raise ValueError(f"{function}: expected {name} to be a number from 0 to 1, got {number!r}")
    return number


def _relative(weights: np.ndarray) -> np.ndarray:
    """Divided by the largest, in double: weights of a mean, of which float32 then holds what counts."""
    most = weights.max(initial=0.0)
    return weights / most if most > 0 else weights


def _weights_of_labels(
    labels: np.ndarray, ignored: int, w: np.ndarray | None, s: np.ndarray | None, smoothed: bool, mean: bool
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Class and row weights of class numbers: all is in the rows', unless smoothing asks for that of every class.

    A class weight of 0 stays one: it does not ask for the logit, which may be -inf.
    """
    counted = labels != ignored
    scaled = _relative if mean else np.asarray
    s = None if s is None else scaled(np.where(counted, s, 0.0))
    if w is None:
        return None, s
    own = np.where(counted, w[np.where(counted, labels, 0)], 0.0)
    with np.errstate(over="ignore"):  # what is too large then is infinite
        if smoothed:
            return w / own.max() if mean and own.any() else w, s
        own = scaled(own)
        return np.sign(w), own if s is None else scaled(own * s)


def _result(loss: Any, grad: np.ndarray, target: np.ndarray | None) -> LossAndGradient:
    if target is None or target is grad:
        return LossAndGradient(loss, grad)
    target[...] = grad
    return LossAndGradient(loss, target)


def _pointwise(
    name: str,
    prediction: Any,
    goal: Any,
    a: float,
    reduction: str,
    sample_weight: Any,
    out: Any,
    each: np.ndarray | None = None,
    names: tuple[str, str] = ("pred", "target"),
) -> LossAndGradient:
    """A loss of single elements by its name: checks, then the kernel or its NumPy twin."""
    if sample_weight is None and each is None and _fast(reduction) and 0 <= a <= LARGEST:
        found = _try_pointwise(_NUMBERS[name], prediction, goal, out, reduction == "mean", a, LossAndGradient)
        if found is not None:
            return found

    x = checks.real_array(name, names[0], prediction, goal, out)
    t = checks.real_array(name, names[1], goal, prediction, out)
    checks.same_shape(name, **{names[0]: x, names[1]: t})
    checks.choice(name, "reduction", reduction, REDUCTIONS)
    dtype = x.dtype.newbyteorder("=")
    parameter = PARAMETERS.get(name, "factor")
    checks.rounded(name, parameter, checks.real(name, parameter, a), dtype)
    weight = None
    count = float(x.size)
    if sample_weight is not None:
        given = checks.weights(name, "sample_weight", sample_weight, (x.shape[:1], x.shape))
        given = _relative(given) if reduction == "mean" else checks.rounded(name, "sample_weight", given, dtype)
        given = given.reshape(given.shape + (1,) * (x.ndim - given.ndim))
        count = float(given.sum()) * (x.size / max(given.size, 1))
        weight = np.ascontiguousarray(np.broadcast_to(given, x.shape), dtype)
    if each is not None:
        each = np.ascontiguousarray(np.broadcast_to(checks.rounded(name, parameter, each, dtype), x.shape))
    target = checks.output(name, out, x.shape, x.dtype, {names[0]: x})
    checks.disjoint(name, target, names[0], **{names[1]: t}, sample_weight=sample_weight)

    plain, plain_goal = checks.plain(x), checks.plain(t)
    grad = target if target is not None and checks.is_plain(target) else np.empty(plain.shape, plain.dtype)
    losses = np.empty(plain.shape, dtype) if reduction == "none" else None
    if reduction != "mean":
        count = 1.0
    loss = backends.current().pointwise_loss(_NUMBERS[name], plain, plain_goal, weight, each, losses, grad, a, count)
    return _result(loss if losses is None else losses, grad, target)
