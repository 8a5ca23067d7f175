"""Checks of blocks at their definition: once for all sizes, whether they are called or not.

A dim stands for any number, a domain variable for any domain of its kind; a parameter without a
default is represented by a value of its type. Whatever then depends on the numbers is checked at
each call.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Span
from opdsl.elaborate.bind.modules import Module
from opdsl.elaborate.bind.outputs import outputs
from opdsl.elaborate.bind.port_ends import refuse_in_block
from opdsl.elaborate.bind.scope import NameScope, Shared
from opdsl.elaborate.bind.types import declared
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.evaluate.values import Function, Value, Word
from opdsl.elaborate.instantiate.builder import GraphBuilder
from opdsl.elaborate.instantiate.graph_place import Bindings
from opdsl.ir.axes import Axis
from opdsl.ir.dims import Poly, Undecided
from opdsl.ir.spaces import Domain, DomainKind
from opdsl.syntax import tree

AXES = (2, 1, 3, 4)  # a block for grids is accepted if it works in one of these dimensions
MODES = 840  # divisible by all numbers up to 8, so that halves and thirds of it are whole
REPRESENTATIVES: dict[str, Value] = {
    "activation": Word("gelu"),
    "bases": Word("auto"),
    "bool": True,
    "float": 1.0,
    "modes": MODES,
    "str": "text",
}
KINDS: dict[str, DomainKind] = {
    "grid": "grid",
    "interval": "interval",
    "points": "points",
    "graph": "graph",
    "mesh": "mesh",
    "sphere": "sphere",
}


def check_definitions(
    module: Module, known: list[Diagnostic], budget: Budget
) -> Iterator[Diagnostic]:
    """Find the errors that the blocks of a module have whatever they are called with.

    Args:
        module: a file, its imports loaded.
        known: diagnostics so far; a block in which one of them lies is not checked.
        budget: what the evaluation of the whole program may still cost.
    """
    for owner, definition in module.definitions.values():
        own = owner is module and definition.keyword == "block"
        if own and not _is_blamed(definition, known):
            yield from _check(module, definition, budget)


def _is_blamed(definition: tree.Definition, known: list[Diagnostic]) -> bool:
    return any(
        _inside(label.span, definition.span)
        for x in known
        if x.severity == "error"
        for label in x.labels
    )


def _inside(span: Span, outer: Span) -> bool:
    return span.source == outer.source and outer.start <= span.start <= outer.end


def _check(module: Module, definition: tree.Definition, budget: Budget) -> list[Diagnostic]:
    first: list[Diagnostic] = []
    for axes in AXES:
        diagnostics = _check_with(module, definition, axes, budget)
        if any(x.code == "OP0212" for x in diagnostics):
            return diagnostics  # the budget reports once, so another pass would look clean
        if not diagnostics:
            return []
        first = first or diagnostics
    return first


def _check_with(
    module: Module, definition: tree.Definition, axes: int, budget: Budget
) -> list[Diagnostic]:
    """Return the errors of a definition when every grid has `axes` axes."""
    problems = Problems()
    shared = Shared(problems, budget, Bindings(GraphBuilder()).compute)
    scope = NameScope(shared, module, definition)
    refuse_in_block(scope)
    try:
        _bind_representatives(scope, axes)
        outputs(scope)
    except (Poisoned, Undecided):
        pass
    return problems.diagnostics


def _bind_representatives(scope: NameScope, axes: int) -> None:
    """Give a value to everything to which a call would give one."""
    for statement in scope.statements(tree.Domain):
        if statement.kind and not statement.value:
            scope.entries[statement.name.text].settle(_domain(statement, axes))
            scope.shared.places[statement.name.text] = statement.span
    equal = dict(_equated(scope))
    for dim in scope.statements(tree.Dim):
        if dim.name.text not in equal:
            scope.entries[dim.name.text].settle(Poly.atom(dim.name.text))
    for param in scope.statements(tree.Param):
        if param.value is None:
            scope.entries[param.name.text].settle(_representative(param))
    for name, expr in equal.items():
        scope.entries[name].settle(scope.number(expr))
    for input_ in scope.inputs:
        entry = scope.entries[input_.name.text]
        try:
            entry.settle(Function(input_.name.text, declared(scope, input_.type)))
        except (Poisoned, Undecided):
            entry.state = "bad"


def _domain(statement: tree.Domain, axes: int) -> Domain:
    """Build a domain of the declared kind."""
    word = statement.kind.name.text if statement.kind else "any"
    kind: DomainKind = KINDS.get(word, "any")
    scattered = kind in {"points", "graph", "mesh", "any"}
    names = ("points",) if scattered else ("x", "y", "z", "t")[:axes]
    if kind == "sphere":
        names = ("lat", "lon")
    return Domain(
        kind=kind,
        ambient=axes if kind in {"points", "graph", "mesh"} else None,
        sampling="gauss_legendre" if kind == "sphere" else None,
        name=statement.name.text,
        axes=tuple(Axis(name=x) for x in (names[:1] if kind == "interval" else names)),
    )


def _representative(param: tree.Param) -> Value:
    first = param.type[0].name
    if first.text == "int":
        return Poly.atom(param.name.text)
    return REPRESENTATIVES.get(first.text, Word(first.text, first.span))


def _equated(scope: NameScope) -> Iterator[tuple[str, tree.Expr]]:
    """Yield the dims that a requirement equates with an expression: `require out == c`."""
    dims = {x.name.text for x in scope.statements(tree.Dim)}
    for statement in scope.statements(tree.Require):
        match statement.test:
            case tree.Binary(sign="==", left=tree.Name(text=name), right=right) if name in dims:
                yield name, right
