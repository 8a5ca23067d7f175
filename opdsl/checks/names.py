"""OP0405, OP0406: names of the whole file, imported or constant, that nothing mentions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from opdsl.checks.warned import on_purpose
from opdsl.diagnostics import Diagnostic, Help, Label, Span
from opdsl.syntax import tree


def unused_names(file: tree.File) -> Iterator[Diagnostic]:
    """Warn of each unused name; silent where statements were lost or nothing is defined."""
    if file.lost or not any(isinstance(x, tree.Definition) for x in file.items):
        return
    used = {name for x in file.items if not isinstance(x, tree.Import) for name in _heads(x)}
    for item in file.items:
        for name in _declared(item):
            if name.text not in used:
                yield _warning(item, name)


def _declared(item: tree.Item) -> tuple[tree.Ident, ...]:
    match item:
        case tree.Import():
            return item.names or (item.alias or item.path[-1],)
        case tree.Const():
            return (item.name,)
    return ()


def _warning(item: tree.Item, name: tree.Ident) -> Diagnostic:
    if isinstance(item, tree.Import):
        code, message, say = "OP0405", f"`{name.text}` is imported and never used", "not called"
    else:
        code, message, say = "OP0406", f"constant `{name.text}` is never used", "not mentioned"
    helps = (Help(f"remove it, or {on_purpose(code)}"),)
    return Diagnostic(code, message, (Label(name.span, say),), (), helps, "warning")


def _heads(node: object) -> Iterator[str]:
    """Yield the first word of every name and call in a tree."""
    if isinstance(node, tree.Call):
        yield node.path[0].text
    if isinstance(node, tree.Name):
        yield node.text.split(".")[0]
    if isinstance(node, tuple):
        for x in node:
            yield from _heads(x)
    elif is_dataclass(node) and not isinstance(node, Span | tree.Ident):
        for field in fields(node):
            yield from _heads(getattr(node, field.name))
