"""Warnings about nodes, placed at the user's own call that leads to the node."""

from __future__ import annotations

from opdsl.diagnostics import CODES, Diagnostic, Help, Label, Span, blame
from opdsl.ir.graph import Node


def warning(
    code: str,
    message: str,
    node: Node,
    say: str,
    *more: Label,
    notes: tuple[str, ...] = (),
    helps: tuple[str, ...] = (),
) -> Diagnostic:
    """Build a warning whose first label is the user's call that leads to the node."""
    labels = blame((Label(node.spans[-1], say), *more), node.spans)
    cures = tuple(Help(x) for x in (*helps, f"or {on_purpose(code)}"))
    return Diagnostic(code, message, labels, notes, cures, severity="warning")


def on_purpose(code: str) -> str:
    """Describe how a program declares the cause of a warning as intended."""
    return f"keep it on purpose with `# op: allow({CODES[code].slug})`"


def site(node: Node) -> Span:
    """Return the span of the user's own call that leads to the node."""
    return blame((Label(node.spans[-1]),), node.spans)[0].span
