"""Refuse losses and validation that need the truth of outputs of which the data have none."""

from __future__ import annotations

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.train.config.schema import Settings
from opdsl.train.losses.expressions.nodes import leaves
from opdsl.workflow.datasets.binding import without_truth
from opdsl.workflow.losses.run_losses import RunLosses


def refuse_missing_truth(graph: Graph, settings: Settings, losses: RunLosses) -> None:
    """Refuse a run that compares outputs without truth, before any data are read.

    Args:
        graph: the model.
        settings: of the run.
        losses: the loss, if it is an expression.

    Raises:
        OpError: OP0722, the loss, the validation or the rollout needs the truth.
    """
    absent = without_truth(graph, settings)
    if not absent:
        return
    if losses.terms:
        _refuse_terms(losses, absent)
    everything = absent == {x.name for x in graph.outputs}
    name = min(absent)
    if everything and not losses.terms:
        message = f"`loss = {settings.loss}` needs a truth, and `data.fields.{name} = none`"
        equation = "take an equation as the loss: `loss = mse(poisson(u, f))`"
        raise fault("OP0722", message, helps=(equation,))
    if everything and settings.rollout is not None:
        message = f"`rollout` takes its steps from the truth, and `data.fields.{name} = none`"
        axis = "let the model have an axis of time: `domain T = interval(t: 0..1)`"
        raise fault("OP0722", message, helps=(axis,))
    if everything and not isinstance(settings.data.valid, str):
        message = f"`data.valid = {settings.data.valid:g}` divides samples that have no truth"
        helps = ("name a file with solutions: `valid = PATH`", "or leave `valid` out")
        raise fault("OP0722", message, helps=helps)


def _refuse_terms(losses: RunLosses, absent: set[str]) -> None:
    for term in losses.terms:
        error = term.error
        functions = (error.value, error.target, *error.functions.values())
        read = [x for f in functions for x in leaves(f) if x.role == "truth"]
        for leaf in read:
            if leaf.name in absent:
                message = f"`{term.text}` compares `{leaf.name}` with its truth, "
                message += f"and `data.fields.{leaf.name} = none`"
                helps = ("leave the term out", "or name the field of the truth in `data.fields`")
                raise fault("OP0722", message, helps=helps)
