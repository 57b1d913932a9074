"""Losses of policies: each returns the loss, its gradients, the actions' log-probabilities and the entropy at once.

What both share: the loss is the mean over rows of -surrogate, minus ``entropy`` times the mean entropy. A row's
surrogate is advantage * log_prob (Williams 1992, REINFORCE), or with ``old_log_prob``, that of the policy which acted,
advantage * ratio with ratio = exp(log_prob - old_log_prob), and with ``clip`` that of PPO (Schulman et al. 2017,
arXiv:1707.06347): min(advantage * ratio, advantage * (ratio clipped to 1 +- clip)), whose gradient is 0 where the
clipped term is the smaller. Advantages and old log-probabilities are constants. A log-probability is formed in the
dtype of the outputs, what it is worth in double; sums over rows are in double, over fixed blocks in a fixed order, so
that the number of threads does not change a bit.

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

__all__ = ["GaussianPolicyGradient", "PolicyGradient", "gaussian_policy_gradient", "policy_gradient"]

_try_policy_gradient = backends.engine.try_policy_gradient
_try_gaussian_policy_gradient = backends.engine.try_gaussian_policy_gradient


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
    if _quick(clip, old_log_prob, entropy):
        limit = math.inf if clip is None else clip
        found = _try_policy_gradient(logits, actions, advantages, old_log_prob, limit, entropy, out, PolicyGradient)
        if found is not None:
            return found

    z = checks.matrix(name, "logits", logits, None, out)
    rows, columns = z.shape
    if columns == 0:
        raise ValueError(f"{name}: expected logits with at least one column, got shape {z.shape}")
    chosen = _actions(name, actions, rows, columns)
    terms = _terms(name, rows, advantages, old_log_prob, clip, entropy)
    target = checks.output(name, out, z.shape, z.dtype, {"logits": z})
    given = {"actions": actions, "advantages": advantages, "old_log_prob": old_log_prob}
    checks.disjoint(name, target, "logits", **given)

    plain = checks.plain(z)
    grad = checks.writable(target, plain.shape, plain.dtype)
    log_prob, h = np.empty(rows, plain.dtype), np.empty(rows, plain.dtype)
    loss = backends.current().policy_gradient(plain, chosen, *terms, grad, log_prob, h)
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
    if _quick(clip, old_log_prob, entropy):
        found = _try_gaussian_policy_gradient(
            mean, log_std, actions, advantages, old_log_prob, math.inf if clip is None else clip, entropy, out_mean,
            out_log_std, GaussianPolicyGradient,
        )  # fmt: skip
        if found is not None:
            return found

    m = checks.matrix(name, "mean", mean, None, log_std, out_mean)
    rows, columns = m.shape
    s = checks.real_array(name, "log_std", log_std, m)
    if s.dtype.newbyteorder("=") != m.dtype.newbyteorder("="):
        checks.same_shape(name, mean=m, log_std=s)
    if s.shape not in ((columns,), m.shape):
        raise ValueError(f"{name}: expected log_std to have shape {(columns,)} or mean's {m.shape}, got {s.shape}")
    done = _numbers(name, "actions", actions, m.shape)
    terms = _terms(name, rows, advantages, old_log_prob, clip, entropy)
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

    m, s = checks.plain(m), checks.plain(s)
    arrays = tuple(checks.writable(t, a.shape, a.dtype) for t, a in zip(targets, (m, s), strict=True))
    log_prob, h = np.empty(rows, m.dtype), np.empty(rows, m.dtype)
    done = np.require(done, m.dtype, ["C", "A"])
    loss = backends.current().gaussian_policy_gradient(m, s, done, *terms, *arrays, log_prob, h)
    by_mean, by_log_std = (checks.returned(g, target) for g, target in zip(arrays, targets, strict=True))
    return GaussianPolicyGradient(loss, by_mean, by_log_std, log_prob, h)


def _terms(
    function: str, rows: int, advantages: Any, old_log_prob: Any, clip: float | None, entropy: float
) -> tuple[np.ndarray, np.ndarray | None, float, float]:
    """What the surrogates are made of, as the kernels take it: clip is infinity where nothing is clipped."""
    gains = _numbers(function, "advantages", advantages, (rows,))
    old = None if old_log_prob is None else _numbers(function, "old_log_prob", old_log_prob, (rows,))
    limit = math.inf if clip is None else checks.real(function, "clip", clip, low_included=False)
    if clip is not None and old is None:
        raise ValueError(
            f"{function}: clip needs old_log_prob, the log-probabilities of the policy that acted, got None; pass "
            "the log_prob returned then"
        )
    return gains, old, limit, checks.real(function, "entropy", entropy)


def _quick(clip: float | None, old_log_prob: Any, entropy: float) -> bool:
    """Whether the options are right at a glance."""
    if clip is not None and (type(clip) is not float or not 0 < clip < math.inf or old_log_prob is None):
        return False
    return type(entropy) is float and 0 <= entropy < math.inf


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
    return np.require(array, np.int64, ["C", "A"])


def _numbers(function: str, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of that shape, of any dtype that holds numbers, as double."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{function}: expected {name} to be an array of numbers, got {checks.describe(value)}")
    if array.shape != shape:
        hint = f"; pass {name}[:, 0]" if array.shape == (*shape, 1) else ""
        raise ValueError(f"{function}: expected {name} to have shape {shape}, got {array.shape}{hint}")
    return np.require(array, np.float64, ["C", "A"])
