"""The layers of the library by name: what a file can hold, and whose results need no look."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from .base import Layer

#: The layers that a file can name; others come from ``custom``.
LAYERS: dict[str, type[Layer]] = {}

AnyLayer = TypeVar("AnyLayer", bound=type[Layer])


def listed(cls: AnyLayer) -> AnyLayer:
    """Enter a layer of the library in the list, by the name of its class."""
    LAYERS[cls.__name__] = cls
    return cls


def trusted(layer: Layer) -> bool:
    """Whether the layer is one of the library's own: it returns plain arrays that nobody else holds.

    What others return (subclasses of the library's too) is looked at each time, and copied where it is a view of what
    they were given.
    """
    return LAYERS.get(type(layer).__name__) is type(layer)


def layer_from(description: Mapping[str, Any], custom: Mapping[str, Any] | None = None) -> Layer:
    """The layer that ``describe`` described; custom maps names to one's own Layer classes and activations."""
    name = description.get("layer")
    cls = (custom or {}).get(str(name)) or LAYERS.get(str(name))
    if not isinstance(cls, type) or not issubclass(cls, Layer):
        raise ValueError(
            f"unknown layer {name!r}; known: {', '.join(LAYERS)}; pass one's own class as custom={{{name!r}: class}}"
        )
    return cls.from_description(description, custom)
