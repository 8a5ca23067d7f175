"""The receptive field of a model: the points of the input on which a point of the output depends.

For a graph with one grid it is a number of points on each axis, or the nodes that need the whole
grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from opdsl.ir.graph import Graph, Node
from opdsl.ir.live import live
from opdsl.ir.origins import Grid
from opdsl.ir.spaces import Domain


@dataclass(frozen=True, slots=True)
class Reach:
    """The receptive field of a graph.

    Attributes:
        points: how many points away an output looks on each axis, to both sides.
        unbounded: the nodes that may look at all points; if there are some, `points` says nothing.
    """

    points: Grid
    unbounded: tuple[Node, ...]


def reach(graph: Graph, domain: Domain, size: Grid) -> Reach:
    """Compute the reach along the longest path from an output back to an input or a source node.

    Nodes among vectors alone have one value for the whole grid; they add nothing.
    """
    steps = {x.path: _step(graph, x, domain, size) for x in live(graph)}
    unbounded = tuple(x for x in live(graph) if steps[x.path] is None)
    needed: dict[str, Grid] = {}
    for node in reversed(live(graph)):
        total = _sum(needed.get(node.path, (0,) * len(size)), steps[node.path] or (0,) * len(size))
        for x in node.inputs:
            needed[x] = tuple(map(max, needed.get(x, total), total))
    return Reach(tuple(map(max, (0,) * len(size), *needed.values())), unbounded)


def one_grid(graph: Graph) -> Domain | None:
    """Return the one regular grid of all functions but vectors; None if there is no such grid."""
    grids = dict.fromkeys(_domains(graph))
    domain = next(iter(grids), None)
    return domain if len(grids) == 1 and domain and _plain(domain) else None


def _domains(graph: Graph) -> Iterator[Domain]:
    spaces = (*(x.space for x in graph.inputs), *(x.space for x in live(graph)))
    yield from (x.domain for x in spaces if x.domain.kind != "vector")


def _plain(domain: Domain) -> bool:
    return domain.regular and not any(x.steps for x in domain.parts)


def _step(graph: Graph, node: Node, domain: Domain, size: Grid) -> Grid | None:
    """Return the points that a node adds to the reach on each axis; None: unbounded."""
    spaces = (*graph.arguments(node), node.space)
    if domain not in (x.domain for x in spaces) or not node.inputs:
        return (0,) * len(size)
    if node.space.domain != domain or node.block.fixed_resolution(*spaces[:-1]):
        return None
    roots: Mapping[str, Grid] = _roots(domain, size)
    sizes = tuple(x.domain.at(roots) for x in spaces)
    return node.block.receptive_field(sizes, *spaces[:-1])


def _roots(domain: Domain, size: Grid) -> dict[str, Grid]:
    """Split the size of a domain into the resolution of each of its factors."""
    grids, first = {}, 0
    for part in domain.parts:
        grids[part.name] = size[first : first + part.dims]
        first += part.dims
    return grids


def _sum(a: Grid, b: Grid) -> Grid:
    return tuple(x + y for x, y in zip(a, b, strict=True))
