"""Whether the precisions of nodes in the settings fit a model."""

from __future__ import annotations

from opdsl.diagnostics import did_you_mean, fault
from opdsl.ir.graph import Graph
from opdsl.ir.live import live
from opdsl.train.config.node_precision import MIXABLE
from opdsl.train.config.paths import matches
from opdsl.train.config.schema import Settings

SHOWN = 6  # paths that a message lists


def refuse_bad_node_precision(graph: Graph, settings: Settings) -> None:
    """Refuse paths that no node has, and a `precision` whose weights are not in float32.

    Raises:
        OpError: OP0764.
    """
    used = list(settings.node_precision.used())
    if used and settings.precision not in MIXABLE:
        message = f"`node_precision` does not go with `precision = {settings.precision}`"
        notes = ("the precisions of nodes need weights in float32",)
        helps = (f"choose one of {', '.join(MIXABLE)}",)
        raise fault("OP0764", message, notes=notes, helps=helps, file=graph.name)
    nodes = [x.path for x in live(graph)]
    for name, paths in used:
        for path in paths:
            if not any(matches(path, x) for x in nodes):
                message = (
                    f"`node_precision.{name}`: the model has no node with a path like `{path}`"
                )
                listed = (f"nodes are {', '.join(f'`{x}`' for x in nodes[:SHOWN])} ...",)
                parts = sorted({y for x in nodes for y in x.split(".")})
                near = did_you_mean(path, [*nodes, *parts]) or (
                    "`opdsl summary --precision --by-node` lists all of them",
                )
                raise fault("OP0764", message, notes=listed, helps=near, file=graph.name)
