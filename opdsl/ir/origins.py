"""The origin of the resolutions of the declared domains when a model is called.

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
    """The source of the size of a declared domain: the grid of one input, or the program.

    Attributes:
        port: index among the inputs and then the side inputs; None for a latent domain.
        domain: the domain of the input (of a product the factor); of a latent one itself.
        first: which of the input's axes is the first one of `domain`.
    """

    port: int | None
    domain: Domain
    first: int = 0

    def root(self, grids: Sequence[Grid]) -> Grid:
        """Return the size of the declared domain for these grids of the inputs and side inputs."""
        if self.port is None:
            return tuple(x.fixed or x.size or 1 for x in self.domain.axes)
        grid = grids[self.port][self.first : self.first + self.domain.dims]
        if not self.domain.steps:
            return grid
        return tuple(self.domain.root_of(i, n) for i, n in enumerate(grid))


def origins(graph: Graph) -> dict[str, Origin]:
    """Find the origin of each declared domain; inputs on the domain itself precede those on D/2."""
    result = {x.name: Origin(None, x) for x in _declared(graph)}
    for origin in sorted(_offers(graph), key=lambda x: len(x.domain.steps)):
        name = origin.domain.name
        if result[name].port is None:
            result[name] = origin
    return result


def roots(sources: Mapping[str, Origin], grids: Sequence[Grid]) -> dict[str, Grid]:
    """Return the size of each declared domain for these grids of the inputs and side inputs."""
    return {name: x.root(grids) for name, x in sources.items()}


def completed(graph: Graph, grids: Mapping[str, Grid]) -> dict[str, Grid]:
    """Derive the grids of all inputs from those of some; KeyError if they do not determine them."""
    known = tuple(x for x in graph.inputs if x.name in grids)
    smaller = graph.model_copy(update={"inputs": known})
    sources = origins(smaller)
    # the ports from `len(known)` on are side inputs, whose grids are not known here
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
    """Yield every factor of the domain of every input and side input, as a possible origin."""
    domains = [x.space.domain for x in graph.inputs] + [x.domain for x in graph.side_inputs()]
    for index, domain in enumerate(domains):
        first = 0
        for part in domain.parts:
            if part.kind not in {"vector", "spectrum"}:
                yield Origin(index, part, first)
            first += part.dims


def _declared(graph: Graph) -> list[Domain]:
    """List the declared domains, including those that only a node mentions."""
    spaces = [*graph.spaces.values(), *(x.space for x in graph.inputs)]
    mentioned = [y for x in spaces for y in x.domain.declared] + [
        y for x in graph.side_inputs() for y in x.domain.declared
    ]
    return list({x.name: x for x in (*graph.domains, *mentioned)}.values())
