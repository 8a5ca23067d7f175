"""What expressions of a program stand for while it is elaborated."""

from __future__ import annotations

from dataclasses import dataclass, field

from opdsl.diagnostics import Span
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Domain, Space


@dataclass(frozen=True, slots=True)
class Fn:
    """A function: the path of the node (or the name of the input) that makes it, and its space."""

    ref: str
    space: Space


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word such as `gelu`, to be understood by the parameter that takes it."""

    text: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Interval:
    """`lo..hi`."""

    lo: float
    hi: float


Value = Fn | Word | Interval | Domain | Poly | bool | int | float | str | tuple["Value", ...]


def show(value: Value) -> str:
    """The value as a program would write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Fn():
            return str(value.space)
        case Word():
            return value.text
        case Interval():
            return f"{value.lo:g}..{value.hi:g}"
        case str():
            return f'"{value}"'
        case tuple():
            return "(" + ", ".join(show(x) for x in value) + ")"
        case _:
            return str(value)


def kind(value: Value) -> str:
    """What sort of value it is, in words."""
    match value:
        case Fn():
            return f"a function `{value.space}`"
        case Word():
            return f"the word `{value.text}`"
        case Domain():
            return f"the domain `{value}`"
        case tuple():
            return f"the tuple `{show(value)}`"
        case _:
            return f"`{show(value)}`"
