"""Blocks at their definition: each is checked once for all sizes, called or not.

What comes in: a module. What goes out: the faults that its blocks have whatever they are called
with. A dim stands for any number, a domain variable for any domain of its kind; a parameter without
a default is stood in for by a value of its type. What then depends on the numbers is left to the
calls.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.diagnostics import Diagnostic, Span
from opdsl.elaborate.budget import Budget
from opdsl.elaborate.builder import Builder
from opdsl.elaborate.instance import Instance, Shared
from opdsl.elaborate.modules import Module
from opdsl.elaborate.problems import Poisoned, Problems
from opdsl.elaborate.values import Fn, Value, Word
from opdsl.ir.dims import Poly, Undecided
from opdsl.ir.spaces import Axis, Domain, Kind
from opdsl.syntax import tree

AXES = (2, 1, 3, 4)  # a block for grids is right if it is for grids of some dimension
MODES = 840  # divisible by all numbers to 8, so that halves and thirds of it are whole
STAND_INS: dict[str, Value] = {
    "activation": Word("gelu"),
    "bool": True,
    "float": 1.0,
    "modes": MODES,
    "str": "text",
}


def faults(module: Module, known: list[Diagnostic], budget: Budget) -> Iterator[Diagnostic]:
    """The faults of the blocks that a module defines.

    Args:
        module: a file, its imports loaded.
        known: faults that were found already; a block in which one of them lies is not checked.
        budget: what the evaluation of the whole program may still cost.
    """
    for owner, definition in module.definitions.values():
        own = owner is module and definition.keyword == "block"
        if own and not _blamed(definition, known):
            yield from _faults(module, definition, budget)


def _blamed(definition: tree.Definition, known: list[Diagnostic]) -> bool:
    return any(
        _inside(label.span, definition.span)
        for x in known
        if x.severity == "error"
        for label in x.labels
    )


def _inside(span: Span, outer: Span) -> bool:
    return span.source == outer.source and outer.start <= span.start <= outer.end


def _faults(module: Module, definition: tree.Definition, budget: Budget) -> list[Diagnostic]:
    first: list[Diagnostic] = []
    for axes in AXES:
        found = _with(module, definition, axes, budget)
        if any(x.code == "OP0212" for x in found):
            return found  # the budget reports once, so another pass would find nothing
        if not found:
            return []
        first = first or found
    return first


def _with(
    module: Module, definition: tree.Definition, axes: int, budget: Budget
) -> list[Diagnostic]:
    """The faults where every grid has so many axes."""
    problems = Problems()
    inst = Instance(Shared(problems, Builder(), budget, symbolic=True), module, definition)
    try:
        _open(inst, axes)
        inst.run()
    except (Poisoned, Undecided):
        pass
    return problems.found


def _open(inst: Instance, axes: int) -> None:
    """Give a value to everything that a call would give."""
    for statement in inst.statements(tree.Domain):
        if statement.kind and not statement.value:
            inst.entries[statement.name.text].settle(_domain(statement, axes))
            inst.shared.places[statement.name.text] = statement.span
    equal = dict(_equated(inst))
    for dim in inst.statements(tree.Dim):
        if dim.name.text not in equal:
            inst.entries[dim.name.text].settle(Poly.atom(dim.name.text))
    for param in inst.statements(tree.Param):
        if param.value is None:
            inst.entries[param.name.text].settle(_stand_in(param))
    for name, expr in equal.items():
        inst.entries[name].settle(inst.number(expr))
    _inputs(inst)


def _inputs(inst: Instance) -> None:
    from opdsl.elaborate import spaces

    for statement in inst.inputs:
        entry = inst.entries[statement.name.text]
        try:
            entry.settle(Fn(statement.name.text, spaces.declared(inst, statement.type)))
        except (Poisoned, Undecided):
            entry.state = "bad"


def _domain(statement: tree.Domain, axes: int) -> Domain:
    """A domain of the kind that the statement asks for."""
    word = statement.kind.name.text if statement.kind else "any"
    kind: Kind = KIND.get(word, "any")
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


KIND: dict[str, Kind] = {
    "grid": "grid",
    "interval": "interval",
    "points": "points",
    "graph": "graph",
    "mesh": "mesh",
    "sphere": "sphere",
}


def _stand_in(param: tree.Param) -> Value:
    first = param.type[0].name
    if first.text == "int":
        return Poly.atom(param.name.text)
    return STAND_INS.get(first.text, Word(first.text, first.span))


def _equated(inst: Instance) -> Iterator[tuple[str, tree.Expr]]:
    """Dims that a requirement says are equal to something: `require out == c`."""
    dims = {x.name.text for x in inst.statements(tree.Dim)}
    for statement in inst.statements(tree.Require):
        match statement.test:
            case tree.Binary(sign="==", left=tree.Name(text=name), right=right) if name in dims:
                yield name, right
