"""What a converted network does, step by step: each step is one kernel over a whole batch.

``forward`` takes a matrix of rows, and the step's parameters as arrays in PyTorch's shapes; it returns the result and
what backward needs, which stays as it is: the same forward may have several backwards, and others may come between.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ... import backends, registry
from ...epilogues import ROW_FUNCTIONS, FixedActivation, LearnedActivation, ParameterGradients
from ...layers.dropout import mixed
from .tensors import array

Array = np.ndarray
Values = list[Any]  # the step's parameters; gradients in the same order


class Step:
    """Base: one layer of a network.

    ``names`` are the parameters, each the module that holds it and its name there; ``inputs`` and ``outputs`` the
    widths, None for any.
    """

    names: tuple[tuple[Any, str], ...] = ()
    inputs: Any = None
    outputs: Any = None

    def outputs_for(self, inputs: Any) -> Any:
        """The width of the result for one of x; None where that is not known."""
        return inputs if self.inputs is None else self.outputs

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        """The result for x, and what backward needs."""
        raise NotImplementedError

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        """The gradient of x, and those of the parameters to ``into``, None where they are not needed."""
        raise NotImplementedError


class DenseStep(Step):
    """A linear layer with what follows it: an elementwise activation, also one with a learned weight, or maxout."""

    def __init__(self, linear: Any, activation: Any, learned: tuple[Any, str] | None = None) -> None:
        self.activation = activation
        self.inputs, self.outputs = linear.in_features, activation.outputs("convert", linear.out_features)
        self.biased = linear._parameters.get("bias") is not None
        names = [(linear, "weight")]
        if self.biased:
            names.append((linear, "bias"))
        if learned is not None:
            names.append(learned)
        self.names = tuple(names)

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        weight, bias, parameter = self._parts(values)
        y = np.empty((len(x), self.outputs), x.dtype)
        kept = self.activation.saved_dtype(x.dtype)
        state = None if kept is None else np.empty(y.shape, kept)
        self.activation.forward_into(x, weight.T, bias, y, state, parameter)
        return y, (x, y if self.activation.saves == "y" else state)

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        weight, _, parameter = self._parts(values)
        dw, db, dparameter = self._parts(into)
        x, state = saved
        trained = any(one is not None for one in into)
        if trained and parameter is not None:  # whose gradient and the bias' come from one pass
            db = np.empty(len(weight), x.dtype) if db is None else db
            dparameter = np.empty_like(parameter) if dparameter is None else dparameter
        dx = np.empty_like(x) if need_dx else None
        gradients = ParameterGradients(None if dw is None else dw.T, db, dparameter)
        if need_dx or trained:
            self.activation.backward_into(grad, state, None, x, weight.T, dx, gradients, parameter)
        return dx

    def _parts(self, values: Values) -> Values:
        """Weight, bias and what the activation learns."""
        rest = values[1 + self.biased :]
        return [values[0], values[1] if self.biased else None, rest[0] if rest else None]


class ActivationStep(Step):
    """An elementwise activation alone."""

    def __init__(self, activation: FixedActivation) -> None:
        self.activation = activation

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        y = np.empty_like(x)
        self.activation.apply(x, y)
        return y, x if self.activation.reads == "x" else y

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        if self.activation.reads is None:
            return grad
        dx = np.empty_like(grad)
        self.activation.apply_backward(grad, saved, dx)
        return dx


class LearnedStep(Step):
    """PReLU or swish that follows no linear layer."""

    def __init__(self, module: Any, function: str, name: str, count: int) -> None:
        self.activation = LearnedActivation(registry.LEARNED[function], 0.0)
        self.names = ((module, name),)
        self.inputs = self.outputs = None if count == 1 else count

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        y = np.empty_like(x)
        self.activation.apply(x, y, values[0])
        return y, x

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        dx = np.empty_like(grad)
        self.activation.apply_backward(grad, saved, dx, values[0], into[0])
        return dx


class RowStep(Step):
    """softmax or log_softmax over each row."""

    def __init__(self, name: str) -> None:
        self.number = ROW_FUNCTIONS.index(name)

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        y = np.empty_like(x)
        backends.current().rows(self.number, x, y)
        return y, y

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        dx = np.empty_like(grad)
        backends.current().rows_backward(self.number, grad, saved, dx)
        return dx


class DropoutStep(Step):
    """Dropout and alpha dropout, while their module trains; the masks follow from PyTorch's generator."""

    def __init__(self, module: Any) -> None:
        self.module, self.alpha = module, isinstance(module, torch.nn.AlphaDropout)

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        rate = float(self.module.p)
        if not self.module.training or rate == 0:
            return x, None
        limit, scale, shift, dropped = -registry.SELU_LIMIT, 0.0 if rate == 1 else 1 / (1 - rate), 0.0, 0.0
        if self.alpha:
            scale = 0.0 if rate == 1 else 1 / np.sqrt((1 - rate) * (1 + rate * limit * limit))
            shift = -scale * rate * limit
            dropped = scale * limit + shift
        key = mixed(int(torch.randint(2**62, ())), 0)
        mask = key, min(round(rate * 2**32), 2**32 - 1), scale
        y = np.empty_like(x)
        backends.current().dropout(x, y, *mask, shift, dropped)
        return y, mask

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        if saved is None:
            return grad
        dx = np.empty_like(grad)
        backends.current().dropout(grad, dx, *saved, 0.0, 0.0)
        return dx


class NormStep(Step):
    """Base of the normalisations, whose weight and bias may be missing."""

    def __init__(self, module: Any, width: int) -> None:
        self.module = module
        self.inputs = self.outputs = width
        self.names = tuple((module, name) for name in ("weight", "bias") if module._parameters.get(name) is not None)

    def _parts(self, values: Values) -> Values:
        given = dict(zip((name for _, name in self.names), values, strict=True))
        return [given.get("weight"), given.get("bias")]

    def _sums(self, into: Values, width: int, dtype: np.dtype) -> Values:
        """Where the two sums go, which the kernel makes together."""
        if all(one is None for one in into):
            return [None, None]
        return [np.empty(width, dtype) if one is None else one for one in self._parts(into)]


class LayerNormStep(NormStep):
    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        y, moments = np.empty_like(x), list(np.empty((3, len(x)), x.dtype))
        backends.current().layer_norm(x, *self._parts(values), y, *moments, self.module.eps)
        return y, (x, *moments)

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        dx = np.empty_like(grad)
        sums = self._sums(into, grad.shape[1], grad.dtype)
        backends.current().layer_norm_backward(grad, *saved, self._parts(values)[0], dx, *sums)
        return dx


class BatchNormStep(NormStep):
    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        module, y = self.module, np.empty_like(x)
        running = module.running_mean, module.running_var
        if module.training or running[0] is None:
            if len(x) < 2:
                raise ValueError(
                    f"BatchNorm1d: expected more than 1 row when training, got input of shape {x.shape}; a variance "
                    "needs 2: drop_last=True leaves out a last batch of one row"
                )
            mean, rest, rstd, *unused = np.empty((5, x.shape[1]), x.dtype)
            factor = 0.0 if module.momentum is None else module.momentum
            kept = unused
            if module.training and running[0] is not None:
                kept = [array(one) for one in running]
                module.num_batches_tracked.add_(1)
                if module.momentum is None:
                    factor = 1 / float(module.num_batches_tracked)
            else:
                for one in unused:
                    one[...] = 0
            backends.current().batch_norm(x, *self._parts(values), y, mean, rest, rstd, *kept, module.eps, factor)
            return y, (x, mean, rest, rstd, False)
        mean, variance = (array(one) for one in running)
        backends.current().batch_norm_inference(x, *self._parts(values), y, mean, variance, module.eps)
        rstd = (1 / np.sqrt(variance.astype(np.float64) + module.eps)).astype(x.dtype)
        return y, (x, mean.copy(), None, rstd, True)

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        x, *moments, given = saved
        width = grad.shape[1]
        sums = self._sums(into, width, grad.dtype)
        if sums[0] is None and not given:  # the gradient of x is made from them
            sums = list(np.empty((2, width), grad.dtype))
        dx = np.empty_like(grad)
        if not len(x):
            for one in filter(None.__ne__, sums):
                one[...] = 0
            return dx
        backends.current().batch_norm_backward(grad, x, *moments, self._parts(values)[0], dx, *sums, given)
        return dx


class MaxoutStep(Step):
    """The largest of each ``pieces`` neighbours."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def outputs_for(self, inputs: Any) -> Any:
        return None if inputs is None else inputs // self.pieces

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        shape = len(x), x.shape[1] // self.pieces
        y, index = np.empty(shape, x.dtype), np.empty(shape, np.uint8)
        backends.current().maxout(x, y, index, self.pieces)
        return y, index

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        dx = np.empty((len(grad), grad.shape[1] * self.pieces), grad.dtype)
        backends.current().maxout_backward(grad, saved, dx, self.pieces)
        return dx


class StandardizeStep(Step):
    """(x - mean) / scale, both given."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.inputs = self.outputs = len(module.mean)

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        scale = array(self.module.scale).copy()
        with np.errstate(all="ignore"):
            return (x - array(self.module.mean)) / scale, scale

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        with np.errstate(all="ignore"):
            return grad / saved


class ResidualStep(Step):
    """x + what steps make of it."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.names = tuple(slot for step in steps for slot in step.names)
        widths = [step for step in steps if step.inputs is not None]
        self.inputs = self.outputs = widths[0].inputs if widths else None

    def forward(self, x: Array, values: Values) -> tuple[Array, Any]:
        y, saved = forward_through(self.steps, x, values)
        with np.errstate(all="ignore"):
            return x + y, saved

    def backward(self, grad: Array, saved: Any, values: Values, into: Values, need_dx: bool) -> Array | None:
        dx = backward_through(self.steps, grad, saved, values, into, need_dx)
        if dx is None:
            return None
        with np.errstate(all="ignore"):
            return dx + grad


def forward_through(steps: list[Step], x: Array, values: Values) -> tuple[Array, list[Any]]:
    """The result of steps one after another, and what each saved."""
    saved, start = [], 0
    for step in steps:
        end = start + len(step.names)
        x, kept = step.forward(x, values[start:end])
        saved.append(kept)
        start = end
    return x, saved


def backward_through(
    steps: list[Step], grad: Any, saved: list[Any], values: Values, into: Values, need_dx: bool
) -> Array | None:
    """The gradient of x where it is needed; below the lowest step that is trained nobody else needs one."""
    owners = [i for i, step in enumerate(steps) for _ in step.names]
    trained = [i for i, one in zip(owners, into, strict=True) if one is not None]
    lowest, end = 0 if need_dx else min(trained, default=len(steps)), len(values)
    for i in range(len(steps) - 1, lowest - 1, -1):
        start = end - len(steps[i].names)
        grad = steps[i].backward(grad, saved[i], values[start:end], into[start:end], i > lowest or need_dx)
        end = start
    return grad if need_dx else None
