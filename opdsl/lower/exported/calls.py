"""Calls at which an exported file is compared with its module: sizes and random values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.ir.axes import Axis
from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph
from opdsl.ir.origins import Grid
from opdsl.ir.spaces import Domain

EXTRA_POINTS = 16  # points above the least, where no size is the least one of any operator
SEED = 0

Draw = Callable[[str, Tensor], Tensor]  # of an input, normal numbers -> values that it may have


@dataclass(frozen=True, slots=True)
class ExportCall:
    """The sizes of a call.

    Attributes:
        roots: points on each axis of each declared domain.
        batch: number of samples.
    """

    roots: Mapping[str, Grid]
    batch: int

    def __str__(self) -> str:
        grids = " and ".join(dict.fromkeys("x".join(map(str, x)) for x in self.roots.values() if x))
        return f"{grids}, batch {self.batch}" if grids else f"batch {self.batch}"


def example(graph: Graph) -> dict[str, Grid]:
    """Choose a promised resolution a little above the least."""
    return {x.name: tuple(_example_size(x)) for x in graph.domains}


def finer_roots(graph: Graph, roots: Mapping[str, Grid], more: int) -> dict[str, Grid]:
    """Find the next promised resolution with at least `more` additional points.

    The axes get different numbers of points, so that a tracer does not take two of them for one.
    """
    return {x.name: _finer_size(x, roots[x.name], more) for x in graph.domains}


def call_values(
    graph: Graph, call: ExportCall, dtype: torch.dtype, draw: Draw
) -> tuple[Tensor, ...]:
    """Draw reproducible values for each input, then for each static field.

    Args:
        dtype: of real numbers.
        draw: makes values of an input from normal numbers.
    """
    source = torch.Generator().manual_seed(SEED)
    result = []
    for port in graph.inputs:
        shape = (call.batch, decided(port.space.channels), *port.space.domain.at(call.roots))
        kind = dtype.to_complex() if port.space.complex else dtype
        result.append(draw(port.name, torch.randn(shape, generator=source, dtype=kind)))
    for side_input in graph.side_inputs():
        shape = side_input.domain.at(call.roots)
        result.append(torch.randn(shape, generator=source, dtype=dtype))
    return tuple(result)


def axis_names(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Name the axes of each input: `batch`, channels, `x`, `(D.x//2)`."""
    ports = {x.name: ("batch", str(x.space.channels), *_axes(x.space.domain)) for x in graph.inputs}
    return ports | {x.name: _axes(x.domain) for x in graph.side_inputs()}


def _axes(domain: Domain) -> tuple[str, ...]:
    if domain.modes is not None:
        return ("frequencies",) * domain.dims
    parts = (domain.part(i) for i in range(domain.dims))
    return tuple(
        part.axes[local].name if not part.steps else domain.atom(i)
        for i, (part, local) in enumerate(parts)
    )


def _finer_size(domain: Domain, root: Grid, more: int) -> Grid:
    pairs = zip(domain.axes, root, strict=True)
    return tuple(_admitted(a, n + more * i) for i, (a, n) in enumerate(pairs, start=1))


def _example_size(domain: Domain) -> Iterator[int]:
    return (_admitted(a, a.least + EXTRA_POINTS + i) for i, a in enumerate(domain.axes))


def _admitted(axis: Axis, n: int) -> int:
    """Return the least promised number of points from `n` on, or else the greatest."""
    if axis.pinned:
        return axis.least
    step = axis.multiple_of
    greatest = n + step if axis.max is None else axis.max
    return min(-(-n // step), greatest // step) * step
