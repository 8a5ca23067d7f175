"""Access to the concrete syntax tree: children by kind of token or by rule."""

from __future__ import annotations

from typing import Any

from opdsl.diagnostics import Label, Span, fault
from opdsl.syntax.lalr import ParseNode, Token

DEPTH = 128  # nesting of expressions; every later stage walks them by recursion

Kids = list[Any]


def is_token(node: Any, kind: str) -> bool:
    """Return whether a child is a token of this kind."""
    return isinstance(node, Token) and node.kind == kind


def is_tree(node: Any, rule: str) -> bool:
    """Return whether a child is a node of this rule."""
    return isinstance(node, ParseNode) and node.rule == rule


def subtrees(node: ParseNode) -> list[ParseNode]:
    """List the children that are nodes."""
    return [x for x in node.children if not isinstance(x, Token)]


def after(kids: Kids, kind: str) -> Any:
    """Return the child after the first token of a kind, or None."""
    for i, x in enumerate(kids):
        if is_token(x, kind):
            return kids[i + 1]
    return None


def too_deep(span: Span) -> Exception:
    """Report OP0105 for an expression that is nested too deeply for later stages."""
    return fault(
        "OP0105",
        "this expression is too deep",
        Label(span, f"more than {DEPTH} operators inside each other"),
        helps=("give a part of it a name of its own",),
    )
