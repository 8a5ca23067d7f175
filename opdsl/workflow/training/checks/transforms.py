"""Where the points of statistics are, and the held-out samples against the maps of a run."""

from __future__ import annotations

from collections.abc import Iterable

from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.train.config.schema import Settings
from opdsl.train.scaling.axis_rules import PointRule
from opdsl.train.scaling.pointwise import PointwiseMaps
from opdsl.train.scaling.statistics import refuse_outside, sample_chunks
from opdsl.workflow.datasets.reading.streamed import AnySamples


def axis_rules(graph: Graph) -> dict[str, tuple[PointRule, ...]]:
    """Return where the points of each axis of each input and output are; none for points."""
    return {x.name: _rules(x.space.domain) for x in (*graph.inputs, *graph.outputs)}


def _rules(domain: Domain) -> tuple[PointRule, ...]:
    if any(x.scattered for x in domain.parts):
        return ()
    rules: list[PointRule] = []
    for part in domain.parts:
        if part.kind == "sphere" and part.sampling is not None:
            rules += [PointRule(part.sampling, latitudes=True), PointRule("lower", periodic=True)]
        else:
            pairs = zip(part.samplings, part.periodic, strict=True)
            rules += [PointRule(sampling, periodic) for sampling, periodic in pairs]
    return tuple(rules)


def refuse_unmapped(settings: Settings, sets: Iterable[AnySamples]) -> None:
    """Refuse held-out samples with inputs for which a map is not defined.

    Raises:
        OpError: OP0671, with the data set, the sample and the value.
    """
    maps = {k: PointwiseMaps(v) for k, v in settings.maps.items()}
    for samples in sets if maps else ():
        for chunk in sample_chunks(samples):
            for name in chunk.inputs.keys() & maps.keys():
                x, where = chunk.inputs[name], samples.source
                refuse_outside(name, x, maps[name], chunk.start, file=where)
