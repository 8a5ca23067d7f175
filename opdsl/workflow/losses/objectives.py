"""Objectives and metrics from typed terms: what is known of each domain, and its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import Tensor

from opdsl.compiler import read
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import count_samples
from opdsl.nn.points.packed import Packed
from opdsl.syntax.parser import parse
from opdsl.train.config.schema import Settings
from opdsl.train.engine.loader import Batch
from opdsl.train.losses.expressions.evaluation import BatchFunctions, DomainFacts
from opdsl.train.losses.expressions.nodes import operators
from opdsl.train.losses.expressions.objective import (
    Balance,
    ExpressionObjective,
    MetricExpressions,
    Prepare,
)
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.physics.calculus import Calculus, DerivativeOrder
from opdsl.train.physics.grid import GridCalculus
from opdsl.train.physics.points import PointCalculus, differentiable
from opdsl.train.physics.sphere import SphereCalculus
from opdsl.workflow.folder.reading import PROGRAM
from opdsl.workflow.losses.terms import LossTerms, typed_losses
from opdsl.workflow.losses.values import axis_of_time


def objective_of(
    graph: Graph, terms: LossTerms, balance: Balance | None = None
) -> ExpressionObjective:
    """Make the objective of a loss.

    Args:
        graph: the model.
        terms: of the loss, as `typed_losses` checks them.
        balance: adaptive weights of the terms.
    """
    return ExpressionObjective(terms, domain_facts(graph), balance, _preparation(graph, terms))


def metrics_of(graph: Graph, metrics: Mapping[str, LossTerms]) -> MetricExpressions | None:
    """Make the metrics of a run; None where it has none but the usual ones."""
    if not metrics:
        return None
    flat = tuple(y for x in metrics.values() for y in x)
    return MetricExpressions(metrics, domain_facts(graph), _preparation(graph, flat))


def metrics_of_run(folder: Path, graph: Graph, settings: Settings) -> MetricExpressions | None:
    """Make the metrics of a trained run, whose program is in its folder.

    Raises:
        OpError: OP0700 to OP0708, a metric does not suit the program.
    """
    if not settings.eval.metrics:
        return None
    source, _ = read(folder / PROGRAM)
    return metrics_of(graph, typed_losses(graph, settings, parse(source)[0], folder).metrics)


def domain_facts(graph: Graph) -> dict[str, DomainFacts]:
    """Return what losses need to know of each domain of inputs and outputs, by label."""
    domains = {x.space.domain.label: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    return {k: _facts(x, graph) for k, x in domains.items()}


def _facts(domain: Domain, graph: Graph) -> DomainFacts:
    outputs = tuple(x.name for x in graph.outputs if x.space.domain == domain)
    if domain.regular and domain.dims:
        grid, time = grid_of(domain), axis_of_time(domain)
        space = tuple(i for i in range(domain.dims) if i != time)
        calculus = partial(_grid_calculus, grid, None if time is None else space)
        starts = tuple(a.lo for a in domain.axes)
        return DomainFacts(grid, starts, calculus, outputs, time)
    if domain.kind == "sphere":
        rule = domain.sampling or "equiangular"
        return DomainFacts(calculus=partial(_sphere_calculus, rule), outputs=outputs)
    if domain.scattered:
        return DomainFacts(calculus=partial(_point_calculus, domain.name, outputs), outputs=outputs)
    return DomainFacts(outputs=outputs)


def grid_of(domain: Domain) -> GridAxes:
    """Return the axes of a regular grid, also of a product of grids."""
    lengths = tuple(a.hi - a.lo for a in domain.axes)
    pairs = zip(domain.axes, domain.periodic, strict=True)
    ends = tuple(None if periodic else a.ends for a, periodic in pairs)
    return GridAxes(domain.periodic, lengths, domain.samplings, ends)


def _grid_calculus(
    grid: GridAxes, space: tuple[int, ...] | None, functions: BatchFunctions, order: DerivativeOrder
) -> Calculus:
    del functions
    return GridCalculus(grid, order, space)


def _sphere_calculus(rule: str, functions: BatchFunctions, order: DerivativeOrder) -> Calculus:
    del functions, order
    return SphereCalculus(rule)


def _point_calculus(
    domain: str, outputs: tuple[str, ...], functions: BatchFunctions, order: DerivativeOrder
) -> Calculus:
    del order
    x = functions.batch
    placed = x.batch.places.get(domain, ())
    count = count_samples(x.batch.inputs, x.batch.places)
    geometries = placed * count if len(placed) == 1 else placed
    weights = next((w for k in outputs if (w := x.batch.weights.get(k)) is not None), None)
    packed = any(isinstance(x.outputs[k], Packed) for k in outputs)
    values: Tensor | None = weights.values if isinstance(weights, Packed) else weights
    return PointCalculus(tuple(g.points for g in geometries), values, packed)


def _preparation(graph: Graph, terms: LossTerms) -> Prepare | None:
    """Return what makes the coordinates of points leaves of the gradient, where losses need it."""
    points = {
        x.space.domain.label: x.space.domain.name for x in graph.outputs if x.space.domain.scattered
    }
    used = {
        node.domain
        for term in terms
        for function in (term.error.value, term.error.target, *term.error.functions.values())
        for node in operators(function)
        if node.name not in {"mean", "integrate", "dt"}
    }
    names = frozenset(points[k] for k in used if k in points)
    return partial(_differentiable, names) if names else None


def _differentiable(domains: frozenset[str], batch: Batch) -> Batch:
    return differentiable(batch, domains)
