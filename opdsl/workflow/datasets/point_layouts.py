"""Where the points of a file are, and where a program declares them."""

from __future__ import annotations

from collections.abc import Iterable

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import Layout, layout_of, layout_on, sampling_of, simplest
from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import Domain
from opdsl.sampling import GridSampling

PLACES: dict[GridSampling, str] = {
    "both": "points at both ends",
    "lower": "a point at the lower end and none at the upper one",
    "upper": "a point at the upper end and none at the lower one",
    "interior": "no points at its ends",
    "centres": "points at the centres of cells",
}


def declared_layout(domain: Domain) -> Layout | None:
    """Return the layout of a grid; None if no axis declares `sampling`."""
    if not domain.regular or not any(x.sampling for x in domain.axes):
        return None
    axes = zip(domain.samplings, domain.periodic, strict=True)
    return simplest(tuple(layout_of(x, periodic=periodic) for x, periodic in axes))


def layout_of_ports(ports: Iterable[Port]) -> Layout | None:
    """Return the layout of the first grid of the ports that declares one."""
    layouts = (declared_layout(x.space.domain) for x in ports)
    return next((x for x in layouts if x is not None), None)


def refuse_other_sampling(graph: Graph, fields: Fields) -> None:
    """Refuse data whose points are elsewhere than the program declares, if the file states it.

    `periodic` says nothing, since it also stands for an unknown layout; a file with points at both
    ends fits an axis that declares no sampling, as it always did.

    Raises:
        OpError: OP0613, with both places.
    """
    ports = (*graph.inputs, *graph.outputs)
    domain = next((x.space.domain for x in ports if x.space.domain.regular), None)
    if domain is None or fields.places or len(fields.axes) != domain.dims:
        return
    for i, (axis, sampling) in enumerate(zip(domain.axes, domain.samplings, strict=True)):
        layout = layout_on(fields.layout, i)
        silent = layout == "periodic" or (layout == "node" and axis.sampling is None)
        if silent or sampling_of(layout) == sampling:
            continue
        here, there = sampling_of(layout), f"`sampling = {sampling}`"
        if axis.sampling is None:
            there = f"no sampling, which means `{sampling}`"
        raise fault(
            "OP0613",
            f"the data have {PLACES[here]} of `{axis.name}`, and the program declares {there}",
            notes=(f"the program expects {PLACES[sampling]}",),
            helps=(f"declare what the file has: `sampling = {here}`", "or take other data"),
            file=fields.source,
        )
