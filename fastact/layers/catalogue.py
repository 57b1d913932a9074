"""The layers of the library by name: what a file can hold, and whose results are not checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .. import wording
from .base import Layer

#: The layers that a file can name; others come from ``custom``.
LAYERS: dict[str, type[Layer]] = {}

AnyLayer = TypeVar("AnyLayer", bound=type[Layer])


def listed(cls: AnyLayer) -> AnyLayer:
    """Enter a layer of the library in the list, by the name of its class.

    Results of other layers, subclasses of the library's too, are looked at each time: see ``chain``.
    """
    LAYERS[cls.__name__] = cls
    wording.explain_constructor(cls)
    cls.trusted = True
    return cls


def layer_from(description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
    """The layer that ``describe`` described; custom maps names to a user's Layer classes and activations."""
    name = description.get("layer")
    cls = (custom or {}).get(str(name)) or LAYERS.get(str(name))
    if not isinstance(cls, type) or not issubclass(cls, Layer):
        raise ValueError(
            f"unknown layer {name!r}; known: {', '.join(LAYERS)}; pass a custom class as custom={{{name!r}: class}}"
        )
    return cls.from_description(description, custom)
