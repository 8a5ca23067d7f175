"""The loss and the metrics of a run, checked and ready to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opdsl.diagnostics import fault
from opdsl.train.config.loss_section import function_name
from opdsl.train.config.schema import Settings
from opdsl.train.losses.expressions.catalogue import ERRORS
from opdsl.train.losses.expressions.nodes import WeightedTerm, leaves, operators
from opdsl.train.losses.expressions.objective import MetricExpressions
from opdsl.train.losses.objective import Objective
from opdsl.train.losses.objective.function import FunctionObjective, LossFunction, name_of
from opdsl.train.physics.balance import balance_of
from opdsl.workflow.losses.objectives import metrics_of, objective_of
from opdsl.workflow.losses.terms import missing_function, typed_losses
from opdsl.workflow.programs.program import Program

WITH_DERIVATIVES = {"grad", "div", "curl", "laplace", "d", "diffusion", "velocity"}


@dataclass(frozen=True, slots=True)
class RunLosses:
    """What a run minimises and measures.

    Attributes:
        objective: of the training; None for a loss that is set by its name.
        metrics: besides the usual errors; None if there are none.
        terms: of the loss, where it is an expression.
    """

    objective: Objective | None = None
    metrics: MetricExpressions | None = None
    terms: tuple[WeightedTerm, ...] = field(default=())


def losses_of(
    program: Program, settings: Settings, function: LossFunction | None = None
) -> RunLosses:
    """Check the loss and the metrics of a run, before any data are read.

    Args:
        program: with the model.
        settings: of the run.
        function: of Python, where `settings.loss` is its name.

    Raises:
        OpError: OP0700 to OP0709, what is wrong with them.
    """
    graph, name = program.graph, function_name(settings.loss)
    if name is not None and function is None:
        raise missing_function(name)
    typed = typed_losses(graph, settings, program.checked.file, program.folder)
    metrics = metrics_of(graph, typed.metrics)
    if name is not None or typed.loss is None:
        _refuse_single_term(settings, ())
    if name is not None and function is not None:
        return RunLosses(FunctionObjective.of(function), metrics)
    if typed.loss is None:
        return RunLosses(None, metrics)
    _refuse_single_term(settings, typed.loss)
    balance = balance_of(settings.balance, settings.seed)
    return RunLosses(objective_of(graph, typed.loss, balance), metrics, typed.loss)


def _refuse_single_term(settings: Settings, terms: tuple[WeightedTerm, ...]) -> None:
    if settings.balance.kind != "none" and len({x.text for x in terms}) < 2:
        message = f"`balance {settings.balance.kind}` weighs the terms of a loss, and "
        message += f"`loss = {settings.loss}` has one"
        helps = ("leave `balance` out", "or add a term: `loss = rel_l2(u) + mse(heat(u))`")
        raise fault("OP0723", message, helps=helps)


def with_function_name(settings: Mapping[str, Any]) -> tuple[dict[str, Any], LossFunction | None]:
    """Replace a loss that is a function of Python by the text that a run folder holds.

    Args:
        settings: keyword arguments of `opdsl.train`.

    Returns:
        The settings, and the function if there is one.

    Raises:
        OpError: OP0707, the function cannot be called with predictions and truth.
    """
    loss = settings.get("loss")
    if loss is None or not callable(loss):
        return dict(settings), None
    FunctionObjective.of(loss)
    name = name_of(loss)
    return {**settings, "loss": f"function({name if name.isidentifier() else 'anonymous'})"}, loss


def outputs_with_derivatives(terms: tuple[WeightedTerm, ...]) -> frozenset[str]:
    """Return the outputs of which a loss takes derivatives or spectra, which masks do not allow."""
    names: set[str] = set()
    for term in terms:
        kind = ERRORS.get(term.error.error)
        functions = (term.error.value, term.error.target)
        whole = kind is not None and kind.domains in {"grid", "waves", "derivatives"}
        for function in functions:
            read = leaves(function) if whole else ()
            inside = [y for x in operators(function) if x.name in WITH_DERIVATIVES for y in x.args]
            read += tuple(y for x in inside for y in leaves(x))
            names |= {x.name for x in read if x.role != "input"}
    return frozenset(names)
