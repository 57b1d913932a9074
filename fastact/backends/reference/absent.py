"""What the compiled core has beyond arithmetic: no instruction sets, one thread, no fast paths."""

from __future__ import annotations

from typing import Any

from ...registry import ACTIVATIONS, LEARNED

# ruff: noqa: E731
instruction_sets: Any = lambda: []
activation_names = lambda: list(ACTIVATIONS)
learned_names = lambda: list(LEARNED)
build_information = lambda: {"openmp": False, "compiler": None}
configure = lambda choice, native, threads, limit, activation_thresholds, rows, updates, products, asleep: None
allocations = lambda: 0
set_threads = lambda n: None
set_patience = lambda nanoseconds: None
get_threads = lambda: 1
forked = lambda: False


def use_instruction_set(name: str) -> None:
    raise ValueError(name)


lend: Any = lambda entries: None


# The fast paths of the public functions: None is "not taken".
try_forward = lambda number, x, out, a, b: None
try_backward = lambda number, grad, saved, out, a, b: None
try_rows = lambda number, x, out: None
try_rows_backward = lambda number, grad, y, out: None
try_learned = lambda number, x, weight, out: None
try_learned_backward = lambda number, grad, x, weight, out, out_weight, kind: None
try_maxout = lambda x, pieces, out, out_index, kind: None
try_maxout_backward = lambda grad, index, pieces, out: None
try_relu_masked = lambda x, mask, out: None
try_relu_masked_backward = lambda grad, mask, out: None
try_dense = lambda number, x, weight, bias, out, a, b: None
try_dense_backward = (
    lambda number, grad, saved, x, weight, need_dx, accumulate, overwrite_grad, out_input, out_weight, out_bias, a, b: (
        None
    )
)
try_softmax_cross_entropy = lambda logits, labels, out, mean, ignored, kind: None
try_pointwise = lambda number, prediction, target, out, mean, a, kind: None
try_policy_gradient = lambda logits, actions, advantages, old_log_prob, clip, entropy, out, kind: None
try_gaussian_policy_gradient = (
    lambda mean, log_std, actions, advantages, old_log_prob, clip, entropy, out_mean, out_log_std, kind: None
)


class Passes:
    """Counts the training passes of a network and its layers."""

    def __init__(self) -> None:
        self.count = 0


class StackedLayer:
    """A layer of a stack; there are none."""


class StackedViews:
    """Its workspaces."""


class DenseStack:
    """Whole passes in one call; without the core nobody makes one."""

    views: dict[int, Any]
    number: int
    forward = backward = saved = infer = None


class ForeignDense:
    """Whole passes over another library's arrays; without the core nobody makes one."""

    fits = infer = forward = backward = None
