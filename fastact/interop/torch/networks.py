"""Networks of ``torch.nn`` whose passes are compiled: ``convert``."""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from ... import checks
from .layers import in_sequence, steps_of
from .plans import Plan
from .steps import DenseStep
from .tensors import DTYPES, check

__all__ = ["Linear", "Sequential", "convert"]

_ALIGNMENT = 64  # bytes: a cache line


class _Compiled:
    """What ``convert`` adds to a module: the compiled pass, and parameters that lie one after another in memory."""

    is_compiled = True
    _plan: Plan | None = None

    def forward(self, x: Any) -> Any:
        """The module's result for x."""
        plan = self._plan
        if plan is None:
            plan = self._prepared()
        if any(plan.hooks):  # on modules inside: they see what goes through them
            return super().forward(x)  # type: ignore[misc]
        y = plan.run(x)
        return super().forward(x) if y is None else y  # type: ignore[misc]

    def _prepared(self) -> Plan:
        steps, modules = steps_of("convert", self)
        plan = Plan(f"fastact.torch.{type(self).__name__}", steps, [m for m in modules if m is not self])
        self.__dict__["_plan"] = plan
        return plan

    def _flatten(self: Any) -> None:
        """Have all parameters lie in one piece of memory, in which each starts on a cache line."""
        parameters = list(self.parameters())
        if not parameters or len({parameter.dtype for parameter in parameters}) > 1:
            return
        step = _ALIGNMENT // parameters[0].element_size()
        lengths = [-(-parameter.numel() // step) * step for parameter in parameters]
        flat = torch.zeros(sum(lengths), dtype=parameters[0].dtype)
        starts = itertools.accumulate(lengths, initial=0)
        for parameter, start in zip(parameters, starts, strict=False):
            place = flat[start : start + parameter.numel()].view(parameter.shape)
            place.copy_(parameter.detach())
            parameter.data = place

    def _apply(self: Any, fn: Any, recurse: bool = True) -> Any:
        """Module's way to other devices and dtypes: only the CPU and float32 or float64 are there."""
        name = f"fastact.torch.{type(self).__name__}"
        for parameter in itertools.islice(self.parameters(), 1):
            try:
                check(name, "parameters", fn(torch.empty(0, dtype=parameter.dtype)))
            except Exception as error:
                raise TypeError(
                    f"{name}: a converted network computes on the CPU, in float32 or float64; for other devices and "
                    "dtypes make the plain module of its state_dict()"
                ) from error
        dtype = next((parameter.dtype for parameter in self.parameters()), None)
        super()._apply(fn, recurse)  # type: ignore[misc]
        self.__dict__.pop("_plan", None)
        if next((parameter.dtype for parameter in self.parameters()), None) != dtype:
            self._flatten()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_plan"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self._flatten()


class Sequential(_Compiled, nn.Sequential):  # type: ignore[misc]
    """A ``torch.nn.Sequential`` whose passes are compiled; ``convert`` makes it."""


class Linear(_Compiled, nn.Linear):  # type: ignore[misc]
    """A ``torch.nn.Linear`` whose passes are compiled; ``convert`` makes it."""


def convert(module: Any, *, inplace: bool = False) -> Any:
    """A network of ``torch.nn`` that behaves the same and whose passes are compiled.

    Parameters
    ----------
    module : an ``nn.Sequential`` (nested ones too) of ``Linear``, elementwise activations, ``PReLU``, ``Dropout``,
        ``AlphaDropout``, ``LayerNorm``, ``BatchNorm1d``, ``Softmax`` and ``LogSoftmax`` over the features,
        ``Identity``; or an ``nn.Linear``; on the CPU, in float32 or float64
    inplace : by default the result is a copy with parameters of its own; with inplace=True the module itself changes
        its class, and an optimiser that has its parameters already goes on

    Names and shapes of parameters and buffers stay, and all that PyTorch does with modules: ``state_dict``, optimisers,
    hooks, ``requires_grad_``, ``train`` and ``eval``, ``copy.deepcopy``, ``pickle``. The parameters are views of one
    piece of memory. Of a policy with several parts, convert each: ``policy.trunk = convert(policy.trunk)``. Layers
    changed afterwards ask for ``convert`` again.

    Raises TypeError or ValueError for what cannot be converted, naming the submodule.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Tanh(), torch.nn.Linear(64, 2))
    >>> fast = convert(net)
    >>> torch.testing.assert_close(fast(torch.ones(3, 4)), net(torch.ones(3, 4)))
    """
    kinds = {nn.Sequential: Sequential, nn.Linear: Linear, Sequential: Sequential, Linear: Linear}
    kind = kinds.get(type(module))
    if kind is None and in_sequence(module) and not inplace:
        kind, module = Sequential, nn.Sequential(OrderedDict(module._modules)).train(module.training)
    if kind is None:
        parts = ""
        if isinstance(module, nn.Module):
            names = [name for name, child in module.named_children() if type(child) in kinds]
            parts = "".join(f"; convert its part: module.{name} = convert(module.{name})" for name in names[:3])
        raise TypeError(
            f"convert: expected an nn.Sequential or nn.Linear, got {checks.describe(module)}"
            f"{parts or '; wrap its layers in an nn.Sequential'}"
        )
    if not any(isinstance(step, DenseStep) for step in steps_of("convert", module)[0]):
        raise ValueError(f"convert: expected at least one nn.Linear, got {type(module).__name__} without")
    for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
        if tensor.dtype.is_floating_point or tensor.device.type != "cpu":
            check("convert", name, tensor)
    dtypes = {parameter.dtype for parameter in module.parameters()}
    if len(dtypes) > 1 or not dtypes <= DTYPES.keys():
        raise TypeError(
            f"convert: expected parameters of one dtype, got {', '.join(map(str, dtypes))}; use module.float()"
        )
    result = module if inplace else copy.deepcopy(module)
    result.__class__ = kind
    result.__dict__.pop("_plan", None)
    result._flatten()
    return result
