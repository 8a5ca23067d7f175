"""Binding of the arguments of a call to the parameters and inputs of a definition."""

from __future__ import annotations

from collections.abc import Mapping

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.bind.domain_kinds import wrong_kind
from opdsl.elaborate.bind.parameters import as_domain, convert
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.bind.types import (
    REAL_PARTS,
    channels_of,
    components,
    domain_of,
    field_of,
    in_words,
    moves,
)
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Argument, Function, describe
from opdsl.ir.combine_rules import count
from opdsl.ir.spaces import BOUNDS, VECTOR, Space
from opdsl.syntax import tree

# ---------------------------------------------------------------------- parameters


def bind_parameters(scope: NameScope, named: Mapping[str, Argument]) -> None:
    """Set domains, dims and params from the named arguments of a call.

    Raises:
        Poisoned: after a diagnostic for every argument that does not fit.
    """
    parameters = {
        x.name.text: x
        for x in scope.definition.body
        if isinstance(x, tree.Dim | tree.Param) or (isinstance(x, tree.Domain) and x.kind)
    }
    faults: list[Poisoned] = []
    for key, argument in named.items():
        if key not in parameters:
            faults.append(_unknown(scope, key, argument, list(parameters)))
            continue
        try:
            value = convert(scope.site, parameters[key], argument.value, argument.span)
        except Poisoned as poisoned:
            faults.append(poisoned)
        else:
            entry = scope.entries[key]
            entry.state, entry.value = "done", value
    if faults:
        raise faults[0]


def _unknown(scope: NameScope, key: str, argument: Argument, known: list[str]) -> Poisoned:
    title = f"`{scope.definition.name.text}`"
    owner = f"model {title}" if scope.definition.keyword == "model" else title
    # domains and dims in the types of inputs follow from the functions that are passed
    inferred = {x for statement in scope.inputs for x in _open_names(statement.type)}
    explicit = [x for x in known if x not in inferred]
    return scope.problems.fail(
        "OP0207",
        f"{owner} has no parameter `{key}`",
        Label(argument.key, "unknown parameter"),
        frames=scope.frames[:-1],
        notes=(f"{title} takes: {', '.join(explicit)}",) if explicit else (),
        helps=did_you_mean(key, known),
    )


def _open_names(type_: tree.TypeExpr) -> list[str]:
    parts = (type_.domain, type_.codomain.channels)
    return [x.text for x in parts if isinstance(x, tree.Name)]


# -------------------------------------------------------------------------- inputs


def bind_inputs(scope: NameScope, arguments: tuple[Argument, ...], call: Span) -> None:
    """Bind the inputs and, from their spaces, the domains and dims that are still open.

    Raises:
        Poisoned: after a diagnostic; they do not fit.
    """
    if len(arguments) != len(scope.inputs):
        raise _wrong_count(scope, len(arguments), call)
    for statement, argument in zip(scope.inputs, arguments, strict=True):
        function = argument.value
        if not isinstance(function, Function):
            raise scope.fail(
                "OP0209",
                f"the input `{statement.name.text}` of `{scope.definition.name.text}` "
                "is a function",
                Label(argument.span, f"this is {describe(function)}"),
            )
        _unify(scope, statement, function.space, argument.span)
        scope.entries[statement.name.text].settle(function)


def _wrong_count(scope: NameScope, passed: int, call: Span) -> Poisoned:
    names = ", ".join(x.name.text for x in scope.inputs)
    takes = f"{len(scope.inputs)} input" + ("" if len(scope.inputs) == 1 else "s")
    return scope.fail(
        "OP0206",
        f"`{scope.definition.name.text}` takes {takes}, not {passed}",
        Label(call, f"{passed} given"),
        Label(scope.definition.name.span, f"its inputs: {names or 'none'}"),
        helps=("parameters are given by name: `width = 64`",) if passed else (),
    )


def _unify(scope: NameScope, statement: tree.Input, actual: Space, span: Span) -> None:
    """Unify the declared type of an input with the space of its argument."""
    _unify_domain(scope, statement, actual, span)
    if field_of(scope, statement.type.codomain) != actual.field:
        raise scope.fail(
            "OP0312",
            f"input `{statement.name.text}` of `{scope.definition.name.text}` is "
            f"{in_words(statement.type.codomain.field.text)}",
            Label(span, f"this is `{actual}`"),
            Label(statement.type.span, "declared here"),
            helps=(REAL_PARTS if actual.complex else "make it complex: `complex(v)`",),
        )
    _unify_channels(scope, statement, actual, span)


def _open_name(scope: NameScope, expr: tree.Expr | None) -> str | None:
    """Return the name of a domain or dim without a value yet, or None for other expressions."""
    if not isinstance(expr, tree.Name):
        return None
    entry = scope.entries.get(expr.text)
    if entry is None or entry.state != "new":
        return None
    statement = entry.statement
    return (
        expr.text if isinstance(statement, tree.Domain | tree.Dim) and not statement.value else None
    )


def _unify_domain(scope: NameScope, statement: tree.Input, actual: Space, span: Span) -> None:
    expr = statement.type.domain
    name, title = _open_name(scope, expr), scope.definition.name.text
    if name is not None:
        entry = scope.entries[name]
        assert isinstance(entry.statement, tree.Domain)
        bound = entry.statement.kind.name.text if entry.statement.kind else "any"
        if bound in BOUNDS and not actual.domain.satisfies(bound):
            place = scope.frames[-1] if scope.frames else span
            raise wrong_kind(scope.site, title, actual.domain, (bound,), place, str(actual))
        entry.settle(as_domain(scope.site, entry.statement, actual.domain, span))
        return
    declared = domain_of(scope, expr) if expr else VECTOR
    if declared != actual.domain:
        lives = f"lives on `{declared}`" if expr else "is a vector"
        raise scope.fail(
            "OP0304",
            f"input `{statement.name.text}` of `{title}` {lives}",
            Label(span, f"this is `{actual}`"),
            Label(statement.type.span, "declared here"),
            helps=moves(declared, actual.domain),
        )


def _unify_channels(scope: NameScope, statement: tree.Input, actual: Space, span: Span) -> None:
    codomain, input_ = statement.type.codomain, statement.name.text
    name = _open_name(scope, codomain.channels)
    if name is not None:
        scope.entries[name].settle(actual.channels)
        return
    declared = channels_of(scope, codomain)
    if declared != actual.channels:
        raise scope.fail(
            "OP0303",
            f"input `{input_}` of `{scope.definition.name.text}` has {count(declared)}, "
            f"not {actual.channels}",
            Label(span, f"this is `{actual}`"),
            Label(statement.type.span, f"declared with {count(declared)}"),
            helps=(f"map it first: `linear(out = {declared})`",),
        )
    names = components(codomain)
    if names and actual.components and names != actual.components:
        raise scope.fail(
            "OP0303",
            f"the components of `{input_}` differ",
            Label(span, f"these are {', '.join(actual.components)}"),
            Label(statement.type.span, f"these are {', '.join(names)}"),
        )
