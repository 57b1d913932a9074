"""What objects say of themselves when they are printed."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator

__all__ = ["Text", "shown"]


class Text(str):
    """Text of several lines that a prompt and a notebook show as it is, and not as one line with backslashes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(value: object, without: Collection[str] = ()) -> Iterator[str]:
    """The arguments of the object's constructor, from its attributes of the same names.

    Options at a default of None, False, True or () are left out, and so is what has no such attribute.
    """
    for name, parameter in inspect.signature(type(value)).parameters.items():
        given = getattr(value, name, parameter.empty)
        if name in without or given is parameter.empty:
            continue
        if not (parameter.default in (None, ()) or type(parameter.default) is bool) or given != parameter.default:
            yield f"{name}={given!r}"
