"""The graph under construction: nodes in order of creation, scopes, and the paths in use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from opdsl.diagnostics import Span
from opdsl.elaborate.evaluate.values import Function
from opdsl.ir.block import Block
from opdsl.ir.graph import Node, Scope
from opdsl.ir.spaces import Space

ScopeKind = Literal["binding", "block", "repeat", "iteration", "residual"]


@dataclass(slots=True, eq=False, repr=False)
class GraphBuilder:
    """Collects nodes and scopes of one model."""

    nodes: list[Node] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def claim(self, wanted: str) -> str:
        """Reserve the path itself, or with `_2`, `_3` appended if it is in use."""
        path, count = wanted, self.counts.get(wanted, 1)
        while path in self.used:
            count += 1
            path = f"{wanted}_{count}"
        self.counts[wanted] = max(1, count - 1)
        self.used.add(path)
        return path

    def release(self, path: str) -> None:
        """Free a reserved path again."""
        self.used.discard(path)
        self.counts.pop(path.rpartition("_")[0], None)

    def node(
        self,
        path: str,
        block: Block,
        inputs: tuple[Function, ...],
        space: Space,
        spans: tuple[Span, ...],
    ) -> Function:
        """Append a node and return the function that it computes."""
        refs = tuple(x.ref for x in inputs)
        self.nodes.append(Node(path=path, block=block, inputs=refs, space=space, spans=spans))
        return Function(path, space)

    def scope(
        self,
        path: str,
        kind: ScopeKind,
        title: str,
        *,
        span: Span,
        count: int | None = None,
        shared: bool = False,
    ) -> None:
        """Append a scope."""
        self.scopes.append(
            Scope(path=path, kind=kind, title=title, span=span, count=count, shared=shared)
        )

    def share(self, path: str, begin: int) -> str | None:
        """Let the nodes of iterations 1, 2, ... of a repeat use the weights of iteration 0.

        Args:
            path: the path of the repeat.
            begin: the number of nodes before the repeat.

        Returns:
            The path of a node that is another operation in some iteration; None if all agree.
        """
        iterations: dict[str, dict[str, int]] = {}
        for i, node in enumerate(self.nodes[begin:], begin):
            if node.path.startswith(f"{path}."):
                iteration, _, rest = node.path.removeprefix(f"{path}.").partition(".")
                iterations.setdefault(iteration, {})[rest] = i
        first = iterations.pop("0", {})
        for iteration, places in iterations.items():
            for rest in first | places:
                owner, later = first.get(rest), places.get(rest)
                if owner is None or later is None or not self._tied(owner, later):
                    return f"{path}.{iteration}.{rest}"
        return None

    def _tied(self, first: int, later: int) -> bool:
        owner, node = self.nodes[first], self.nodes[later]
        same = (owner.block, owner.space) == (node.block, node.space)
        if same:
            self.nodes[later] = node.model_copy(update={"shares": owner.shares or owner.path})
        return same
