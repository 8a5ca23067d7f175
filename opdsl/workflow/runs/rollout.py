"""The sequence of steps in time of a model with feedback."""

from __future__ import annotations

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.train.engine.rollout import Rollout


def loop_of(graph: Graph, steps: int | None) -> Rollout | None:
    """Return how steps in time follow each other, None for a single step.

    Raises:
        OpError: OP0604, nothing comes back.
    """
    if steps is None:
        return None
    if not graph.feedback:
        message = f"`rollout` asks for steps in time, but nothing of `{graph.name}` comes back"
        helps = ("say which output becomes which input: `feedback out -> in`",)
        raise fault("OP0604", message, helps=helps)
    pairs = tuple((x.output, x.input) for x in graph.feedback)
    return Rollout(pairs, {x.name: x.space.domain.dims for x in graph.inputs})
