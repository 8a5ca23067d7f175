"""The part of a graph that its outputs need; a node outside of it has no weights and never runs."""

from __future__ import annotations

from opdsl.ir.graph import Graph, Node


def live(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that some output needs, in the order of the graph."""
    needed = {x.source for x in graph.outputs}
    for node in reversed(graph.nodes):
        if node.path in needed:
            needed.update(node.inputs)
    return tuple(x for x in graph.nodes if x.path in needed)


def constants(graph: Graph) -> frozenset[str]:
    """Return the paths of the nodes that depend on no input; their tensors have a batch of one."""
    dependent = {x.name for x in graph.inputs}
    for node in graph.nodes:
        if dependent.intersection(node.inputs):
            dependent.add(node.path)
    return frozenset(x.path for x in graph.nodes if x.path not in dependent)
