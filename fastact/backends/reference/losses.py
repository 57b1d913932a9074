"""Losses: each the loss, and its gradient in ``grad``."""

from __future__ import annotations

import numpy as np


def softmax_cross_entropy(
    logits: np.ndarray, labels: np.ndarray | None, targets: np.ndarray | None, class_weight: np.ndarray | None,
    row_weight: np.ndarray | None, losses: np.ndarray | None, grad: np.ndarray, ignored: int, smoothing: float,
    mean: bool,
) -> float:  # fmt: skip
    """The loss of rows; each row's in losses. labels or targets is None, as the other says what is right."""
    rows, columns = logits.shape
    counted = np.ones(rows, bool) if labels is None else labels != ignored
    weight = counted.astype(np.float64) if row_weight is None else np.where(counted, row_weight, 0)
    real = logits.dtype.type
    with np.errstate(all="ignore"):
        shifted = logits - logits.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        sums = e.sum(axis=1, keepdims=True)
        if labels is not None:
            goal = np.zeros_like(logits)
            goal[counted, labels[counted]] = 1
        elif targets is not None:
            goal = targets
        if smoothing:
            goal = goal * real(1 - smoothing) + real(smoothing / columns)
        all_weights = weight
        if class_weight is not None:
            goal = goal * class_weight
            if labels is not None:
                all_weights = weight * class_weight[np.where(counted, labels, 0)]
        total_weight = float(all_weights.sum()) if mean else 1.0
        scale = 1 / total_weight if total_weight > 0 else 0.0
        goal_sum = goal.sum(axis=1, keepdims=True)
        chosen = np.where(goal == 0, 0, goal * shifted).sum(axis=1)
        each = (goal_sum * np.log(sums))[:, 0] - chosen
        each = np.where(counted, each * weight.astype(logits.dtype), 0)
        unit = (scale * weight).astype(logits.dtype)[:, None]
        grad[...] = np.where(counted[:, None], e * (unit * goal_sum / sums) - goal * unit, 0)
        if losses is not None:
            losses[...] = each
        return float(each.sum(dtype=np.float64) / np.float64(total_weight))


def label_range(labels: np.ndarray, ignored: int) -> tuple[int, int, int]:
    """How many labels are not the ignored one, the smallest of them, the largest."""
    counted = labels[labels != ignored]
    ends = np.iinfo(np.int64)
    return counted.size, int(counted.min(initial=ends.max)), int(counted.max(initial=ends.min))


# A loss of single elements is (loss, slope) from prediction, target and its parameter.
_Pair = tuple[np.ndarray, np.ndarray]


def _squared_error(x: np.ndarray, t: np.ndarray, factor: np.ndarray) -> _Pair:
    d = x - t
    return factor * d * d, 2 * factor * d


def _absolute_error(x: np.ndarray, t: np.ndarray, _: np.ndarray) -> _Pair:
    d = x - t
    return np.abs(d), np.sign(d)


def _huber(x: np.ndarray, t: np.ndarray, delta: np.ndarray) -> _Pair:
    d = x - t
    size = np.abs(d)
    return np.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta)), np.clip(d, -delta, delta)


def _quantile(x: np.ndarray, t: np.ndarray, q: np.ndarray) -> _Pair:
    d = x - t
    slope = np.where(d > 0, 1 - q, np.where(d < 0, -q, d))
    return np.where(d == 0, 0, slope * d), slope


def _bce_with_logits(x: np.ndarray, t: np.ndarray, pos_weight: np.ndarray) -> _Pair:
    e = np.exp(-np.abs(x))
    likely, unlikely = 1 / (1 + e), e / (1 + e)  # s(|z|), s(-|z|)
    positive, negative = pos_weight * t, 1 - t
    wrong = np.where(x < 0, positive, negative)
    loss = (positive + negative) * np.log1p(e) + np.where(wrong == 0, 0, wrong * np.abs(x))
    return loss, negative * np.where(x < 0, unlikely, likely) - positive * np.where(x < 0, likely, unlikely)


def _poisson(x: np.ndarray, t: np.ndarray, _: np.ndarray) -> _Pair:
    rate = np.exp(x)
    told = np.where((t == 0) & ~np.isnan(x), 0, t * x)
    return np.where(np.isposinf(rate), rate + t, rate - told), rate - t


def _log_cosh(x: np.ndarray, t: np.ndarray, _: np.ndarray) -> _Pair:
    d = x - t
    size = np.abs(d)
    near = np.log1p(2 * np.square(np.sinh(np.minimum(size, 20) / 2)))
    far = size + np.log1p(np.exp(-2 * size)) - np.log(d.dtype.type(2))
    return np.where(size < 1, near, far), np.tanh(d)


def _hinge(x: np.ndarray, t: np.ndarray, _: np.ndarray) -> _Pair:
    margin = 1 - t * x
    return np.maximum(margin, 0), np.where(margin > 0, -t, np.where(np.isnan(margin), margin, 0))


def _binary_cross_entropy(x: np.ndarray, t: np.ndarray, _: np.ndarray) -> _Pair:
    yes, no = np.where(t == 0, x - x, t * np.log(x)), np.where(t == 1, x - x, (1 - t) * np.log1p(-x))
    up, down = np.where(t == 0, x - x, t / x), np.where(t == 1, x - x, (1 - t) / (1 - x))
    return -yes - no, down - up


_LOSSES = {  # in the order of kernels/fa_loss.h
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
    "quantile": _quantile,
    "bce_with_logits": _bce_with_logits,
    "poisson": _poisson,
    "log_cosh": _log_cosh,
    "hinge": _hinge,
    "binary_cross_entropy": _binary_cross_entropy,
}
_FORMULAS = tuple(_LOSSES.values())


def loss_names() -> list[str]:
    return list(_LOSSES)


def pointwise_loss(
    number: int, prediction: np.ndarray, target: np.ndarray, weight: np.ndarray | None, each: np.ndarray | None,
    losses: np.ndarray | None, grad: np.ndarray, a: float, count: float,
) -> float:  # fmt: skip
    """The loss divided by count; each element's in losses. each: a parameter an element, in place of a."""
    real = prediction.dtype.type
    with np.errstate(all="ignore"):
        loss, slope = _FORMULAS[number](prediction, target, real(a) if each is None else each)
        if weight is not None:
            loss, slope = loss * weight, slope * weight
        grad[...] = slope * real(1 / count if count > 0 else 0)
        if losses is not None:
            losses[...] = loss
        return float(np.sum(loss, dtype=np.float64) / np.float64(count))
