"""The axes of a graph that can be divided among processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opdsl.ir.graph import Graph
from opdsl.ir.live import live
from opdsl.ir.sharding.layout import ShardedAxis, axes_of
from opdsl.ir.sharding.refusals import several_axes, unknown_axis
from opdsl.ir.spaces import Domain

AUTO = "auto"

SpaceSetting = int | str | Mapping[str, int]


def resolve_space(graph: Graph, space: SpaceSetting, world: int, batch: int) -> tuple[int, str]:
    """Return how many processes share a sample, and the axis as `sharded_axes` takes it.

    Args:
        graph: the model.
        space: of the settings: a number; `auto`, the least number with which every process has a
            sample; or a number for each axis, of which one may exceed 1.
        world: all processes.
        batch: samples of a step.

    Raises:
        OpError: OP0822, several axes are divided, or there is no axis of a name.
    """
    if isinstance(space, Mapping):
        for axis in space:
            sharded_axes(graph, axis)
        divided = {axis: n for axis, n in space.items() if n > 1}
        if len(divided) > 1:
            raise several_axes(graph, divided)
        return next(((n, axis) for axis, n in divided.items()), (1, AUTO))
    if isinstance(space, int):
        return space, AUTO
    return next(n for n in range(1, world + 1) if world % n == 0 and world // n <= batch), AUTO


def sharded_axes(graph: Graph, name: str) -> tuple[ShardedAxis, ...]:
    """Return the axes that a name means: one, or all candidates for `auto`.

    Args:
        graph: the model.
        name: `x`, the axis of all domains that have it; `D.x`, that of one; or `auto`.

    Raises:
        OpError: OP0822, there is no such axis.
    """
    pairs = tuple(dict.fromkeys(_pairs(graph)))
    names = tuple(dict.fromkeys(axis for _, axis in pairs))
    if name == AUTO and names:
        return tuple(_everywhere(x, pairs) for x in names)
    domain, _, axis = name.rpartition(".")
    if domain and (domain, axis) in pairs:
        return (ShardedAxis(axis, frozenset({domain})),)
    if not domain and axis in names:
        return (_everywhere(axis, pairs),)
    raise unknown_axis(graph, name, names if not domain else [f"{d}.{a}" for d, a in pairs])


def _everywhere(axis: str, pairs: tuple[tuple[str, str], ...]) -> ShardedAxis:
    return ShardedAxis(axis, frozenset(d for d, a in pairs if a == axis))


def _pairs(graph: Graph) -> Iterator[tuple[str, str]]:
    """Yield declared domains and their axes, in the order of the program."""
    for domain in _domains(graph):
        for i, axis in enumerate(axes_of(domain)):
            if axis:
                yield domain.part(i)[0].name, axis


def _domains(graph: Graph) -> Iterator[Domain]:
    yield from (x.space.domain for x in graph.inputs)
    yield from (x.space.domain for x in live(graph))
