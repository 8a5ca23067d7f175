"""The errors of trained weights on test sets.

What comes in: a module with its normaliser, test sets by name. What goes out: a row for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from opdsl.cli.results import row
from opdsl.data.bind.samples import Samples
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.train.config.schema import Settings
from opdsl.train.engine.normalise import Normaliser
from opdsl.train.metrics.evaluate import evaluate
from opdsl.workflow.rollout import loop_of


def judge(
    module: nn.Module,
    normaliser: Normaliser,
    graph: Graph,
    tests: Mapping[str, Samples],
    settings: Settings,
) -> list[dict[str, Any]]:
    """One row for each test set; device, precision and batch as in the settings."""
    return [
        row(
            samples,
            evaluate(
                module,
                normaliser,
                samples,
                periodic=periodic(graph),
                lengths=lengths(graph),
                samplings=samplings(graph),
                device=settings.device,
                precision=settings.precision,
                batch=settings.batch,
                loop=loop_of(graph, settings.rollout),
                band=settings.band if settings.band.of else None,
            ),
        )
        for samples in tests.values()
    ]


def periodic(graph: Graph) -> dict[str, tuple[bool, ...]]:
    """For each output which axes are periodic; none for points, which have no grid."""
    domains = {x.name: x.space.domain for x in graph.outputs}
    return {k: d.periodic if d.kind == "grid" else () for k, d in domains.items()}


def lengths(graph: Graph) -> dict[str, tuple[float, ...]]:
    """For each output the lengths of its axes."""
    domains = {x.name: x.space.domain for x in graph.outputs}
    return {
        k: tuple(a.hi - a.lo for a in d.axes) if d.kind == "grid" else ()
        for k, d in domains.items()
    }


def samplings(graph: Graph) -> dict[str, tuple[str | None, ...]]:
    """For each input and output with latitudes among its axes, by which rule they are placed."""
    domains = {x.name: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    return {k: _samplings(d) for k, d in domains.items() if any(_samplings(d))}


def _samplings(domain: Domain) -> tuple[str | None, ...]:
    """For each axis; a sphere has latitudes and longitudes, in this order."""
    return tuple(
        x.sampling if x.kind == "sphere" and axis == 0 else None
        for x in domain.parts
        for axis in range(x.dims)
    )
