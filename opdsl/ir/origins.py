"""Where the resolutions of the declared domains come from when a model is called.

The size of every declared domain follows from the grids of the inputs and side inputs. Sizes may be
the symbols of a tracer as well as numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain

Grid = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """A declared domain has the grid of one input, or sizes fixed by the program.

    Attributes:
        port: index among the inputs and then the side inputs; None for a latent
            domain.
        domain: what the input lives on, if that is a product the factor; or the declared domain.
        first: which of the input's axes is the first one of `domain`.
    """

    port: int | None
    domain: Domain
    first: int = 0

    def root(self, grids: Sequence[Grid]) -> Grid:
        """The size of the declared domain."""
        if self.port is None:
            return tuple(x.fixed or x.size or 1 for x in self.domain.axes)
        grid = grids[self.port][self.first : self.first + self.domain.dims]
        if not self.domain.steps:
            return grid
        return tuple(self.domain.root_of(i, n) for i, n in enumerate(grid))


def origins(graph: Graph) -> dict[str, Origin]:
    """The origin of each declared domain; an input on the domain itself goes before one on D/2."""
    result = {x.name: Origin(None, x) for x in _declared(graph)}
    for origin in sorted(_offers(graph), key=lambda x: len(x.domain.steps)):
        name = origin.domain.name
        if result[name].port is None:
            result[name] = origin
    return result


def roots(sources: Mapping[str, Origin], grids: Sequence[Grid]) -> dict[str, Grid]:
    """The size of each declared domain where inputs and what is asked for have these grids."""
    return {name: x.root(grids) for name, x in sources.items()}


def completed(graph: Graph, grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """The grids of all inputs from those of some; KeyError where these do not tell."""
    known = tuple(x for x in graph.inputs if x.name in grids)
    smaller = graph.model_copy(update={"inputs": known})
    sources = origins(smaller)
    known_sources = {k: x for k, x in sources.items() if x.port is None or x.port < len(known)}
    sizes = roots(known_sources, [grids[x.name] for x in known])
    result = dict(grids)
    for x in graph.inputs:
        domain = x.space.domain
        if x.name not in result:
            for y in domain.declared:
                if known_sources[y.name].port is None and not _fixed(y):
                    raise KeyError(y.name)
            result[x.name] = domain.at(sizes)
    return result


def _fixed(domain: Domain) -> bool:
    return all(x.fixed or x.size for x in domain.axes)


def _offers(graph: Graph) -> Iterator[Origin]:
    """Every factor of every domain on which tensors are given."""
    domains = [x.space.domain for x in graph.inputs] + [x.domain for x in graph.side_inputs()]
    for index, domain in enumerate(domains):
        first = 0
        for part in domain.parts:
            if part.kind not in {"vector", "spectrum"}:
                yield Origin(index, part, first)
            first += part.dims


def _declared(graph: Graph) -> list[Domain]:
    """Declared domains, also those that only a node speaks of."""
    spaces = [*graph.spaces.values(), *(x.space for x in graph.inputs)]
    mentioned = [y for x in spaces for y in x.domain.declared] + [
        y for x in graph.side_inputs() for y in x.domain.declared
    ]
    return list({x.name: x for x in (*graph.domains, *mentioned)}.values())
