"""Where the resolutions of the declared domains come from when a model is called.

What comes in: a graph, then the grids of its inputs. What goes out: the size of every declared
domain. The sizes may be the symbols of a tracer as well as numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain

Grid = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A declared domain has the grid of one input, or the sizes that the program gives to it.

    Attributes:
        port: index of the input; None for a latent domain.
        domain: the domain of that input, or the declared one.
    """

    port: int | None
    domain: Domain

    def root(self, grids: Sequence[Grid]) -> Grid:
        """The size of the declared domain."""
        if self.port is None:
            return tuple(x.fixed or x.size or 1 for x in self.domain.axes)
        grid = grids[self.port]
        if not self.domain.steps:
            return grid
        return tuple(self.domain.least_root(i, n) for i, n in enumerate(grid))


def origins(graph: Graph) -> dict[str, Origin]:
    """The origin of each declared domain; an input on the domain itself goes before one on D/2."""
    found = {x.name: Origin(None, x) for x in _domains(graph)}
    for index, port in sorted(enumerate(graph.inputs), key=lambda x: len(x[1].space.domain.steps)):
        domain = port.space.domain
        if found[domain.name].port is None:
            found[domain.name] = Origin(index, domain)
    return found


def roots(sources: Mapping[str, Origin], grids: Sequence[Grid]) -> dict[str, Grid]:
    """The size of each declared domain where the inputs have these grids."""
    return {name: x.root(grids) for name, x in sources.items()}


def _domains(graph: Graph) -> list[Domain]:
    """Declared domains, also those that only a node speaks of."""
    known = {x.name: x for x in graph.domains}
    for space in graph.spaces.values():
        known.setdefault(space.domain.name, space.domain.root)
    return list(known.values())
