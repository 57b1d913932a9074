"""Losses of policies: each the loss, and in the arrays given for them gradients, log-probabilities and entropies."""

from __future__ import annotations

import math

import numpy as np

from .activations import row_function_names, rows

_LOG_SOFTMAX = row_function_names().index("log_softmax")


def policy_gradient(
    logits: np.ndarray, actions: np.ndarray, advantages: np.ndarray, old_log_prob: np.ndarray | None, clip: float,
    entropy: float, grad: np.ndarray, log_prob: np.ndarray, entropies: np.ndarray,
) -> float:  # fmt: skip
    """Of discrete actions; clip is infinity where nothing is clipped."""
    real, each = logits.dtype.type, np.arange(len(logits))
    logs = np.empty_like(logits)
    rows(_LOG_SOFTMAX, logits, logs)
    log_prob[...] = logs[each, actions]
    with np.errstate(all="ignore"):
        p = np.exp(logs)
        logs = np.maximum(logs, real(-1e30))  # where p is 0, p log p is 0, and not 0 * inf
        entropies[...] = -np.einsum("ij,ij->i", p, logs)
        loss, slope = _surrogate(log_prob, entropies, advantages, old_log_prob, clip, entropy)
        if entropy:
            bonus = real(entropy / max(len(logits), 1))
            grad[...] = p * (bonus * (logs + entropies[:, None]) - slope[:, None])
        else:
            grad[...] = p * -slope[:, None]
        grad[each, actions] += slope
    return loss


def gaussian_policy_gradient(
    mean: np.ndarray, log_std: np.ndarray, actions: np.ndarray, advantages: np.ndarray,
    old_log_prob: np.ndarray | None, clip: float, entropy: float, grad_mean: np.ndarray, grad_log_std: np.ndarray,
    log_prob: np.ndarray, entropies: np.ndarray,
) -> float:  # fmt: skip
    """Of continuous actions; a log_std of one dimension is shared by all rows."""
    count, columns = mean.shape
    with np.errstate(all="ignore"):
        logs = log_std.astype(np.float64)
        inverse = np.exp(-logs)
        d = (actions.astype(np.float64) - mean) * inverse
        spread = np.broadcast_to(logs, mean.shape).sum(axis=1)
        log_prob[...] = -0.5 * np.einsum("ij,ij->i", d, d) - spread - 0.5 * math.log(2 * math.pi) * columns
        entropies[...] = spread + 0.5 * (1 + math.log(2 * math.pi)) * columns
        loss, slope = _surrogate(log_prob, entropies, advantages, old_log_prob, clip, entropy)
        by_log_std = slope[:, None] * (d * d - 1) - entropy / max(count, 1)
        grad_mean[...] = slope[:, None] * d * inverse
        grad_log_std[...] = by_log_std if log_std.ndim == 2 else by_log_std.sum(axis=0)
    return loss


def _surrogate(
    log_prob: np.ndarray, entropies: np.ndarray, advantages: np.ndarray, old_log_prob: np.ndarray | None, clip: float,
    entropy: float,
) -> tuple[float, np.ndarray]:  # fmt: skip
    """The loss, and its derivative by each row's log-probability."""
    count = np.float64(len(log_prob))
    if old_log_prob is None:
        worth, slope = advantages * log_prob, advantages
    else:
        ratio = np.exp(log_prob - old_log_prob)
        worth = slope = advantages * ratio
        if math.isfinite(clip):
            clipped = advantages * np.minimum(np.maximum(ratio, 1 - clip), 1 + clip)
            worth = np.minimum(worth, clipped)
            slope = np.where(slope > clipped, 0.0, slope)  # NaN stays
    loss = -worth.sum(dtype=np.float64) / count
    if entropy:
        loss -= entropy * entropies.sum(dtype=np.float64) / count
    return float(loss), (slope / -count).astype(log_prob.dtype)
