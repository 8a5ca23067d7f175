"""The values of expressions while a program is elaborated."""

from __future__ import annotations

from dataclasses import field

from opdsl.diagnostics import Span
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Domain, Space
from opdsl.records import record, value


@value
class Function:
    """A function: the path of the node (or the name of the input) that makes it, and its space."""

    ref: str
    space: Space


@value
class Word:
    """A bare word such as `gelu`; the parameter that takes it decides what it means."""

    text: str
    span: Span | None = field(default=None, compare=False)


@value
class Interval:
    """An interval `lo..hi` of real numbers."""

    lo: float
    hi: float


@value
class WordPair:
    """Two words `a..b`, for the lower and the upper end of an axis."""

    lower: str
    upper: str


Value = (
    Function
    | Word
    | WordPair
    | Interval
    | Domain
    | Poly
    | bool
    | int
    | float
    | str
    | tuple["Value", ...]
)


@record
class Argument:
    """A value that a call passes.

    Attributes:
        span: the span of the value.
        key: the span of the parameter's name; that of the value if it is passed without a name.
    """

    value: Value
    span: Span
    key: Span


def show(value: Value) -> str:
    """Format the value as a program would write it."""
    match value:
        case bool():
            return "true" if value else "false"
        case Function():
            return str(value.space)
        case Word():
            return value.text
        case WordPair():
            return f"{value.lower}..{value.upper}"
        case Interval():
            return f"{value.lo:g}..{value.hi:g}"
        case str():
            return f'"{value}"'
        case tuple():
            return "(" + ", ".join(show(x) for x in value) + ")"
        case _:
            return str(value)


def describe(value: Value) -> str:
    """Name the sort of the value and the value itself, for diagnostics."""
    match value:
        case Function():
            return f"a function `{value.space}`"
        case Word():
            return f"the word `{value.text}`"
        case Domain():
            return f"the domain `{value}`"
        case tuple():
            return f"the tuple `{show(value)}`"
        case _:
            return f"`{show(value)}`"


def plain(value: Value) -> object:
    """Convert to Python's own types: words become their text; tuples go element by element."""
    if isinstance(value, Word | WordPair):
        return show(value)
    return tuple(plain(x) for x in value) if isinstance(value, tuple) else value
