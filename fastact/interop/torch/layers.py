"""Layers of ``torch.nn`` and ours: which is which."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import nn

from ...epilogues import FixedActivation, LearnedActivation, MaxoutEpilogue, activation
from ...registry import LEARNED
from .modules import Dense, Maxout, ReLUSquared, Residual, Standardize, Swish
from .steps import (
    ActivationStep,
    BatchNormStep,
    DenseStep,
    DropoutStep,
    LayerNormStep,
    LearnedStep,
    MaxoutStep,
    ResidualStep,
    RowStep,
    StandardizeStep,
    Step,
)

#: Elementwise activations: ours, and the names of its parameters, which are the same there.
ACTIVATIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    nn.Identity: ("identity", ()),
    nn.ReLU: ("relu", ()),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Tanh: ("tanh", ()),
    nn.ELU: ("elu", ("alpha",)),
    nn.CELU: ("celu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Softplus: ("softplus", ("beta",)),
    nn.LogSigmoid: ("log_sigmoid", ()),
    nn.SiLU: ("silu", ()),
    nn.Mish: ("mish", ()),
    nn.Hardsigmoid: ("hard_sigmoid", ()),
    nn.Hardswish: ("hard_swish", ()),
    nn.Hardtanh: ("hard_tanh", ("min_val", "max_val")),
    nn.ReLU6: ("relu6", ()),
    nn.Softsign: ("softsign", ()),
    nn.Threshold: ("threshold", ("threshold", "value")),
    nn.Hardshrink: ("hard_shrink", ("lambd",)),
    nn.Softshrink: ("soft_shrink", ("lambd",)),
    nn.Tanhshrink: ("tanh_shrink", ()),
    ReLUSquared: ("relu_squared", ()),
}
ROWS = {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}
DROPOUTS = (nn.Dropout, nn.AlphaDropout)
_SOFTPLUS_THRESHOLD = 20  # PyTorch is linear from there on, within half a unit in the last place of float32


def is_compiled(module: Any) -> bool:
    """Whether ``convert`` made it: what its forward does is known."""
    return getattr(module, "is_compiled", False)


def in_sequence(module: Any) -> bool:
    """Whether it is its children, one after another."""
    return isinstance(module, nn.Sequential) and (type(module).forward is nn.Sequential.forward or is_compiled(module))


def inside(module: Any) -> Any:
    """The modules in a sequence that does more than going through them."""
    return nn.Sequential(OrderedDict(module._modules))


def leaves(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The layers one after another, with their names; a sequence is what is in it."""
    if in_sequence(module):
        for key, child in module._modules.items():
            yield from leaves(child, f"{name}.{key}".lstrip("."))
    else:
        yield name, module


def activation_of(function: str, name: str, module: Any) -> FixedActivation | None:
    """Our activation for a module; None for one that is none."""
    found = ACTIVATIONS.get(type(module))
    if found is None:
        return None
    ours, parameters = found
    if isinstance(module, nn.Softplus) and module.threshold < _SOFTPLUS_THRESHOLD:
        raise ValueError(
            f"{function}: expected {name} (Softplus) to have threshold {_SOFTPLUS_THRESHOLD} or more, got "
            f"{module.threshold}; the compiled one is exact everywhere"
        )
    try:
        return activation(ours, **{key: getattr(module, key) for key in parameters})  # type: ignore[return-value]
    except ValueError as error:
        raise ValueError(f"{function}: {name} ({type(module).__name__}) is out of range: {error}") from error


def steps_of(function: str, module: Any, prefix: str = "") -> tuple[list[Step], list[Any]]:
    """The steps of a network, and the modules that they are made of; errors name the submodule."""
    found = list(leaves(module, prefix))
    steps: list[Step] = []
    modules = [layer for _, layer in found]
    width, i = None, 0
    while i < len(found):
        name, layer = found[i]
        after = found[i + 1] if i + 1 < len(found) else ("", None)
        step, used = _step(function, name, layer, *after)
        i += used
        if step is None:
            continue
        if step.inputs is not None and width is not None and step.inputs != width:
            raise ValueError(
                f"{function}: expected {name} ({type(layer).__name__}) to take {width} features like the layer "
                f"before, got {step.inputs}"
            )
        width = step.outputs_for(width)
        if isinstance(layer, Residual):
            modules += steps_of(function, inside(layer), name)[1]
        steps.append(step)
    return steps, modules


def _step(function: str, name: str, layer: Any, next_name: str, following: Any) -> tuple[Step | None, int]:
    """The step for a layer, and how many layers it is: an activation goes with the linear layer before it."""
    kind = type(layer)
    if kind is Dense:
        return _dense_step(function, name, layer), 1
    if kind is nn.Linear or (isinstance(layer, nn.Linear) and is_compiled(layer)):
        if layer._parameters.get("weight") is None:
            raise TypeError(f"{function}: {name} (Linear) makes its weight anew each time; remove what does that first")
        if type(following) is nn.PReLU and following.num_parameters in (1, layer.out_features):
            return DenseStep(layer, LearnedActivation(LEARNED["prelu"], 0.25), (following, "weight")), 2
        fused = None if following is None else activation_of(function, next_name, following)
        return DenseStep(layer, activation("identity") if fused is None else fused), 1 if fused is None else 2
    single = activation_of(function, name, layer)
    if single is not None:
        return None if single.reads is None else ActivationStep(single), 1
    return _other_step(function, name, layer), 1


def _dense_step(function: str, name: str, layer: Dense) -> Step:
    if layer.learns is not None:
        return DenseStep(layer, LearnedActivation(LEARNED[layer.learns], 1.0), (layer, "activation"))
    if isinstance(layer.after, Maxout):
        return DenseStep(layer, MaxoutEpilogue(layer.after.pieces))
    return DenseStep(layer, activation_of(function, f"{name}.after", layer.after))


def _other_step(function: str, name: str, layer: Any) -> Step:
    """The step for a layer that is neither linear nor an activation without parameters."""
    kind = type(layer)
    if kind in ROWS and layer.dim not in (-1, 1):
        raise ValueError(
            f"{function}: expected {name} ({kind.__name__}) to have dim=-1 or 1, the features, got {layer.dim}"
        )
    if kind is Residual:
        return ResidualStep(steps_of(function, inside(layer), name)[0])
    makers: dict[Any, Any] = {
        nn.PReLU: lambda: LearnedStep(layer, "prelu", "weight", layer.num_parameters),
        Swish: lambda: LearnedStep(layer, "swish", "beta", len(layer.beta)),
        Maxout: lambda: MaxoutStep(layer.pieces),
        Standardize: lambda: StandardizeStep(layer),
        nn.LayerNorm: lambda: LayerNormStep(layer, *layer.normalized_shape),
        nn.BatchNorm1d: lambda: BatchNormStep(layer, layer.num_features),
        **{key: lambda: RowStep(ROWS[kind]) for key in ROWS},
        **{key: lambda: DropoutStep(layer) for key in DROPOUTS},
    }
    if kind not in makers or (kind is nn.LayerNorm and len(layer.normalized_shape) != 1):
        raise TypeError(
            f"{function}: cannot convert {name} ({layer}); known are Linear, activations, PReLU, Dropout, "
            "AlphaDropout, LayerNorm over the features, BatchNorm1d, Softmax and LogSoftmax; convert the parts before "
            "and after it"
        )
    return makers[kind]()
