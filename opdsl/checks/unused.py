"""OP0401 to OP0404: nodes, inputs, parameters, domains and dims that reach no output.

This reads the tree, not the graph, so that each definition is judged once, by its own names.
"""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.checks.warned import on_purpose
from opdsl.diagnostics import Diagnostic, Help, Label, Span
from opdsl.syntax import tree
from opdsl.syntax.mentions import mentions


def unused(file: tree.File) -> Iterator[Diagnostic]:
    """Warn of unused names in every definition; silent where statements were lost to errors."""
    if file.lost:
        return
    for item in file.items:
        if isinstance(item, tree.Definition):
            yield from _definition(item)


def _definition(item: tree.Definition) -> Iterator[Diagnostic]:
    uses = {i: set(mentions(x)) for i, x in enumerate(item.body)}
    live = _live(item, uses)
    mentioned = {name for i in uses for name in uses[i]}
    for statement in item.body:
        for name, span in _bound(statement):
            if name not in live and name not in mentioned:
                yield _warning(statement, name, span, item)


def _live(item: tree.Definition, uses: dict[int, set[str]]) -> set[str]:
    """Find the names from which a path leads to an output, a type, a size or a requirement."""
    live = {x.name.text for x in item.body if isinstance(x, tree.Output)}
    for i, statement in enumerate(item.body):
        if isinstance(statement, tree.Input | tree.Output | tree.Require):
            live |= uses[i]
    makers: dict[str, list[int]] = {}
    for i, statement in enumerate(item.body):
        for name, _ in _bound(statement):
            makers.setdefault(name, []).append(i)
    queue = list(live)
    while queue:
        for i in makers.pop(queue.pop(), ()):
            queue.extend(uses[i])
            live |= uses[i]
    return live


def _bound(statement: tree.Statement) -> list[tuple[str, Span]]:
    match statement:
        case tree.Bind():
            return [(x.text, x.span) for x in statement.names]
        case tree.Param() | tree.Input() | tree.Dim() | tree.Domain():
            return [(statement.name.text, statement.name.span)]
    return []


def _warning(statement: tree.Statement, name: str, span: Span, item: tree.Definition) -> Diagnostic:
    match statement:
        case tree.Input():
            code, what, say = "OP0402", "input", "nothing reads it"
        case tree.Bind():
            code, what, say = "OP0401", "node", "no path leads from here to an output"
        case tree.Domain():
            code, what, say = "OP0404", "domain", "nothing lives on it"
        case tree.Dim():
            code, what, say = "OP0404", "dim", "no space has so many channels"
        case _:
            code, what, say = "OP0403", "parameter", f"`{item.name.text}` does not depend on it"
    return Diagnostic(
        code,
        f"{what} `{name}` is never used",
        (Label(span, say),),
        helps=(Help(f"remove it, or {on_purpose(code)}"),),
        severity="warning",
    )
