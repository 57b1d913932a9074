"""Layers of ``torch.nn`` and ours: which is which."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ...epilogues import FixedActivation, LearnedActivation, activation
from ...registry import LEARNED
from .steps import ActivationStep, BatchNormStep, DenseStep, DropoutStep, LayerNormStep, LearnedStep, RowStep, Step

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
}
ROWS = {nn.Softmax: "softmax", nn.LogSoftmax: "log_softmax"}
DROPOUTS = (nn.Dropout, nn.AlphaDropout)
_SOFTPLUS_THRESHOLD = 20  # PyTorch is linear from there on, within half a unit in the last place of float32


def leaves(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The layers one after another, with their names; an ``nn.Sequential`` is what is in it."""
    if isinstance(module, nn.Sequential) and type(module).__module__.startswith(("torch.nn.", __package__ or "-")):
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


def steps_of(function: str, module: Any) -> tuple[list[Step], list[Any]]:
    """The steps of a network, and the modules that they are made of; errors name the submodule."""
    found = list(leaves(module))
    steps: list[Step] = []
    width, i = None, 0
    while i < len(found):
        name, layer = found[i]
        after = found[i + 1] if i + 1 < len(found) else (None, None)
        step, used = _step(function, name, layer, *after)
        i += used
        if step is None:
            continue
        if step.inputs is not None:
            if width is not None and step.inputs != width:
                raise ValueError(
                    f"{function}: expected {name} ({type(layer).__name__}) to take {width} features like the layer "
                    f"before, got {step.inputs}"
                )
            width = step.outputs
        steps.append(step)
    if not any(isinstance(step, DenseStep) for step in steps):
        raise ValueError(f"{function}: expected at least one nn.Linear, got {type(module).__name__} without")
    return steps, [layer for _, layer in found]


def _step(function: str, name: str, layer: Any, next_name: Any, following: Any) -> tuple[Step | None, int]:
    """The step for a layer, and how many layers it is: an activation goes with the linear layer before it."""
    step: Step | None = None
    kind = type(layer)
    if kind is nn.Linear or (isinstance(layer, nn.Linear) and kind.__module__.startswith(__package__ or "-")):
        if "weight" not in layer._parameters:
            raise TypeError(f"{function}: {name} (Linear) makes its weight anew; remove its parametrization first")
        if type(following) is nn.PReLU and following.num_parameters in (1, layer.out_features):
            return DenseStep(layer, LearnedActivation(LEARNED["prelu"], 0.25), following), 2
        fused = None if following is None else activation_of(function, next_name, following)
        if fused is None:
            return DenseStep(layer, activation("identity")), 1  # type: ignore[arg-type]
        return DenseStep(layer, fused), 2
    single = activation_of(function, name, layer)
    if single is not None:
        step = None if single.reads is None else ActivationStep(single)
    elif kind is nn.PReLU:
        step = LearnedStep(layer)
    elif kind in ROWS:
        if layer.dim not in (-1, 1):
            raise ValueError(
                f"{function}: expected {name} ({kind.__name__}) to have dim=-1 or 1, the features, got {layer.dim}"
            )
        step = RowStep(ROWS[kind])
    elif kind in DROPOUTS:
        step = DropoutStep(layer)
    elif kind is nn.LayerNorm and len(layer.normalized_shape) == 1:
        step = LayerNormStep(layer, layer.normalized_shape[0])
    elif kind is nn.BatchNorm1d:
        step = BatchNormStep(layer, layer.num_features)
    else:
        raise TypeError(
            f"{function}: cannot convert {name} ({layer}); known are Linear, activations, PReLU, Dropout, "
            "AlphaDropout, LayerNorm over the features, BatchNorm1d, Softmax and LogSoftmax; convert the parts before "
            "and after it"
        )
    return step, 1
