"""``torch.optim.Adam`` and ``AdamW`` with a compiled step: for small networks PyTorch's takes as long as the passes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch.optim import optimizer

from ... import backends

__all__ = ["Adam", "AdamW"]

_NUMBER = backends.engine.optimizer_names().index("adam")
_EVERYONES_HOOKS = optimizer._global_optimizer_pre_hooks, optimizer._global_optimizer_post_hooks
_STATES = "step", "exp_avg", "exp_avg_sq"
#: What PyTorch's own step is for.
_OTHERS = "amsgrad", "maximize", "capturable", "differentiable"


class _Views:
    """A parameter and its state as arrays over the same memory, and the tensors that they are of."""

    def __init__(self, parameter: Any, state: dict[str, Any]) -> None:
        self.tensors = [state[name] for name in _STATES]
        self.address, self.stride = parameter.data_ptr(), parameter.stride()
        self.step = self.tensors[0].numpy()
        self.parameter, *self.states = (
            tensor.detach().numpy().ravel(order="K") for tensor in (parameter, *self.tensors[1:])
        )

    def hold(self, parameter: Any, state: dict[str, Any]) -> bool:
        """Whether they are still the parameter's and its state's."""
        step, first, second = self.tensors
        return (
            state["step"] is step
            and state["exp_avg"] is first
            and state["exp_avg_sq"] is second
            and parameter.data_ptr() == self.address
        )


class _CompiledStep:
    """The step of Adam and AdamW by the kernel; by PyTorch where anything is out of the ordinary."""

    decoupled = False

    def zero_grad(self: Any, set_to_none: bool = True) -> None:
        """Forget the gradients, or with set_to_none=False fill them with zeros."""
        if not set_to_none:
            super().zero_grad(False)  # type: ignore[misc]
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def step(self: Any, closure: Any = None) -> Any:
        """One step; ``closure`` computes the loss again and returns it."""
        hooks = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks, *_EVERYONES_HOOKS
        return _with_hooks(self, closure) if any(hooks) else self._step(closure)

    step.hooked = True  # type: ignore[attr-defined] # so that PyTorch does not wrap it, which takes as long as the step

    def _step(self: Any, closure: Any) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plans = [self._plan(group) for group in self.param_groups]
        if any(plan is None for plan in plans):
            super().step()  # type: ignore[misc]
            return loss
        rule = backends.engine.Update()
        for group, plan in zip(self.param_groups, plans, strict=True):
            self._update(group, plan, rule)
        torch.autograd.graph.increment_version([parameter for plan in plans for parameter, _, _ in plan])
        return loss

    def _plan(self: Any, group: dict[str, Any]) -> list[tuple[Any, _Views, Any]] | None:
        """(parameter, views, gradient as an array) of what has a gradient; None for PyTorch's own step."""
        if any(group[name] for name in _OTHERS) or isinstance(group["lr"], torch.Tensor):
            return None
        if backends.choice.get() is not backends.NATIVE or not all(isinstance(b, float) for b in group["betas"]):
            return None
        plan = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            views = self._views(parameter)
            if views is None or gradient.layout != torch.strided or gradient.requires_grad:
                return None
            if gradient.stride() != views.stride:
                return None
            plan.append((parameter, views, gradient.numpy().ravel(order="K")))
        return plan

    def _views(self: Any, parameter: Any) -> _Views | None:
        """The arrays of a parameter, made where there are none; None for one that the kernel cannot take."""
        cache = self.__dict__.setdefault("_arrays", {})
        state, views = self.state[parameter], cache.get(parameter)
        if views is not None and state and views.hold(parameter, state):
            return views
        if parameter.device.type != "cpu" or parameter.dtype not in (torch.float32, torch.float64):
            return None
        if not (parameter.is_contiguous() or (parameter.ndim == 2 and parameter.t().is_contiguous())):
            return None
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(parameter) for _ in range(2))
        if any(state[name].stride() != parameter.stride() for name in _STATES[1:]) or state["step"].is_complex():
            return None
        cache[parameter] = views = _Views(parameter, state)
        return views

    def _update(self: Any, group: dict[str, Any], plan: Any, rule: Any) -> None:
        first, second = group["betas"]
        rate, decay = float(group["lr"]), float(group["weight_decay"])
        rule.mean, rule.square, rule.epsilon = first, second, group["eps"]
        decoupled = self.decoupled or group.get("decoupled_weight_decay", False)
        age = None
        for _, views, gradient in plan:
            now = views.step.item() + 1
            views.step.fill(now)
            if now != age:
                age = now
                rise = 1 - first**age
                rule.rate, rule.correction = rate / rise, 1 / math.sqrt(1 - second**age)
                rule.decay, rule.shrink = (0.0, decay * rise) if decoupled else (decay, 0.0)
            backends.engine.update(
                _NUMBER, views.parameter, gradient, tuple(views.states), 0, len(gradient), 1.0, np.inf, rule
            )

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_arrays"}


@torch.optim.Optimizer.profile_hook_step  # type: ignore[untyped-decorator]
def _with_hooks(self: Any, closure: Any) -> Any:
    return self._step(closure)


class Adam(_CompiledStep, torch.optim.Adam):  # type: ignore[misc]
    """``torch.optim.Adam``, its arguments, groups, state and hooks included, with a compiled step.

    AMSGrad, ``maximize``, a tensor as rate, and parameters elsewhere than on the CPU take PyTorch's own step.

    >>> net = torch.nn.Linear(3, 2)
    >>> optimizer = Adam(net.parameters(), lr=0.1)
    >>> net(torch.ones(4, 3)).sum().backward()
    >>> optimizer.step()
    """


class AdamW(_CompiledStep, torch.optim.AdamW):  # type: ignore[misc]
    """``torch.optim.AdamW``, likewise."""

    decoupled = True
