"""Layouts: the sharded form of a function space, `D -> R^c @ x`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opdsl.ir.spaces import Domain, Space


@dataclass(frozen=True, slots=True)
class FunctionLayout:
    """The distribution of a function over the processes that share a sample.

    Attributes:
        axis: the index of the axis of which each process has a part, `parts(n, ranks)` of the n
            points of this domain; None: every process has the whole function.
    """

    axis: int | None = None

    @property
    def sharded(self) -> bool:
        """Whether each process has a part only."""
        return self.axis is not None

    def type_of(self, space: Space) -> str:
        """Write the type of a function with this layout: `D -> R^c @ x`."""
        return str(space) if self.axis is None else f"{space} @ {space.domain.axes[self.axis].name}"


WHOLE = FunctionLayout()


@dataclass(frozen=True, slots=True)
class ShardedAxis:
    """The axis of declared domains of which each process has a part.

    Attributes:
        name: name of the axis.
        domains: names of the declared domains that have it.
    """

    name: str
    domains: frozenset[str]

    def layout(self, domain: Domain) -> FunctionLayout:
        """Return the layout of functions on a domain: sharded if it has the axis."""
        places = (i for i, x in enumerate(axes_of(domain)) if x == self.name)
        first = next((i for i in places if domain.part(i)[0].name in self.domains), None)
        return FunctionLayout(first)

    def __str__(self) -> str:
        return self.name


def axes_of(domain: Domain) -> Iterator[str]:
    """Yield the names of the axes that can be sharded, those of grids and spheres."""
    if domain.kind in {"grid", "interval", "product", "sphere"}:
        for i, x in enumerate(domain.axes):
            yield "" if domain.part(i)[0].scattered else x.name
