"""OP0405: a name that is imported and never used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from opdsl.diagnostics import Diagnostic, Help, Label, Span
from opdsl.syntax import tree


def unused_imports(file: tree.File) -> Iterator[Diagnostic]:
    """One warning for each; silent where statements were lost, and in files of imports only."""
    if file.lost or not any(isinstance(x, tree.Definition) for x in file.items):
        return
    used = {name for x in file.items if not isinstance(x, tree.Import) for name in _heads(x)}
    for item in file.items:
        if isinstance(item, tree.Import):
            for name in item.names or (item.alias or item.path[-1],):
                if name.text not in used:
                    yield Diagnostic(
                        "OP0405",
                        f"`{name.text}` is imported and never used",
                        (Label(name.span, "nothing calls it"),),
                        helps=(Help("remove it"),),
                        severity="warning",
                    )


def _heads(node: object) -> Iterator[str]:
    """The first word of every name and call below."""
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
