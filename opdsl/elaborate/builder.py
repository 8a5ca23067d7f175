"""The graph while it grows: nodes in the order in which they are made, scopes, free paths."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from opdsl.diagnostics import Span
from opdsl.elaborate.values import Fn
from opdsl.ir.block import Block
from opdsl.ir.graph import Node, Scope
from opdsl.ir.spaces import Space

Kind = Literal["binding", "block", "repeat", "iteration", "residual"]
LIMIT = 20_000  # nodes; a model of more is a mistake in a repeat


@dataclass(slots=True)
class Builder:
    """Collects nodes and scopes of one model."""

    nodes: list[Node] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def path(self, wanted: str) -> str:
        """The path itself, or with `_2`, `_3` behind it if it is taken."""
        path, count = wanted, 1
        while path in self.used:
            count += 1
            path = f"{wanted}_{count}"
        self.used.add(path)
        return path

    def node(
        self, path: str, block: Block, inputs: tuple[Fn, ...], space: Space, spans: tuple[Span, ...]
    ) -> Fn:
        """A new node; what it computes."""
        refs = tuple(x.ref for x in inputs)
        self.nodes.append(Node(path=path, block=block, inputs=refs, space=space, spans=spans))
        return Fn(path, space)

    def scope(
        self, path: str, kind: Kind, title: str, *, span: Span, count: int | None = None
    ) -> None:
        """A new scope."""
        self.scopes.append(Scope(path=path, kind=kind, title=title, span=span, count=count))
