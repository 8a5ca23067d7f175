"""Evaluation of the outputs of a definition, and comparison with their declared spaces."""

from __future__ import annotations

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.bind.requirements import check_requirements
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.bind.types import REAL_PARTS, declared, in_words, moves
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Function, Value, describe
from opdsl.ir.combine_rules import count
from opdsl.ir.dims import Dim
from opdsl.ir.spaces import Space
from opdsl.syntax import tree


def outputs(scope: NameScope) -> tuple[Function, ...]:
    """Evaluate every statement and return the functions of the outputs.

    Raises:
        Poisoned: after a diagnostic; an output does not exist, or a requirement is not met.
    """
    check_requirements(scope)
    for entry in list(scope.entries.values()):
        if entry.state == "new":
            scope.evaluate_entry(entry)
    return tuple(_output(scope, x) for x in scope.statements(tree.Output))


def _output(scope: NameScope, statement: tree.Output) -> Function:
    name = statement.name.text
    if name not in scope.entries:
        raise _never_computed(scope, statement)
    value = scope.lookup(name)
    if not isinstance(value, Function):
        raise scope.fail(
            "OP0209",
            f"output `{name}` is not a function",
            Label(scope.entries[name].name.span, f"this is {describe(value)}" if value else ""),
        )
    return Function(value.ref, _check_output(scope, statement, value.space))


def _never_computed(scope: NameScope, statement: tree.Output) -> Poisoned:
    name = statement.name.text
    if scope.lost(name):
        return Poisoned()
    bound = [y.text for x in scope.statements(tree.Bind) for y in x.names]
    return scope.fail(
        "OP0204",
        f"output `{name}` is never computed",
        Label(statement.name.span, "declared here, but no node has this name"),
        helps=did_you_mean(name, bound, what="the node ") or (f"bind it: `{name} = ...`",),
    )


def _check_output(scope: NameScope, statement: tree.Output, actual: Space) -> Space:
    """Return the space of an output, after checking that its function has the declared one."""
    space = declared(scope, statement.type)
    bound = scope.binding(statement.name.text)
    place = bound.value.span if bound else statement.name.span
    name = f"output `{statement.name.text}`"
    labels = (
        Label(statement.type.span, f"declared `{_with_names(space)}`"),
        Label(place, f"this is `{actual}`"),
    )
    if actual.domain != space.domain:
        raise scope.fail(
            "OP0304",
            f"{name} {_lives(space)} but receives {_what(actual)}",
            *labels,
            helps=moves(space.domain, actual.domain),
        )
    if actual.field != space.field:
        raise scope.fail(
            "OP0312",
            f"{name} is {in_words(space.field)} but receives {in_words(actual.field)} values",
            *labels,
            helps=(REAL_PARTS if actual.complex else "make it complex: `complex(v)`",),
        )
    if actual.channels != space.channels:
        names = space.components
        raise scope.fail(
            "OP0303",
            f"{name} has {count(space.channels)} but receives {actual.channels}",
            *labels,
            notes=(f"the {len(names)} components are {', '.join(names)}",) if names else (),
            helps=_project(bound, space.channels),
        )
    _check_components(scope, statement, space, actual, place)
    return space if space.components else actual


def check_annotation(scope: NameScope, statement: tree.Bind, value: Value) -> None:
    """Compare the type in `w : D -> R^c = ...` with the value.

    Raises:
        Poisoned: after OP0305.
    """
    if statement.type is None:
        return
    space = declared(scope, statement.type)
    actual = value.space if isinstance(value, Function) else None
    if actual is None or not _equal(actual, space):
        raise scope.fail(
            "OP0305",
            f"`{statement.names[0].text}` is annotated as `{space}` but is "
            + (f"`{actual}`" if actual else describe(value)),
            Label(statement.type.span, f"declared `{space}`"),
            Label(statement.value.span, f"this is {f'`{actual}`' if actual else describe(value)}"),
            helps=(f"write `: {actual}`, or change the value",) if actual else (),
        )


def _equal(a: Space, b: Space) -> bool:
    return (a.domain, a.channels, a.field) == (b.domain, b.channels, b.field)


def _lives(space: Space) -> str:
    return "is a vector" if space.domain.kind == "vector" else f"lives on `{space.domain}`"


def _what(space: Space) -> str:
    return "a vector" if space.domain.kind == "vector" else f"a function on `{space.domain}`"


def _with_names(space: Space) -> str:
    """Write a space with the names of its components."""
    if not space.components:
        return str(space)
    arrow = "" if space.domain.kind == "vector" else f"{space.domain} -> "
    return f"{arrow}{space.field}^{{{', '.join(space.components)}}}"


def _project(bound: tree.Bind | None, channels: Dim) -> tuple[str, ...]:
    """Suggest the last stage with the right width if it has `out`, else `linear`."""
    value = bound.value if bound else None
    last = value.stages[-1] if isinstance(value, tree.Pipe) else value
    if isinstance(last, tree.Call) and any(x.name and x.name.text == "out" for x in last.args):
        return (f"project to {count(channels)}: `{last.name}(out = {channels})`",)
    return (f"project to {count(channels)}: `linear(out = {channels})`",)


def _check_components(
    scope: NameScope, statement: tree.Output, space: Space, actual: Space, here: Span
) -> None:
    if space.components and actual.components and space.components != actual.components:
        raise scope.fail(
            "OP0303",
            f"the components of output `{statement.name.text}` differ from what it receives",
            Label(statement.type.span, f"declared {', '.join(space.components)}"),
            Label(here, f"these are {', '.join(actual.components)}"),
            notes=("components match by name and order",),
        )
