"""The abstract syntax tree: what the grammar says, nothing more, with a span on every node.

One frozen class for each rule of `grammar/op.lark`. Names stay as written; nothing is resolved
here.
"""

from __future__ import annotations

from opdsl.diagnostics import Source, Span
from opdsl.records import record


@record
class Ident:
    """A name where it is declared, or the key of an argument."""

    text: str
    span: Span


@record
class Doc:
    """A doc string; `text` is without its quotes."""

    text: str
    span: Span


# ------------------------------------------------------------------ expressions


@record
class Name:
    """A name that is read: `width`."""

    text: str
    span: Span


@record
class Literal:
    """A literal: `64`, `0.5`, `true`, `"text"`."""

    value: int | float | bool | str
    span: Span


@record
class Hole:
    """The hole `_`, which stands for the function that comes through the pipe."""

    span: Span


@record
class Sequence:
    """A tuple or list: `(a, b)` (bracket `(`) or `[a, b]` (bracket `[`)."""

    bracket: str
    items: tuple[Expr, ...]
    span: Span


@record
class Arg:
    """An argument: `modes = 16` (sign `=`), `x: 0..1` (sign `:`), or `v` (no name, no sign)."""

    name: Ident | None
    sign: str
    value: Expr
    span: Span


@record
class Call:
    """A call `path(args)`; as a stage of a chain it gets its first input through the pipe."""

    path: tuple[Ident, ...]
    args: tuple[Arg, ...]
    span: Span

    @property
    def name(self) -> str:
        """The path of the called block, as it is written."""
        return ".".join(x.text for x in self.path)

    @property
    def head(self) -> Span:
        """The span of the path of the called block."""
        return self.path[0].span.cover(self.path[-1].span)


@record
class Member:
    """Access to a constant of a module: `value.name`."""

    value: Expr
    name: Ident
    span: Span


@record
class Index:
    """An element or channel: `value[index]`."""

    value: Expr
    index: Expr
    span: Span


@record
class Unary:
    """A unary operation: `-x`, `+x`, `not x`."""

    sign: str
    value: Expr
    span: Span
    sign_span: Span


@record
class Binary:
    """A binary operation `a + b`; the signs are `+ - * / % == != <= >= < > and or ..`."""

    sign: str
    left: Expr
    right: Expr
    span: Span
    sign_span: Span


@record
class If:
    """A conditional value: `if test then yes else no`."""

    test: Expr
    yes: Expr
    no: Expr
    span: Span


@record
class Repeat:
    """A repeat: `repeat count as index shared { chain }`."""

    count: Expr
    index: Ident | None
    shared: bool
    body: Chain
    span: Span
    head: Span


@record
class Residual:
    """A residual `residual { chain }`, which computes v + chain(v)."""

    body: Chain
    span: Span
    head: Span


@record
class Chain:
    """The body of a repeat or a residual: `stage |> stage`."""

    stages: tuple[Stage, ...]
    span: Span


@record
class Pipe:
    """A chain with its input: `head |> stage |> stage`; `head` is never itself a pipe."""

    head: Expr
    stages: tuple[Stage, ...]
    span: Span


Stage = Call | Repeat | Residual
Expr = Name | Literal | Hole | Sequence | Call | Member | Index | Unary | Binary | If | Pipe


# ------------------------------------------------------------------------ types


@record
class Codomain:
    """The right side of a type: `R^64`, `R^(2 * c)` (`channels`), `R^{ux, uy}` (`names`), `R`."""

    field: Ident
    channels: Expr | None
    names: tuple[Ident, ...] | None
    span: Span


@record
class TypeExpr:
    """A type `D -> R^c`; a vector `R^c` has no domain."""

    domain: Expr | None
    codomain: Codomain
    span: Span


@record
class ParamType:
    """One alternative of a parameter's type: `int`, `tucker`, `list[int]`."""

    name: Ident
    args: tuple[tuple[ParamType, ...], ...]
    span: Span


# ------------------------------------------------------------------- statements


@record
class DomainKind:
    """The bound of a domain variable: `grid`, or `grid(x: 0..1)`."""

    name: Ident
    args: tuple[Arg, ...]
    span: Span


@record
class Domain:
    """A domain: `domain D = value` (no kind), `domain D : kind`, `domain D : kind = value`."""

    name: Ident
    kind: DomainKind | None
    value: Expr | None
    doc: Doc | None
    span: Span


@record
class Dim:
    """A dim: `dim c`, `dim out = c`."""

    name: Ident
    value: Expr | None
    doc: Doc | None
    span: Span


@record
class Param:
    """A parameter `param width : int = 64`; `type` holds the alternatives."""

    name: Ident
    type: tuple[ParamType, ...]
    value: Expr | None
    doc: Doc | None
    span: Span


@record
class Input:
    """An input: `input a : D -> R^1`, or `input a : D -> R^1, ends = odd`."""

    name: Ident
    type: TypeExpr
    ends: Arg | None
    doc: Doc | None
    span: Span


@record
class Output:
    """An output: `output u : D -> R^1`, or `output u : D -> R^1, ends = boundary`."""

    name: Ident
    type: TypeExpr
    ends: Arg | None
    doc: Doc | None
    span: Span


@record
class Require:
    """A requirement: `require test "text"`."""

    test: Expr
    doc: Doc | None
    span: Span


@record
class Feedback:
    """Feedback over time: `feedback out -> in`."""

    output: Ident
    input: Ident
    span: Span


@record
class Bind:
    """A binding: `u = value`, `u : D -> R^c = value`, `u, v = value`."""

    names: tuple[Ident, ...]
    type: TypeExpr | None
    value: Expr
    span: Span


Statement = Domain | Dim | Param | Input | Output | Require | Feedback | Bind


# ------------------------------------------------------------------------ items


@record
class Edition:
    """The edition of the language: `edition 2026`."""

    year: int
    span: Span


@record
class Import:
    """An import: `from source import names`, or `import source as alias` (no names).

    `path` holds `("std", "fourier")`; for a file, `file` holds the text of the string.
    """

    path: tuple[Ident, ...]
    file: str | None
    names: tuple[Ident, ...]
    alias: Ident | None
    source_span: Span
    span: Span


@record
class Const:
    """A constant: `const LMAX = 63`."""

    name: Ident
    value: Expr
    doc: Doc | None
    span: Span


@record
class EquationArg:
    """An argument of an equation, with its value where a call may leave it out: `f = 1`."""

    name: Ident
    value: Expr | None
    span: Span


@record
class Equation:
    """A function of losses and metrics: `equation darcy(a, u, f = 1) = -div(a * grad(u)) - f`."""

    name: Ident
    args: tuple[EquationArg, ...]
    value: Expr
    doc: Doc | None
    span: Span


@record
class Definition:
    """A definition: `block Name { ... }` or `model Name { ... }`."""

    keyword: str
    name: Ident
    doc: Doc | None
    body: tuple[Statement, ...]
    span: Span


@record
class Setting:
    """A setting of a train block: `key = value`."""

    name: Ident
    value: Expr
    span: Span


@record
class SettingBlock:
    """A group of settings of a train block: `name kind { settings }`."""

    name: Ident
    kind: Ident | None
    body: tuple[Setting | SettingBlock, ...]
    span: Span


@record
class Train:
    """A train block: `train Model { settings }`."""

    name: Ident
    doc: Doc | None
    body: tuple[Setting | SettingBlock, ...]
    span: Span


Item = Import | Const | Equation | Definition | Train


@record
class File:
    """A whole program text; `lost` holds names declared in statements that could not be read."""

    source: Source
    edition: Edition | None
    items: tuple[Item, ...]
    lost: tuple[str, ...] = ()
