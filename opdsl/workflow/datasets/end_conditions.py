"""Warnings about data whose ends contradict the conditions that a program declares."""

from __future__ import annotations

from collections.abc import Iterable

from opdsl.data.bind.end_conditions import AxisEnds, end_warnings
from opdsl.diagnostics import Diagnostic
from opdsl.ir.graph import Graph
from opdsl.workflow.datasets.reading.streamed import AnySamples, few_of


def end_warnings_of(graph: Graph, sets: Iterable[AnySamples]) -> list[Diagnostic]:
    """Return a warning OP0653 for each output and source that contradicts a declared condition.

    Args:
        graph: of the program.
        sets: data with the outputs; of several resolutions of one source the first counts.
    """
    axes_of = _axis_ends(graph)
    of_sources: dict[str, AnySamples] = {}
    for samples in sets:
        of_sources.setdefault(samples.source, samples)
    return [x for samples in of_sources.values() for x in end_warnings(few_of(samples), axes_of)]


def _axis_ends(graph: Graph) -> dict[str, tuple[AxisEnds, ...]]:
    """Return for each output on a grid its axes and the conditions at their ends."""
    domains = {x.name: x.space.domain for x in graph.outputs}
    return {
        name: tuple(
            AxisEnds(a.name, None if periodic else a.ends, sampling)
            for a, periodic, sampling in zip(d.axes, d.periodic, d.samplings, strict=True)
        )
        for name, d in domains.items()
        if d.regular
    }
