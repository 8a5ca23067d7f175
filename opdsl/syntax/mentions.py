"""Search for the names that a part of a program reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from opdsl.diagnostics import Span
from opdsl.syntax import tree


def mentions(node: object) -> Iterator[str]:
    """Yield every name that is read anywhere in a node of the tree, as often as it is read."""
    if isinstance(node, tree.Name):
        yield node.text
    elif isinstance(node, tuple):
        for x in node:
            yield from mentions(x)
    elif is_dataclass(node) and not isinstance(node, Span | tree.Ident):
        for field in fields(node):
            yield from mentions(getattr(node, field.name))
