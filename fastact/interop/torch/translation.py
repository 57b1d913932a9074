"""Networks of ours as modules of ``torch.nn``, and those as networks of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ... import checks, layers
from ...epilogues import MaxoutEpilogue, activation
from ...network import Sequential as Network
from . import modules
from .layers import ACTIVATIONS, DROPOUTS, ROWS, activation_of, inside, leaves, steps_of
from .networks import Sequential
from .tensors import DTYPES, check

__all__ = ["Module", "from_torch", "to_torch"]

_DTYPES = {ours: theirs for theirs, ours in DTYPES.items()}


# ------------------------------------------------------------------------------------------ ours as theirs


def _activation_module(function: str, activation: Any, learned: Any, dtype: Any) -> Any:
    """The module of an activation; of one that learns, with room for that many numbers."""
    name = activation.name
    special: dict[str, Any] = {
        "gelu_tanh": lambda: nn.GELU("tanh"),
        "prelu": lambda: nn.PReLU(learned, dtype=dtype),
        "swish": lambda: modules.Swish(learned, dtype=dtype),
        "maxout": lambda: modules.Maxout(activation.pieces),
        **{ours: lambda kind=kind: kind(-1) for kind, ours in ROWS.items()},
    }
    if name in special:
        return special[name]()
    kind = next((kind for kind, (ours, _) in ACTIVATIONS.items() if ours == name), None)
    if kind is None or activation.kernels is None:
        raise TypeError(f"{function}: PyTorch has no {name}; write its module with a forward of its own")
    return kind(**activation.parameters)


def _module(function: str, layer: Any, dtype: Any) -> list[Any]:
    """The modules for a layer, of the right shapes; what they hold is filled in later."""
    width = layer.inputs
    if type(layer) is layers.Dense:
        first = nn.Linear(width, layer.columns, bias=layer.bias, dtype=dtype)
        learned = len(layer.parameters.get("activation", ()))
        linear = layer.activation.name == "identity"
        return [first] if linear else [first, _activation_module(function, layer.activation, learned, dtype)]
    affine = {"dtype": dtype}
    makers: dict[Any, Any] = {
        layers.Activation: lambda: _activation_module(function, layer.activation, 0, dtype),
        layers.PReLU: lambda: nn.PReLU(len(layer.parameters["weight"]), dtype=dtype),
        layers.Swish: lambda: modules.Swish(len(layer.parameters["beta"]), dtype=dtype),
        layers.Maxout: lambda: modules.Maxout(layer.pieces),
        layers.Dropout: lambda: nn.Dropout(layer.rate),
        layers.AlphaDropout: lambda: nn.AlphaDropout(layer.rate),
        layers.Standardize: lambda: modules.Standardize(*torch.empty(2, width, **affine)),
        layers.LayerNorm: lambda: _affine(nn.LayerNorm(width, layer.eps, **affine), layer),
        layers.BatchNorm: lambda: _affine(nn.BatchNorm1d(width, layer.eps, layer.momentum, **affine), layer),
        layers.Residual: lambda: modules.Residual(
            *(one for inner in layer.block for one in _module(function, inner, dtype))
        ),
    }
    if type(layer) not in makers:
        raise TypeError(f"{function}: PyTorch has nothing for the layer {layer!r}; write its module in PyTorch")
    return [makers[type(layer)]()]


def _affine(module: Any, layer: Any) -> Any:
    """Without the weight or bias that the layer does without."""
    for name in ("weight", "bias"):
        if not getattr(layer, name):
            module.register_parameter(name, None)
    return module


def _check_network(function: str, net: Any) -> None:
    if not isinstance(net, Network):
        hint = "; from_torch makes one of a torch.nn.Sequential" if isinstance(net, nn.Module) else ""
        raise TypeError(f"{function}: expected a fastact.Sequential, got {checks.describe(net)}{hint}")


def to_torch(net: Network) -> Any:
    """A network of ours as plain modules of PyTorch, with copies of its numbers; it needs fastact no longer.

    A ``Dense`` layer with an activation becomes a ``Linear`` and the activation's module. What ``torch.nn`` lacks
    (``ReLUSquared``, ``Swish``, ``Maxout``, ``Standardize``, ``Residual``) are small modules of ``fastact.torch`` in
    PyTorch's own operations. Frozen parameters do not require gradients. Raises TypeError for a layer or activation of
    your own.

    >>> import fastact as fa
    >>> to_torch(fa.Sequential(fa.Dense(2, 3, "gelu"), fa.Dense(3, 1), rng=0))
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): GELU(approximate='none')
      (2): Linear(in_features=3, out_features=1, bias=True)
    )
    """
    _check_network("to_torch", net)
    result = nn.Sequential(*(one for layer in net.layers for one in _module("to_torch", layer, _DTYPES[net.dtype])))
    ours = {**net.named_parameters(), **net.named_buffers()}
    theirs = {**dict(result.named_parameters()), **dict(result.named_buffers())}
    with torch.no_grad():
        for (name, array), key in zip(_in_order(net, ours), _in_order_of_modules(result), strict=True):
            tensor = theirs[key]
            tensor.copy_(torch.from_numpy(np.array(array.T, order="C")).reshape(tensor.shape))
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(name not in net.frozen)
    return result


_ORDER = ("weight", "bias", "activation", "beta", "running_mean", "running_var", "num_batches_tracked", "mean", "scale")


def _in_order(net: Network, arrays: dict[str, Any]) -> list[tuple[str, Any]]:
    """Arrays by name, in the order of layers, those inside others in their places."""

    def key(item: tuple[str, Any]) -> Any:
        *numbers, last = item[0].split(".")
        return [*map(int, numbers)], _ORDER.index(last)

    return sorted(arrays.items(), key=key)


def _in_order_of_modules(module: Any) -> list[str]:
    """The names of a module's parameters and buffers in the same order."""
    return [
        f"{prefix}.{name}".lstrip(".")
        for prefix, one in module.named_modules()
        for name in sorted({**one._parameters, **one._buffers}, key=_ORDER.index)
        if {**one._parameters, **one._buffers}[name] is not None
    ]


class Module(Sequential):
    """A network of ours as a module of PyTorch, over the same memory: what trains one trains the other.

    Parameters
    ----------
    net : a ``fastact.Sequential`` of the library's layers

    ``state_dict()`` has the names and shapes of ``net.state_dict()``: "0.weight" of shape (out, in) is the transpose of
    ``net.named_parameters()["0.weight"]``. ``net`` is the network itself, for ``save``, ``fastact.predict``, ...; what
    it has frozen does not require gradients. Passes are compiled as those of ``convert``.

    Raises TypeError for what is no network, or for a layer of your own.

    >>> import fastact as fa
    >>> net = fa.Sequential(fa.Dense(2, 3, "tanh"), fa.Dense(3, 1), rng=0)
    >>> module = Module(net)
    >>> torch.optim.SGD(module.parameters(), lr=0.1).step()
    >>> module(torch.ones(1, 2)).item() == net(np.ones((1, 2), np.float32)).item()
    True
    """

    def __init__(self, net: Network) -> None:
        _check_network("Module", net)
        super().__init__(*(_own_module(layer, _DTYPES[net.dtype]) for layer in net.layers))
        self.__dict__["net"] = net
        arrays = {**net.named_parameters(), **net.named_buffers()}
        for prefix, module in self.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    full = f"{prefix}.{name}"
                    parameter.data = torch.from_numpy(arrays[full].T)
                    parameter.requires_grad_(full not in net.frozen)
            for name, buffer in module._buffers.items():
                array = arrays[f"{prefix}.{name}"]
                module._buffers[name] = (
                    torch.from_numpy(array) if name in _SHARED else torch.tensor(int(array[0]), dtype=buffer.dtype)
                )
        steps_of("Module", self)

    def _flatten(self) -> None:
        """They are flat already."""

    def share_memory(self) -> Any:
        """Refused: the memory is the network's."""
        raise TypeError("Module.share_memory: its memory is the network's; use to_torch(net), and convert that")

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        dtype = _DTYPES[self.net.dtype]
        try:
            same = fn(torch.empty(0, dtype=dtype)).dtype == dtype
        except Exception:
            same = False
        if not same:
            raise TypeError(
                f"Module: its memory is the network's, {self.net.dtype} on the CPU; use to_torch(net) for others, or a "
                "network of another dtype"
            )
        return super()._apply(fn, recurse)

    def __reduce__(self) -> Any:
        modes = {name: module.training for name, module in self.named_modules()}
        trained = {name: parameter.requires_grad for name, parameter in self.named_parameters()}
        return _remade, (self.net, self.state_dict(), trained, modes)


_SHARED = ("running_mean", "running_var", "mean", "scale")


def _remade(net: Network, state: Any, trained: dict[str, bool], modes: dict[str, bool]) -> Module:
    module = Module(net)
    module.load_state_dict(state)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trained[name])
    for name, one in module.named_modules():
        one.training = modes[name]
    return module


def _own_module(layer: Any, dtype: Any) -> Any:
    """One module for a layer, whose parameters have its names."""
    if type(layer) is layers.Residual:
        return modules.Residual(*(_own_module(inner, dtype) for inner in layer.block))
    first, *rest = _module("Module", layer, dtype)
    if type(layer) is not layers.Dense or not rest:
        return first
    learned = layer.activation.name if "activation" in layer.parameters else None
    result = modules.Dense(first.in_features, first.out_features, layer.bias, learned or rest[0], dtype)
    if learned:
        result.activation = nn.Parameter(torch.empty(len(layer.parameters["activation"]), dtype=dtype))
    return result


# ------------------------------------------------------------------------------------------ theirs as ours


def from_torch(module: Any) -> Network:
    """A network of ours with copies of the numbers of a ``torch.nn.Sequential``, nested ones too, or ``Linear``.

    It knows the layers that ``convert`` knows, and a ``Module`` gives its ``net``, copied. A ``Linear`` with the
    elementwise activation behind it becomes one ``Dense``. Parameters that do not require gradients are frozen. Raises
    TypeError or ValueError for what it does not know, naming the submodule.

    >>> from_torch(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    Sequential(Dense(2 -> 3, tanh), Dense(3 -> 1), float32, 13 parameters)
    """
    function = "from_torch"
    if not isinstance(module, nn.Module):
        raise TypeError(f"{function}: expected a torch.nn.Sequential, got {checks.describe(module)}")
    steps, _ = steps_of(function, module)
    tensors = [*module.parameters(), *(one for one in module.buffers() if one.is_floating_point())]
    for tensor in tensors:
        check(function, "parameters", tensor)
    dtypes = {tensor.dtype for tensor in tensors}
    if len(dtypes) > 1:
        raise TypeError(f"{function}: expected one dtype, got {', '.join(map(str, dtypes))}; convert with .float()")
    found = list(leaves(module))
    made, sources = _layers(function, found)
    width = next((step.inputs for step in steps if step.inputs is not None), None)
    if width is not None and made[0].inputs is None:
        made[0].connect(width)
    dtype = DTYPES[dtypes.pop()] if dtypes else np.float32
    net = Network(*made, dtype=dtype, rng=0)
    _fill(net, sources)
    return net


def _layers(function: str, found: list[tuple[str, Any]]) -> tuple[list[Any], list[Any]]:
    """Our layers, and the modules whose numbers they take."""
    made: list[Any] = []
    sources: list[Any] = []
    i = 0
    while i < len(found):
        name, layer = found[i]
        i += 1
        if isinstance(layer, nn.Linear):
            after: Any = None
            if type(layer) is modules.Dense:
                after = _after(function, name, layer)
            elif i < len(found) and (fused := activation_of(function, *found[i])) is not None:
                after = fused
                i += 1
            made.append(_dense(layer, after))
        elif (single := activation_of(function, name, layer)) is not None:
            if single.reads is None and made:
                continue
            made.append(layers.Activation(single))
        else:
            made.append(_layer(function, name, layer))
        sources.append(layer)
    return made, sources


def _after(function: str, name: str, layer: Any) -> Any:
    """What follows the product in a ``Dense`` module."""
    if layer.learns is not None:
        learned = {"prelu": "weight", "swish": "beta"}[layer.learns]
        return activation(layer.learns, **{learned: layer.activation.detach().double().numpy()})
    if isinstance(layer.after, modules.Maxout):
        return MaxoutEpilogue(layer.after.pieces)
    return activation_of(function, name, layer.after)


def _dense(layer: Any, after: Any) -> Any:
    pieces = getattr(after, "pieces", 1)
    return layers.Dense(layer.in_features, layer.out_features // pieces, after, bias=layer.bias is not None)


def _layer(function: str, name: str, layer: Any) -> Any:
    """Our layer for one that is neither linear nor an activation without parameters."""
    kind = type(layer)
    if kind in ROWS:
        return layers.Activation(ROWS[kind])
    if kind in DROPOUTS:
        if layer.p >= 1:
            raise ValueError(f"{function}: expected {name} ({kind.__name__}) to have p below 1, got {layer.p}")
        return (layers.AlphaDropout if kind is nn.AlphaDropout else layers.Dropout)(layer.p)
    if kind is nn.BatchNorm1d and layer.running_mean is None:
        raise ValueError(f"{function}: expected {name} (BatchNorm1d) with track_running_stats=True")
    affine = {name: layer._parameters.get(name) is not None for name in ("weight", "bias")}
    makers: dict[Any, Any] = {
        nn.PReLU: lambda: layers.PReLU(per_channel=layer.num_parameters > 1, inputs=_width(layer.weight)),
        modules.Swish: lambda: layers.Swish(per_channel=len(layer.beta) > 1, inputs=_width(layer.beta)),
        modules.Maxout: lambda: layers.Maxout(layer.pieces),
        modules.Standardize: lambda: layers.Standardize(len(layer.mean)),
        nn.LayerNorm: lambda: layers.LayerNorm(eps=layer.eps, inputs=layer.normalized_shape[0], **affine),
        nn.BatchNorm1d: lambda: layers.BatchNorm(layer.momentum, layer.eps, inputs=layer.num_features, **affine),
        modules.Residual: lambda: layers.Residual(*_layers(function, list(leaves(inside(layer), name)))[0]),
    }
    return makers[kind]()


def _width(weight: Any) -> int | None:
    return None if len(weight) == 1 else len(weight)


def _fill(net: Network, sources: list[Any]) -> None:
    """Copy the modules' numbers, which have the layers' order, and freeze what does not require gradients."""
    arrays = _in_order(net, {**net.named_parameters(), **net.named_buffers()})
    tensors = []
    for source in sources:
        held = {**dict(source.named_parameters()), **dict(source.named_buffers())}
        tensors += [held[name] for name in _in_order_of_modules(source)]
    for (name, array), tensor in zip(arrays, tensors, strict=True):
        array.T[...] = tensor.detach().numpy().reshape(array.T.shape)
        if isinstance(tensor, nn.Parameter) and not tensor.requires_grad:
            net.freeze(name)
