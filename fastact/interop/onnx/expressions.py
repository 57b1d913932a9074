"""Expressions over ONNX operators: one description from which nodes are written and by which they are recognised.

>>> str(X * op.Sigmoid(X * hole("beta")))
'Mul(x, Sigmoid(Mul(x, beta)))'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: Operators whose two inputs may stand in either order.
COMMUTATIVE = frozenset(("Add", "Mul", "Max", "Min", "And", "Or", "Equal"))

#: How far a number in a file may be from ours: exporters write 0.7978846 and 1.4142.
TOLERANCE = 1e-6


class Expression:
    """A tensor; arithmetic with it and with numbers makes further ones."""

    def __add__(self, other: Expression | float) -> Expression:
        return op.Add(self, other)

    def __radd__(self, other: float) -> Expression:
        return op.Add(other, self)

    def __sub__(self, other: Expression | float) -> Expression:
        return op.Sub(self, other)

    def __rsub__(self, other: float) -> Expression:
        return op.Sub(other, self)

    def __mul__(self, other: Expression | float) -> Expression:
        return op.Mul(self, other)

    def __rmul__(self, other: float) -> Expression:
        return op.Mul(other, self)

    def __truediv__(self, other: Expression | float) -> Expression:
        return op.Div(self, other)

    def __rtruediv__(self, other: float) -> Expression:
        return op.Div(other, self)

    def __neg__(self) -> Expression:
        return op.Neg(self)


@dataclass(frozen=True, eq=False)
class Node(Expression):
    """An operator applied to its inputs. Where ONNX has come to take ``axes`` as an input, they are an attribute."""

    operator: str
    inputs: tuple[Expression, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return (
            f"{self.operator}({', '.join([*map(str, self.inputs), *(f'{k}={v}' for k, v in self.attributes.items())])})"
        )


@dataclass(frozen=True, eq=False)
class Number(Expression):
    """A constant of one element."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True, eq=False)
class Hole(Expression):
    """What an expression leaves open: its input ``X``, or a constant: one number, or ``many`` in one dimension."""

    name: str
    many: bool = False

    def __str__(self) -> str:
        return self.name


X = Hole("x")


def hole(name: str) -> Hole:
    """An open number, as an input or an attribute; "-name" is name's negative."""
    return Hole(name)


def array_hole(name: str) -> Hole:
    """An open constant with a dimension: a number for all columns, or one each."""
    return Hole(name, many=True)


class _Operators:
    """``op.Relu(x)``: the node."""

    def __getattr__(self, operator: str) -> Callable[..., Expression]:
        def make(*inputs: Expression | float, **attributes: Any) -> Expression:
            return Node(operator, tuple(Number(i) if isinstance(i, (int, float)) else i for i in inputs), attributes)

        return make


op = _Operators()


def size(expression: Expression) -> int:
    """The nodes in an expression: larger ones are looked for first."""
    return 1 + sum(map(size, expression.inputs)) if isinstance(expression, Node) else 0


def holes(expression: Expression) -> int:
    """How much an expression leaves open; an array that must have a dimension is less than any one number."""
    if isinstance(expression, Node):
        inside = (*expression.inputs, *expression.attributes.values())
        return sum(holes(one) for one in inside if isinstance(one, Expression))
    return 0 if expression is X or not isinstance(expression, Hole) else 2 - expression.many


def attribute_holes(expression: Expression) -> Iterator[str]:
    """The open numbers that stand in attributes, which ONNX stores in single precision."""
    if isinstance(expression, Node):
        for value in expression.attributes.values():
            if isinstance(value, (Hole, float)):
                yield value.name if isinstance(value, Hole) else str(value)
        for inner in expression.inputs:
            yield from attribute_holes(inner)


def close(a: Any, b: float) -> bool:
    """Whether a number of a file is the one that is looked for."""
    return isinstance(a, (int, float)) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-12)
