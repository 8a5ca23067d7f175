"""Diagnostics of plans of sharding: each names the axis or the block that stands in the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from opdsl.diagnostics import Label, OpError, blame, did_you_mean, fault
from opdsl.ir.graph import Graph, Node
from opdsl.ir.sharding.layout import ShardedAxis
from opdsl.ir.spaces import Domain

WITHOUT = "divide samples only: `parallel { space = 1 }`"


def no_rule(graph: Graph, node: Node, axis: ShardedAxis) -> OpError:
    """OP0820: a block has no rule for parts of the axis."""
    spaces = (*graph.arguments(node), node.space)
    scattered = next((x.domain for x in spaces if x.domain.scattered), None)
    reason = f"`{node.keyword}` needs the whole axis `{axis}`"
    if scattered is not None:
        reason = f"`{node.keyword}` reads the points `{scattered}`, which have no axis"
    elif (
        any(x.domain.kind == "sphere" for x in spaces)
        and axis.name != spaces[0].domain.axes[0].name
    ):
        reason = f"`{node.keyword}` can be divided along latitudes only, not along `{axis}`"
    message = f"`{graph.name}` cannot be divided along `{axis}`: {reason}"
    label = Label(node.spans[-1], f"no rule for parts of `{axis}`")
    return fault("OP0820", message, *blame((label,), node.spans), helps=(WITHOUT,))


def too_many_ranks(graph: Graph, domain: Domain, axis: ShardedAxis, n: int, ranks: int) -> OpError:
    """OP0821: a domain has fewer points than processes."""
    points = f"{n} point{'' if n == 1 else 's'}"
    message = f"{ranks} processes cannot divide {points} of `{domain}` along `{axis}`"
    place = graph.places.get(domain.name)
    labels = (Label(place, "declared here"),) if place else ()
    helps = (f"use at most {n} processes for a sample: `parallel {{ space = {n} }}`",)
    return fault("OP0821", message, *labels, helps=helps, file=graph.name)


def unknown_axis(graph: Graph, name: str, names: Sequence[str]) -> OpError:
    """OP0822: no grid or sphere has such an axis."""
    if not names:
        message = f"`{graph.name}` has no grid or sphere whose axes could be divided"
        return fault("OP0822", message, helps=(WITHOUT,), file=graph.name)
    known = f"the axes are: {', '.join(names)}"
    message = f"`{graph.name}` has no axis `{name}` to divide"
    helps = did_you_mean(name, names) or ("let the planner choose: `auto`",)
    return fault("OP0822", message, notes=(known,), helps=helps, file=graph.name)


def several_axes(graph: Graph, divided: Mapping[str, int]) -> OpError:
    """OP0822: more than one axis is to be divided."""
    names = " and ".join(f"`{x}`" for x in divided)
    count = math.prod(divided.values())
    message = f"`{graph.name}` can be divided along one axis, not along {names}"
    helps = (f"let the planner choose it: `parallel {{ space = {count} }}`",)
    return fault("OP0822", message, helps=helps, file=graph.name)
