"""The compiled pass of a network of ``torch.nn`` layers, and the autograd function that stands for it.

What a forward saves belongs to its node of PyTorch's graph: any number of forwards may wait for their backward, and
with retain_graph one forward may have several. A network of linear layers with elementwise activations runs forward and
backward in one compiled call each; others step by step.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch

from ... import backends
from .steps import DenseStep, Step
from .tensors import DTYPES, array, check, once, plain, transformed

_NUMBERS = {dtype: number for number, dtype in enumerate(DTYPES)}
_choice, _NATIVE = backends.choice, backends.NATIVE


class Plan:
    """The steps of a network, and where their parameters are."""

    def __init__(self, name: str, steps: list[Step], modules: list[Any]) -> None:
        self.name, self.steps = name, steps
        slots = [slot for step in steps for slot in step.names]
        self.slots = [(module._parameters, key) for module, key in slots]
        self.counts = [len(step.names) for step in steps]
        self.hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)]
        self.shapes = [module._parameters[key].shape for module, key in slots]
        widths = [step for step in steps if step.inputs is not None]
        self.inputs = widths[0].inputs
        self.outputs = widths[-1].outputs
        self.only_rows = not all(isinstance(step, DenseStep) for step in steps)  # no other shape than (rows, columns)
        self.addresses: list[int] = []
        self.alive: list[Any] = []
        self.chain: Any = None
        self.dtype: Any = None
        self.saves_result = False

    def bind(self, parameters: list[Any], addresses: list[int]) -> None:
        """Look at parameters that lie elsewhere than before: what is wrong with them is said, before memory is read."""
        for parameter, shape, (_, key) in zip(parameters, self.shapes, self.slots, strict=True):
            check(self.name, key, parameter)
            if parameter.shape != shape or parameter.dtype != parameters[0].dtype:
                raise ValueError(
                    f"{self.name}: expected {key} of shape {tuple(shape)} and of one dtype with the others, got "
                    f"{tuple(parameter.shape)} of {parameter.dtype}; convert the changed network again"
                )
        self.dtype = parameters[0].dtype
        self.chain = self._chain(parameters)
        self.alive = [parameter.detach() for parameter in parameters]  # so that no other tensor can take their places
        self.addresses = addresses

    def _chain(self, parameters: list[Any]) -> Any:
        """The compiled pass, where all steps have kernels and all parameters lie in one piece."""
        if not backends.compiled or not all(isinstance(step, DenseStep) for step in self.steps):
            return None
        given, layers = iter(parameters), []
        for step in self.steps:
            assert isinstance(step, DenseStep)
            if step.activation.kernels is None:
                return None
            weight, *rest = itertools.islice(given, len(step.names))
            across = weight.is_contiguous()
            if not (across or weight.t().is_contiguous()) or not all(bias.is_contiguous() for bias in rest):
                return None
            shape = step.inputs, step.outputs, step.biased, across
            layers.append((*step.activation.kernels, step.activation.saves, *shape))
        self.saves_result = self.steps[-1].activation.saves == "y"  # type: ignore[attr-defined]
        return backends.engine.OwnedDense(_NUMBERS[self.dtype], layers)

    def accepted(self, x: Any) -> Any:
        """x as the kernels want it; TypeError or ValueError where it is not for this network."""
        check(self.name, "x", x)
        if x.dtype != self.dtype:
            name = str(self.dtype).removeprefix("torch.")
            raise TypeError(
                f"{self.name}: expected x to be {name} like the network, got {x.dtype}; convert with x.to(torch.{name})"
            )
        if not x.ndim or (self.inputs is not None and x.shape[-1] != self.inputs):
            raise ValueError(
                f"{self.name}: expected x's last dimension to have {self.inputs} features, got shape {tuple(x.shape)}"
            )
        return x.contiguous().resolve_neg()

    def run(self, x: Any) -> Any:
        """The network's result for x; None where PyTorch's own modules had better do it."""
        parameters = [held[key] for held, key in self.slots]
        try:
            addresses = [parameter.data_ptr() for parameter in parameters]
            if addresses != self.addresses:
                self.bind(parameters, addresses)
            usual = type(x) is torch.Tensor and x.dtype is self.dtype and x.is_cpu and x.ndim
            if not (usual and x.shape[-1] == self.inputs and x.is_contiguous() and not x.is_neg()):
                x = self.accepted(x)
            place = x.data_ptr()
        except RuntimeError:  # tensors without memory, of torch.func
            if not transformed():
                raise
            return None
        if self.chain is None or _choice.get() is not _NATIVE:
            if x.ndim != 2 and self.only_rows:
                return None
            return _apply_steps(x, self, *parameters)
        if torch.is_grad_enabled():
            return _apply_chain(x, self, addresses, *parameters)
        y, rows = self.result(x)
        self.chain.infer(addresses, place, rows, y.data_ptr())
        return y

    def result(self, x: Any) -> tuple[Any, int]:
        """An empty tensor for x's result, and the rows."""
        if x.ndim == 2:
            rows = x.shape[0]
            return x.new_empty((rows, self.outputs)), rows
        shape = (*x.shape[:-1], self.outputs)
        return x.new_empty(shape), x.shape[:-1].numel()


class _ChainPass(torch.autograd.Function):  # type: ignore[misc]
    """Linear layers in one compiled call."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Plan, addresses: list[int], *parameters: Any) -> Any:
        y, rows = plan.result(x)
        chain = plan.chain
        state = torch.empty(chain.state_bytes(rows), dtype=torch.uint8)
        chain.forward(addresses, x.data_ptr(), rows, y.data_ptr(), state.data_ptr())
        ctx.plan, ctx.addresses, ctx.rows, ctx.chain = plan, addresses, rows, chain
        ctx.save_for_backward(x, y if plan.saves_result else None, state, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y, state, *parameters = ctx.saved_tensors
        if not grad.is_contiguous() or grad.is_neg():
            grad = plain(grad)
        need_x, _, _, *needed = ctx.needs_input_grad
        dx = torch.empty_like(x) if need_x else None
        gradients = [torch.empty_like(p) if n else None for p, n in zip(parameters, needed, strict=True)]
        ctx.chain.backward(
            [parameter.data_ptr() for parameter in parameters],
            x.data_ptr(),
            ctx.rows,
            0 if y is None else y.data_ptr(),
            state.data_ptr(),
            grad.data_ptr(),
            0 if dx is None else dx.data_ptr(),
            [0 if one is None else one.data_ptr() for one in gradients],
        )
        if torch.is_grad_enabled():
            dx, *gradients = once(ctx.plan.name, (dx, *gradients), (x, grad, *parameters))
        return dx, None, None, *gradients


class _StepsPass(torch.autograd.Function):  # type: ignore[misc]
    """Step after step."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Plan, *parameters: Any) -> Any:
        rows = array(x).reshape(x.shape[:-1].numel(), x.shape[-1])
        values, saved = iter([array(parameter) for parameter in parameters]), []
        y = rows
        for step, count in zip(plan.steps, plan.counts, strict=True):
            own = list(itertools.islice(values, count))
            y, kept = step.forward(y, own)
            saved.append(kept)
        ctx.plan, ctx.saved = plan, saved
        ctx.save_for_backward(x, *parameters)
        result = torch.from_numpy(y.copy() if y is rows else y)
        return result.reshape(*x.shape[:-1], y.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, *parameters = ctx.saved_tensors
        plan, (need_x, _, *needed) = ctx.plan, ctx.needs_input_grad
        gradients = [torch.empty_like(p) if n else None for p, n in zip(parameters, needed, strict=True)]
        g: Any = array(plain(grad)).reshape(-1, grad.shape[-1])
        end = len(parameters)
        lowest = 0 if need_x else _lowest(plan.counts, needed)
        for i in range(len(plan.steps) - 1, lowest - 1, -1):
            start = end - plan.counts[i]
            own = [array(parameter) for parameter in parameters[start:end]]
            into = [None if one is None else array(one) for one in gradients[start:end]]
            g = plan.steps[i].backward(g, ctx.saved[i], own, into, i > lowest or need_x)
            end = start
        dx = torch.from_numpy(g.copy()).reshape(x.shape) if need_x else None
        dx, *gradients = once(plan.name, (dx, *gradients), (x, grad, *parameters))
        return dx, None, *gradients


def _lowest(counts: list[int], needed: list[bool]) -> int:
    """The lowest step with a parameter that is trained: below, nobody needs a gradient."""
    owners = [i for i, count in enumerate(counts) for _ in range(count)]
    return min((i for i, need in zip(owners, needed, strict=True) if need), default=len(counts))


# Function.apply's own beginning looks for transforms of torch.func, of which ``run`` knows already.
_apply_chain, _apply_steps = (super(torch.autograd.Function, kind).apply for kind in (_ChainPass, _StepsPass))
