"""The compiled pass of a network of ``torch.nn`` layers, and the autograd function that stands for it.

What a forward saves belongs to its node of PyTorch's graph: any number of forwards may wait for their backward, and
with retain_graph one forward may have several. A network of linear layers with elementwise activations runs forward and
backward in one compiled call each; others step by step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ... import backends
from .steps import DenseStep, Step, backward_through, forward_through
from .tensors import DTYPES, array, check, once, plain, transformed

_NUMBERS = {dtype: number for number, dtype in enumerate(DTYPES)}
_choice, _NATIVE = backends.choice, backends.NATIVE
#: How the core looks at tensors (None in a PyTorch before 2.10, where networks run step by step), and makes them.
_EXCHANGE = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
_TENSORS = _EXCHANGE, (torch.Tensor, torch.nn.Parameter), torch.empty_like


class Plan:
    """The steps of a network, and where their parameters are."""

    def __init__(self, name: str, steps: list[Step], modules: list[Any]) -> None:
        self.name, self.steps = name, steps
        slots = [slot for step in steps for slot in step.names]
        self.slots = [(module._parameters, key) for module, key in slots]
        self.hooks = [hooks for m in modules for hooks in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)]
        self.shapes = [module._parameters[key].shape for module, key in slots]
        self.inputs = next((step.inputs for step in steps if step.inputs is not None), None)
        self.only_rows = not all(isinstance(step, DenseStep) for step in steps)  # no other shape than (rows, columns)
        self.dtype: Any = next((module._parameters[key].dtype for module, key in slots), None)
        self.chain = self._chain()

    def _chain(self) -> Any:
        """The compiled pass, where all steps have kernels."""
        if not backends.compiled or _EXCHANGE is None or self.dtype is None:
            return None
        layers = []
        for step in self.steps:
            if not isinstance(step, DenseStep) or step.activation.kernels is None:
                return None
            kernels = step.activation.kernels
            layers.append((*kernels, step.activation.saves, step.inputs, step.outputs, step.biased))
        return backends.engine.ForeignDense(*_TENSORS, _NUMBERS[self.dtype], layers)

    def look(self, parameters: list[Any]) -> None:
        """Say what is wrong with parameters, where anything is."""
        for parameter, shape, (_, key) in zip(parameters, self.shapes, self.slots, strict=True):
            check(self.name, key, parameter)
            if parameter.shape != shape or parameter.dtype != self.dtype:
                raise ValueError(
                    f"{self.name}: expected {key} of shape {tuple(shape)} and {self.dtype}, got "
                    f"{tuple(parameter.shape)} and {parameter.dtype}; convert the changed network again"
                )

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
        chain = self.chain if _choice.get() is _NATIVE else None
        try:
            if chain is None or not chain.fits(x, parameters) or x.is_neg():
                self.look(parameters)
                x = self.accepted(x)
                if chain is not None and not chain.fits(x, parameters):
                    chain = None
        except RuntimeError:  # tensors without memory, of torch.func
            if not transformed():
                raise
            return None
        if chain is None:
            return _apply_steps(x, self, *parameters) if x.ndim == 2 or not self.only_rows else None
        if torch.is_grad_enabled():
            return _apply_chain(x, self, *parameters)
        return chain.infer(x, parameters)


class _ChainPass(torch.autograd.Function):  # type: ignore[misc]
    """Linear layers in one compiled call."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Plan, *parameters: Any) -> Any:
        y, kept, ctx.state = plan.chain.forward(x, parameters)
        ctx.plan = plan
        ctx.save_for_backward(x, kept, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        saved, plan = ctx.saved_tensors, ctx.plan
        if grad.is_neg():
            grad = plain(grad)
        need_x, _, *needed = ctx.needs_input_grad
        dx, *gradients = plan.chain.backward(saved, ctx.state, grad, (need_x, *needed))
        if torch.is_grad_enabled():
            dx, *gradients = once(plan.name, (dx, *gradients), (saved[0], grad, *saved[2:]))
        return dx, None, *gradients


class _StepsPass(torch.autograd.Function):  # type: ignore[misc]
    """Step after step."""

    @staticmethod
    def forward(ctx: Any, x: Any, plan: Plan, *parameters: Any) -> Any:
        rows = array(x).reshape(x.shape[:-1].numel(), x.shape[-1])
        y, ctx.saved = forward_through(plan.steps, rows, [array(parameter) for parameter in parameters])
        ctx.plan = plan
        ctx.save_for_backward(x, *parameters)
        result = torch.from_numpy(y.copy() if np.may_share_memory(y, rows) else y)
        return result.reshape(*x.shape[:-1], y.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, *parameters = ctx.saved_tensors
        plan, (need_x, _, *needed) = ctx.plan, ctx.needs_input_grad
        gradients = [torch.empty_like(p) if n else None for p, n in zip(parameters, needed, strict=True)]
        g = array(plain(grad)).reshape(grad.shape[:-1].numel(), grad.shape[-1])
        values = [array(parameter) for parameter in parameters]
        into = [None if one is None else array(one) for one in gradients]
        found = backward_through(plan.steps, g, ctx.saved, values, into, need_x)
        dx = None if found is None else torch.from_numpy(found.copy() if found is g else found).reshape(x.shape)
        dx, *gradients = once(plan.name, (dx, *gradients), (x, grad, *parameters))
        return dx, None, *gradients


# Function.apply's own beginning looks for transforms of torch.func, of which ``run`` knows already.
_apply_chain, _apply_steps = (super(torch.autograd.Function, kind).apply for kind in (_ChainPass, _StepsPass))
