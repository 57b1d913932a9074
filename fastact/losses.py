"""Losses: each returns the loss and its gradient from one fused kernel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _checks, runtime

__all__ = ["LossAndGradient", "softmax_cross_entropy"]

REDUCTIONS = ("mean", "sum")


class LossAndGradient(NamedTuple):
    """What a loss function returns."""

    loss: float
    grad: np.ndarray


def softmax_cross_entropy(
    logits: np.ndarray, labels: Any, *, reduction: str = "mean", out: np.ndarray | None = None
) -> LossAndGradient:
    """Cross-entropy of softmax(logits) against labels, and its gradient with respect to the logits.

    loss = sum_i sum_j t_ij * (log(sum_k exp(z_ik)) - z_ij), grad = softmax(z) * sum_j t_ij - t, both divided by the
    number of rows for ``reduction="mean"``.

    Parameters
    ----------
    logits : float32 or float64 array of shape (rows, classes), the raw outputs z
    labels : class numbers, whole numbers of shape (rows,); or rows of probabilities, logits' dtype and shape
    reduction : "mean" (over rows, the default) or "sum"
    out : optional array for the gradient: exactly logits, or memory that touches neither input

    Returns
    -------
    (loss, grad) : float and array of logits' shape and dtype

    Raises
    ------
    TypeError : wrong dtype
    ValueError : wrong shape, a class number out of range, unknown reduction, overlapping or read-only out

    A row with a NaN or with +inf gives NaN, a logit of -inf contributes nothing (unless its probability is not 0). The
    mean of no rows is NaN.
    """
    name = "softmax_cross_entropy"
    z = _checks.matrix(name, "logits", logits)
    rows, columns = z.shape
    if columns == 0:
        raise ValueError(f"{name}: expected logits with at least one column, got shape {z.shape}")
    _checks.choice(name, "reduction", reduction, REDUCTIONS)
    sources = {"logits": z}
    numbers, targets = None, None
    if isinstance(labels, np.ndarray) and labels.dtype.kind == "f":
        targets = _checks.real_array(name, "labels", labels)
        _checks.same_shape(name, logits=z, labels=targets)
    else:
        numbers = _checks.labels(name, labels, rows, columns)
    target = _checks.output(name, out, z.shape, z.dtype, sources)
    if target is not None and targets is not None and _checks.overlap(target, targets):
        raise ValueError(f"{name}: out overlaps labels; pass exactly logits or memory that touches neither")

    plain = _checks.plain(z)
    plain_targets = None if targets is None else _checks.plain(targets)
    grad = target if target is not None and _checks.is_plain(target) else np.empty(plain.shape, plain.dtype)
    if rows == 0:
        return LossAndGradient(float("nan") if reduction == "mean" else 0.0, grad if target is None else target)
    scale = 1.0 / rows if reduction == "mean" else 1.0
    if runtime.get_backend() == "native":
        total = runtime._core.softmax_cross_entropy(plain, numbers, plain_targets, grad, scale)
    else:
        total = _numpy(plain, numbers, plain_targets, grad, scale)
    if target is not None and target is not grad:
        target[...] = grad
        grad = target
    return LossAndGradient(total * scale, grad)


def _numpy(z, labels, targets, grad, scale):
    """The NumPy twin of the kernel: sum of the losses; the gradient goes to grad."""
    with np.errstate(all="ignore"):
        shifted = z - z.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        sums = e.sum(axis=1, keepdims=True)
        if targets is None:
            index = np.arange(len(z)), labels
            total = float((np.log(sums[:, 0], dtype=np.float64) - shifted[index]).sum())
            grad[...] = e * (scale / sums)
            grad[index] -= z.dtype.type(scale)
        else:
            mass = targets.sum(axis=1, keepdims=True)
            chosen = np.where(targets == 0, 0, targets * shifted).sum(axis=1, dtype=np.float64)
            total = float((mass[:, 0] * np.log(sums[:, 0], dtype=np.float64) - chosen).sum())
            grad[...] = e * (scale * mass / sums) - targets * z.dtype.type(scale)
    return total
