"""The interface of a place in the graph, as calls and chains see it."""

from __future__ import annotations

from typing import Protocol

from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.environment import Nodes
from opdsl.elaborate.instantiate.builder import GraphBuilder


class Place(Nodes, Protocol):
    """A place in the graph, and the definition whose statement adds nodes there.

    The outermost call of a binding takes the binding's own path; every node inside a chain or an
    argument gets the path of the enclosing node or scope, then its own name.
    """

    @property
    def scope(self) -> NameScope:
        """The scope of the definition."""

    @property
    def builder(self) -> GraphBuilder:
        """The builder of the graph."""

    def below(self, path: str | None = None) -> Place:
        """Return the place for nodes inside of `path`, or inside of this place."""
