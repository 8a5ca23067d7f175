"""Predictions at the resolution of training, interpolated, beside predictions on finer grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import nn

from opdsl.data.derive.coarsen import (
    PointLayout,
    every_kth,
    layout_of,
    layout_on,
    possible,
    sampling_of,
)
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import all_values
from opdsl.train.config.schema import Settings
from opdsl.train.metrics.interpolation import CoarseGrid, interpolated_errors
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.point_layouts import PLACES
from opdsl.workflow.datasets.reading.sources import in_memory
from opdsl.workflow.datasets.reading.streamed import AnySamples, head_of
from opdsl.workflow.runs.rollout import loop_of

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interpolation:
    """The interpolated prediction of a resolution finer than that of training.

    Attributes:
        trained: the resolution of training, at which the model is applied.
        rel_l2: the relative L2 error after cubic interpolation; None if it was not measured.
        rel_h1: the relative H1 error; None where an output has none, or it is not finite.
        reason: why nothing was measured.
    """

    trained: tuple[int, ...]
    rel_l2: float | None = None
    rel_h1: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the entries of a row of errors."""
        optional = {"interpolated_h1": self.rel_h1, "not_interpolated": self.reason}
        row = {"interpolated": self.rel_l2, "trained_resolution": list(self.trained)}
        return row | {k: x for k, x in optional.items() if x is not None}


def trained_resolution(about: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Read the resolution of the training data from `opdsl.json`; None if it names none."""
    data = about.get("data")
    sizes = data.get("resolution") if isinstance(data, dict) else None
    if not isinstance(sizes, list) or not sizes or not all(type(x) is int for x in sizes):
        return None
    return tuple(sizes)


def measure_interpolation(
    module: nn.Module,
    normaliser: Normaliser,
    graph: Graph,
    samples: AnySamples,
    settings: Settings,
    trained: tuple[int, ...] | None,
    axes_of: Mapping[str, GridAxes],
) -> Interpolation | None:
    """Measure the prediction at the resolution of training, interpolated to that of the samples.

    Args:
        module: with the weights.
        normaliser: of its values.
        graph: the model.
        samples: inputs and truth.
        settings: of the run.
        trained: the resolution of training.
        axes_of: for each output the axes of its grid.

    Returns:
        None if the samples are not finer than the training data; a reason if they are finer and
        cannot be compared.
    """
    domains = {x.name: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    domains = {k: x for k, x in domains.items() if x.dims}
    if trained is None or not domains or not _finer(samples.resolution, trained):
        return None
    if reason := _unlike_grids(domains, samples):
        return Interpolation(trained, reason=reason)
    layouts = {k: _layouts(x, samples, trained) for k, x in domains.items()}
    for name, domain in domains.items():
        if None in layouts[name]:
            return Interpolation(trained, reason=_gap(domain, layouts[name], samples, trained))
    knots = {_knots(x, samples.resolution, trained) for x in layouts.values()}
    if len(knots) > 1:
        return Interpolation(trained, reason="inputs and outputs have points in different places")
    errors = interpolated_errors(
        module,
        normaliser,
        samples,
        CoarseGrid(samples.resolution, knots.pop()),
        {k: _circular(x, layouts[k]) for k, x in domains.items()},
        axes_of=axes_of,
        device=settings.device,
        precision=settings.precision,
        batch=settings.batch,
        loop=loop_of(graph, settings.rollout),
    )
    if not isfinite(errors.rel_l2):
        return Interpolation(trained, reason="the error is not finite")
    h1 = errors.rel_h1
    return Interpolation(trained, errors.rel_l2, h1 if h1 is not None and isfinite(h1) else None)


def _finer(have: tuple[int, ...], trained: tuple[int, ...]) -> bool:
    if len(have) != len(trained) or have == trained:
        return False
    return all(n >= m for n, m in zip(have, trained, strict=True))


def _unlike_grids(domains: Mapping[str, Domain], samples: AnySamples) -> str | None:
    """Return why functions do not have one regular grid in common."""
    parts = [y for x in domains.values() for y in x.parts]
    if head_of(samples).places or any(x.scattered for x in parts):
        return "some functions are on points, between which splines do not interpolate"
    if not all(x.regular for x in domains.values()):
        return "functions on spheres are not interpolated by splines"
    head = head_of(samples)
    functions = head.inputs | head.outputs
    shapes = {k: tuple(all_values(functions[k]).shape) for k in domains if k in functions}
    if any(x[len(x) - domains[k].dims :] != samples.resolution for k, x in shapes.items()):
        return "inputs and outputs have different resolutions"
    return None


def _layouts(
    domain: Domain, samples: AnySamples, trained: tuple[int, ...]
) -> tuple[PointLayout | None, ...]:
    """Return where the points of each axis are; None where these contain no coarser grid."""
    sizes = zip(samples.resolution, trained, strict=True)
    return tuple(
        next((x for x in _candidates(domain, samples, i) if n == m or m in possible(n, x)), None)
        for i, (n, m) in enumerate(sizes)
    )


def _candidates(domain: Domain, samples: AnySamples, axis: int) -> tuple[PointLayout, ...]:
    """Return where the points of an axis may be, the most probable place first.

    A statement of the file comes first, then a declaration of the program. `periodic` also stands
    for an unknown layout, and arrays in memory state none.
    """
    rule = layout_on(samples.layout, axis)
    program = layout_of(domain.samplings[axis], periodic=domain.periodic[axis])
    if rule != "periodic" and not in_memory(samples.source):
        return (rule,)
    # where nothing declares it, `--resolutions` keeps every k-th point from the first one
    unknown = rule == "periodic" and domain.axes[axis].sampling is None
    return (program, rule) if unknown else (program,)


def _gap(
    domain: Domain,
    layouts: Sequence[PointLayout | None],
    samples: AnySamples,
    trained: tuple[int, ...],
) -> str:
    """Return the reason why the points of a grid do not contain those of a coarser one."""
    i = layouts.index(None)
    axis, n, m = domain.axes[i], samples.resolution[i], trained[i]
    candidates = _candidates(domain, samples, i)
    places = " or ".join(dict.fromkeys(PLACES[sampling_of(x)] for x in candidates))
    reason = f"the {n} points of `{axis.name}` ({places}) do not contain those of a grid of {m}"
    undeclared = axis.sampling is None and not axis.periodic and in_memory(samples.source)
    return reason + ("; `sampling` declares other places" if undeclared else "")


def _knots(
    layouts: Sequence[PointLayout | None], have: tuple[int, ...], trained: tuple[int, ...]
) -> tuple[range, ...]:
    """Return for each axis the indices of the coarse points among those of the finer grid."""
    knots = []
    for layout, n, m in zip(layouts, have, trained, strict=True):
        assert layout is not None
        (kept,) = every_kth((n,), (m,), layout) if n != m else (slice(None),)
        knots.append(range(n)[kept])
    return tuple(knots)


def _circular(domain: Domain, layouts: Sequence[PointLayout | None]) -> tuple[bool, ...]:
    """Return which axes are circles of n spacings: not those that have their seam as two points."""
    pairs = zip(domain.periodic, layouts, strict=True)
    return tuple(periodic and x not in {"node", "interior"} for periodic, x in pairs)


def interpolated_heading(rows: Sequence[Row]) -> str | None:
    """Return the heading of the errors after interpolation; None if no row has such an entry."""
    sizes = (x["trained_resolution"] for x in rows if "interpolated" in x)
    return next((f"interpolated from {extent_text(x)}" for x in sizes), None)


def missing_interpolations(rows: Sequence[Row]) -> list[str]:
    """Return why sets that are finer than the training data have no error after interpolation."""
    reasons = [(x["set"], x["not_interpolated"]) for x in rows if x.get("not_interpolated")]
    return list(dict.fromkeys(f"not interpolated to {name}: {reason}" for name, reason in reasons))


def extent_text(sizes: Sequence[int]) -> str:
    """Format a grid size as `33x33`, as in the names of sets."""
    return "x".join(map(str, sizes))
