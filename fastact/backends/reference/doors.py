"""The fast paths of the public functions, where there is no compiled core: never taken."""

from __future__ import annotations

from typing import Any


def try_forward(number: int, x: Any, out: Any, a: float, b: float) -> None:
    return None


def try_backward(number: int, grad: Any, saved: Any, out: Any, a: float, b: float) -> None:
    return None


def try_rows(number: int, x: Any, out: Any) -> None:
    return None


def try_rows_backward(number: int, grad: Any, y: Any, out: Any) -> None:
    return None


def try_learned(number: int, x: Any, weight: Any, out: Any) -> None:
    return None


def try_learned_backward(number: int, grad: Any, x: Any, weight: Any, out: Any, out_weight: Any, kind: type) -> None:
    return None


def try_maxout(x: Any, pieces: Any, out: Any, out_index: Any, kind: type) -> None:
    return None


def try_maxout_backward(grad: Any, index: Any, pieces: Any, out: Any) -> None:
    return None


def try_relu_masked(x: Any, mask: Any, out: Any) -> None:
    return None


def try_relu_masked_backward(grad: Any, mask: Any, out: Any) -> None:
    return None


def try_dense(number: int, x: Any, weight: Any, bias: Any, out: Any, a: float, b: float) -> None:
    return None


def try_dense_backward(
    number: int, grad: Any, saved: Any, x: Any, weight: Any, need_dx: bool, accumulate: bool, overwrite_grad: bool,
    out_input: Any, out_weight: Any, out_bias: Any, a: float, b: float,
) -> None:  # fmt: skip
    return None


def try_softmax_cross_entropy(logits: Any, labels: Any, out: Any, mean: bool, ignored: int, kind: type) -> None:
    return None


def try_pointwise(number: int, prediction: Any, target: Any, out: Any, mean: bool, a: float, kind: type) -> None:
    return None
