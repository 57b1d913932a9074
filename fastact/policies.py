"""Losses of policies: each returns the loss, its gradients, the actions' log-probabilities and the entropy at once.

What both share: the loss is the mean over rows of -surrogate, minus ``entropy`` times the mean entropy. A row's
surrogate is advantage * log_prob (Williams 1992, REINFORCE), or with ``old_log_prob``, that of the policy which acted,
advantage * ratio with ratio = exp(log_prob - old_log_prob), and with ``clip`` that of PPO (Schulman et al. 2017,
arXiv:1707.06347): min(advantage * ratio, advantage * (ratio clipped to 1 +- clip)), whose gradient is 0 where the
clipped term is the smaller. Advantages and old log-probabilities are constants. Numbers of a row are formed in double.

>>> import numpy as np, fastact as fa
>>> logits, actions, advantages = np.zeros((2, 3)), [2, 0], [1.0, -2.0]
>>> loss, grad, log_prob, entropy = fa.policy_gradient(logits, actions, advantages)
>>> old = log_prob  # kept while the network is trained on the same rows
>>> fa.policy_gradient(logits, actions, advantages, old_log_prob=old, clip=0.2, entropy=0.01).grad.shape
(2, 3)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import backends, checks
from .epilogues import ROW_FUNCTIONS

__all__ = ["GaussianPolicyGradient", "PolicyGradient", "gaussian_policy_gradient", "policy_gradient"]

_LOG_SOFTMAX = list(ROW_FUNCTIONS).index("log_softmax")


class PolicyGradient(NamedTuple):
    """What ``policy_gradient`` returns."""

    loss: float
    grad: np.ndarray
    log_prob: np.ndarray
    entropy: np.ndarray


class GaussianPolicyGradient(NamedTuple):
    """What ``gaussian_policy_gradient`` returns."""

    loss: float
    grad_mean: np.ndarray
    grad_log_std: np.ndarray
    log_prob: np.ndarray
    entropy: np.ndarray


def policy_gradient(
    logits: np.ndarray,
    actions: Any,
    advantages: Any,
    *,
    old_log_prob: Any = None,
    clip: float | None = None,
    entropy: float = 0.0,
    out: np.ndarray | None = None,
) -> PolicyGradient:
    """Policy gradient of discrete actions: loss, its gradient by the logits, log-probabilities and entropies.

    log_prob_i = log softmax(z_i) at the action, H_i = -sum_k p_ik log p_ik, loss = -mean_i surrogate_i - entropy *
    mean_i H_i, the surrogate being advantage_i * log_prob_i, advantage_i * ratio_i, or the clipped one of PPO (see
    ``help(fastact.policies)``); grad_ik = (s_i * (p_ik - [k = action_i]) + entropy * p_ik * (log p_ik + H_i)) / rows
    with s_i = advantage_i, times ratio_i where there is one, 0 where it is clipped.

    Parameters
    ----------
    logits : float32 or float64 array of shape (rows, actions); -inf for actions that are not allowed
    actions : whole numbers of shape (rows,), what was done
    advantages : numbers of shape (rows,), of either sign
    old_log_prob : optional numbers of shape (rows,), the log-probabilities when it was done
    clip : optional number > 0, PPO's; needs old_log_prob
    entropy : number >= 0, the weight of the entropy bonus
    out : optional array for the gradient: exactly logits, or memory that touches no argument

    Returns
    -------
    (loss, grad, log_prob, entropy) : float, array of logits' shape, and two of shape (rows,), all of logits' dtype

    Raises
    ------
    TypeError : wrong dtype
    ValueError : wrong shape, an action or option out of range, overlapping or read-only out

    NaN gives NaN. The mean of no rows is NaN.
    """
    name = "policy_gradient"
    z = checks.matrix(name, "logits", logits, None, out)
    rows, columns = z.shape
    if columns == 0:
        raise ValueError(f"{name}: expected logits with at least one column, got shape {z.shape}")
    chosen = _actions(name, actions, rows, columns)
    terms = _Terms(name, rows, advantages, old_log_prob, clip, entropy)
    target = checks.output(name, out, z.shape, z.dtype, {"logits": z})
    given = {"actions": actions, "advantages": advantages, "old_log_prob": old_log_prob}
    checks.disjoint(name, target, "logits", **given)

    plain = checks.plain(z)
    real = plain.dtype.type
    logs = np.empty_like(plain)
    backends.current().rows(_LOG_SOFTMAX, plain, logs)
    each = np.arange(rows)
    log_prob = logs[each, chosen]
    grad = checks.writable(target, plain.shape, plain.dtype)
    with np.errstate(all="ignore"):
        np.exp(logs, out=grad)
        np.maximum(logs, real(-1e30), out=logs)  # where p is 0, p log p is 0, and not 0 * inf
        h = -np.einsum("ij,ij->i", grad, logs)
        loss, slope = terms.of(log_prob, h)
        if terms.bonus:
            logs += h[:, None]
            logs *= real(terms.bonus)
            logs -= slope[:, None]
            grad *= logs
        else:
            grad *= -slope[:, None]
        grad[each, chosen] += slope
    return PolicyGradient(loss, checks.returned(grad, target), log_prob, h)


def gaussian_policy_gradient(
    mean: np.ndarray,
    log_std: np.ndarray,
    actions: Any,
    advantages: Any,
    *,
    old_log_prob: Any = None,
    clip: float | None = None,
    entropy: float = 0.0,
    out_mean: np.ndarray | None = None,
    out_log_std: np.ndarray | None = None,
) -> GaussianPolicyGradient:
    """Policy gradient of continuous actions, each normal with a mean and a standard deviation of its own.

    With d = (action - mean) / std: log_prob_i = -sum_k (d_ik^2 / 2 + log_std_ik + log(2 pi) / 2) and H_i = sum_k
    (log_std_ik + (1 + log(2 pi)) / 2); loss and options as for ``policy_gradient``, and with its s_i
    grad_mean_ik = -s_i * d_ik / std_ik / rows, grad_log_std_ik = (s_i * (1 - d_ik^2) - entropy) / rows, summed over
    rows for a log_std that all rows share.

    Parameters
    ----------
    mean : float32 or float64 array of shape (rows, actions)
    log_std : array of mean's dtype, of its shape or of shape (actions,), such as a ``Parameter``'s value
    actions : numbers of mean's shape, what was done
    advantages, old_log_prob, clip, entropy : as for ``policy_gradient``
    out_mean, out_log_std : optional arrays for the gradients: exactly mean and exactly log_std, or memory that touches
        no argument and not each other; of a ``Parameter`` p, out_log_std=p.gradient

    Returns (loss, grad_mean, grad_log_std, log_prob, entropy), the last two of shape (rows,); raises TypeError and
    ValueError as ``policy_gradient`` does.
    """
    name = "gaussian_policy_gradient"
    m = checks.matrix(name, "mean", mean, None, log_std, out_mean)
    rows, columns = m.shape
    s = checks.real_array(name, "log_std", log_std, m)
    if s.dtype.newbyteorder("=") != m.dtype.newbyteorder("="):
        checks.same_shape(name, mean=m, log_std=s)
    if s.shape not in ((columns,), m.shape):
        raise ValueError(f"{name}: expected log_std to have shape {(columns,)} or mean's {m.shape}, got {s.shape}")
    done = _numbers(name, "actions", actions, m.shape)
    terms = _Terms(name, rows, advantages, old_log_prob, clip, entropy)
    targets = (
        checks.output(name, out_mean, m.shape, m.dtype, {"mean": m}, "out_mean"),
        checks.output(name, out_log_std, s.shape, s.dtype, {"log_std": s}, "out_log_std"),
    )
    others = {"actions": actions, "advantages": advantages, "old_log_prob": old_log_prob}
    for target, label, more in (
        (targets[0], "out_mean", {"log_std": s, "out_log_std": targets[1], **others}),
        (targets[1], "out_log_std", {"mean": m, **others}),
    ):
        for other, array in more.items():
            if target is not None and isinstance(array, np.ndarray) and checks.overlap(target, array):
                raise ValueError(f"{name}: {label} overlaps {other}; pass memory that does not touch it")

    dtype = m.dtype.newbyteorder("=")
    with np.errstate(all="ignore"):
        logs = s.astype(np.float64)
        inverse = np.exp(-logs)
        d = (done - m) * inverse
        spread = np.broadcast_to(logs, m.shape).sum(axis=1)
        log_prob = (-0.5 * np.einsum("ij,ij->i", d, d) - spread - 0.5 * math.log(2 * math.pi) * columns).astype(dtype)
        h = spread + 0.5 * (1 + math.log(2 * math.pi)) * columns
        loss, slope = terms.of(log_prob, h)
        grad_mean = slope[:, None] * d * inverse
        d *= d
        d -= 1
        d *= slope[:, None]
        d -= terms.bonus
        grad_log_std = d if s.ndim == 2 else d.sum(axis=0)
        gradients = grad_mean.astype(dtype), grad_log_std.astype(dtype)
    by_mean, by_log_std = (checks.returned(g, target) for g, target in zip(gradients, targets, strict=True))
    return GaussianPolicyGradient(loss, by_mean, by_log_std, log_prob, h.astype(dtype))


class _Terms:
    """What the two losses are made of, checked: the mean over rows of a surrogate, and an entropy bonus."""

    def __init__(
        self, function: str, rows: int, advantages: Any, old_log_prob: Any, clip: float | None, entropy: float
    ) -> None:
        self.rows = rows
        self.advantages = _numbers(function, "advantages", advantages, (rows,))
        self.old = None if old_log_prob is None else _numbers(function, "old_log_prob", old_log_prob, (rows,))
        self.clip = None if clip is None else checks.real(function, "clip", clip, low_included=False)
        if self.clip is not None and self.old is None:
            raise ValueError(
                f"{function}: clip needs old_log_prob, the log-probabilities of the policy that acted, got None; pass "
                "the log_prob returned then"
            )
        self.entropy = checks.real(function, "entropy", entropy)
        self.bonus = self.entropy / max(rows, 1)

    def of(self, log_prob: np.ndarray, h: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss, and its derivative by each row's log-probability."""
        if self.old is None:
            surrogate, slope = self.advantages * log_prob, self.advantages
        else:
            ratio = np.exp(log_prob - self.old)
            surrogate = slope = self.advantages * ratio
            if self.clip is not None:
                clipped = self.advantages * np.minimum(np.maximum(ratio, 1 - self.clip), 1 + self.clip)
                surrogate = np.minimum(surrogate, clipped)
                slope = np.where(slope > clipped, 0.0, slope)  # NaN stays
        loss = -np.float64(surrogate.sum(dtype=np.float64)) / self.rows
        if self.entropy:
            loss -= self.bonus * h.sum(dtype=np.float64)
        return float(loss), (slope / -self.rows).astype(log_prob.dtype)


def _actions(function: str, value: Any, rows: int, columns: int) -> np.ndarray:
    """Actions' numbers, from 0 to columns - 1."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(
            f"{function}: expected actions to be whole numbers, got {checks.describe(value)}; convert with "
            "actions.astype(np.int64)"
        )
    if array.shape != (rows,):
        raise ValueError(f"{function}: expected actions of shape ({rows},), one per row of logits, got {array.shape}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= columns):
        raise ValueError(
            f"{function}: expected actions from 0 to {columns - 1} (logits have {columns} columns), got values from "
            f"{array.min()} to {array.max()}"
        )
    return array.astype(np.int64, copy=False)


def _numbers(function: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of that shape, of any dtype that holds numbers, as double."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: expected {name} to be an array of numbers, got {checks.describe(value)}")
    if array.shape != shape:
        hint = f"; pass {name}[:, 0]" if array.shape == (*shape, 1) else ""
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {array.shape}{hint}")
    return array.astype(np.float64, copy=False)
