"""Declared types: the space that `D -> R^c` denotes, with every name in it evaluated."""

from __future__ import annotations

from typing import Literal

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.bind.domains import CONSTRUCTORS
from opdsl.elaborate.bind.extensions import spectrum
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.arithmetic import is_count
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Value, describe
from opdsl.ir.dims import Dim
from opdsl.ir.spaces import VECTOR, Domain, Space
from opdsl.syntax import tree

REAL_PARTS = "take a real part of it: `real(...)`, `imag(...)` or `modulus(...)`"


def declared(scope: NameScope, type_: tree.TypeExpr) -> Space:
    """Return the space that a type denotes.

    Raises:
        Poisoned: after a diagnostic; a name in the type is unknown.
    """
    field = field_of(scope, type_.codomain)
    domain = domain_of(scope, type_.domain) if type_.domain else VECTOR
    names = components(type_.codomain)
    channels = channels_of(scope, type_.codomain)
    return Space(domain=domain, channels=channels, field=field, components=names)


def components(codomain: tree.Codomain) -> tuple[str, ...] | None:
    """Return the names of the components in `R^{ux, uy}`, or None."""
    return tuple(x.text for x in codomain.names) if codomain.names else None


def field_of(scope: NameScope, codomain: tree.Codomain) -> Literal["R", "C"]:
    """Return the field of the values, real or complex.

    Raises:
        Poisoned: after OP0201; it is neither.
    """
    if codomain.field.text == "R":
        return "R"
    if codomain.field.text == "C":
        return "C"
    raise scope.fail(
        "OP0201",
        f"unknown set of numbers `{codomain.field.text}`",
        Label(codomain.field.span, "write `R`, the real numbers, or `C`, the complex ones"),
    )


def in_words(field: str) -> str:
    """Write a field as `complex` or `real`."""
    return "complex" if field == "C" else "real"


def domain_of(scope: NameScope, expr: tree.Expr) -> Domain:
    """Return the domain to the left of `->`.

    Raises:
        Poisoned: after a diagnostic; the expression is no domain.
    """
    if isinstance(expr, tree.Call) and expr.name in CONSTRUCTORS and expr.name != "spectrum":
        raise scope.fail(
            "OP0209",
            "a domain is declared by a statement of its own",
            Label(expr.span, "not here"),
            helps=(f"write `domain D = {expr.name}(...)`",),
        )
    if isinstance(expr, tree.Call) and expr.name == "spectrum":
        return spectrum(scope.domains, expr)
    value = _declared_value(scope, expr)
    if isinstance(value, Domain):
        return value
    raise scope.fail(
        "OP0209",
        "the left side of `->` is a domain",
        Label(expr.span, f"this is {describe(value)}"),
    )


def _declared_value(scope: NameScope, expr: tree.Expr) -> Value:
    """Evaluate an expression whose name must be declared."""
    if isinstance(expr, tree.Name) and scope.lookup(expr.text) is None:
        if scope.lost(expr.text):
            raise Poisoned
        domains = [x.name.text for x in scope.statements(tree.Domain)]
        raise scope.fail(
            "OP0201",
            f"unknown name `{expr.text}`",
            Label(expr.span, "not found"),
            helps=did_you_mean(expr.text, domains)
            or (f"declare it: `domain {expr.text} = grid(x: 0..1, y: 0..1)`",),
        )
    return scope.number(expr)


def channels_of(scope: NameScope, codomain: tree.Codomain) -> Dim:
    """Return the number of channels.

    Raises:
        Poisoned: after a diagnostic.
    """
    if codomain.names is not None:
        return _number_of_names(scope, codomain.names)
    if codomain.channels is None:
        return 1
    value = scope.number(codomain.channels)
    if is_count(value) and value >= 1:
        return value
    raise scope.fail(
        "OP0208",
        "a number of channels is a whole number above zero",
        Label(codomain.channels.span, f"this is {describe(value)}"),
    )


def _number_of_names(scope: NameScope, names: tuple[tree.Ident, ...]) -> int:
    first: dict[str, Span] = {}
    for name in names:
        if name.text in first:
            raise scope.problems.fail(
                "OP0203",
                f"two components are called `{name.text}`",
                Label(name.span, "the second one"),
                Label(first[name.text], "the first one"),
            )
        first[name.text] = name.span
    return len(names)


def moves(declared: Domain, actual: Domain) -> tuple[str, ...]:
    """Suggest how to move a function from one domain to another of the same declaration."""
    if declared.name != actual.name:
        return ()
    if declared.kind == "vector" or actual.kind == "vector":
        return ()
    if actual.extension_over(declared):
        return (f"leave the extension: `crop(to = {declared})`",)
    return (f"resample it: `resample(to = {declared})`",)
