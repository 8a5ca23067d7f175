"""A subgraph that may run as one operation, and the queries by which patterns match it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from opdsl.blocks.pointwise.apply import Apply
from opdsl.blocks.pointwise.linear import Linear
from opdsl.blocks.pointwise.skip import Skip
from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.spaces import Space

FUSABLE_ACTIVATIONS = frozenset({"gelu", "identity", "relu"})  # activations that the kernels know
DOMAINS = frozenset({"grid", "sphere"})  # where all samples have the same points


@dataclass(frozen=True, slots=True)
class Fusion:
    """Nodes that run as one operation.

    Attributes:
        kind: the pattern, `fourier_layer` or `network`.
        source: where the input comes from, a path or the name of an input.
        nodes: all paths, in no order but that the last is the end.
        roles: the node that is each part of the formula in `opdsl.nn.kernels.fourier_layer`.
        activations: kinds of the activations before, in the middle and in the hidden layer.
    """

    kind: str
    source: str
    nodes: tuple[str, ...]
    roles: Mapping[str, str]
    activations: tuple[str, str, str]

    @property
    def end(self) -> str:
        """Path of the node whose result the fusion computes."""
        return self.nodes[-1]


@dataclass(frozen=True, slots=True)
class Layers:
    """A pointwise network: first layer, activation, second layer."""

    source: str
    first: str
    activation: str
    second: str
    kind: str


class Uses:
    """The uses of each value of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.counts = Counter(x for node in live(graph) for x in node.inputs)
        self.counts.update(x.source for x in graph.outputs)

    def node(self, path: str) -> Node | None:
        """Return the node at a path; None if the path is an input."""
        return self.graph.by_path.get(path)

    def once(self, path: str) -> bool:
        """Return whether exactly one node reads the value, and it is no output of the graph."""
        return self.counts[path] == 1

    def plain(self, space: Space) -> bool:
        """Return whether a space holds real functions on points that all samples share."""
        return not space.complex and space.domain is not None and space.domain.kind in DOMAINS

    def producing_activation(self, path: str, takers: int = 1) -> tuple[str, str]:
        """Return the activation that makes a value, and the value it is applied to.

        `identity` and the value itself unless exactly `takers` nodes take the value.
        """
        node = self.node(path)
        activations = (
            node is not None
            and isinstance(node.block, Apply)
            and node.block.kind in FUSABLE_ACTIVATIONS
        )
        if node is not None and activations and self.counts[path] == takers:
            return node.block.model_dump()["kind"], node.inputs[0]
        return "identity", path

    def matrix(self, path: str) -> Node | None:
        """Return the node at a path if it applies one matrix at every point, else None."""
        node = self.node(path)
        if node is None or not self.plain(node.space):
            return None
        linear = isinstance(node.block, Linear)
        skip = isinstance(node.block, Skip) and node.block.kind == "linear"
        return node if (linear or skip) and node.block.model_dump()["copies"] == 1 else None

    def layers(self, path: str) -> Layers | None:
        """Match the pointwise network that ends at a node, each value inside of it used once."""
        second = self.matrix(path)
        if second is None:
            return None
        kind, activated = self.producing_activation(second.inputs[0])
        first = self.matrix(activated) if kind != "identity" else None
        if first is None or not self.once(activated):
            return None
        return Layers(first.inputs[0], activated, second.inputs[0], path, kind)
