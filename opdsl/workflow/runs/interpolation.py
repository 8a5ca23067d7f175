"""Predictions at the resolution of training, interpolated, beside predictions on finer grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from opdsl.data.bind.samples import Samples
from opdsl.data.derive.coarsen import every_kth, layout_of, simplest, size_text
from opdsl.diagnostics import Diagnostic, Help, OpError
from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.ir.steps import Extend
from opdsl.nn.points.batch import all_values
from opdsl.train.config.schema import Settings
from opdsl.train.engine.normalise import Normaliser
from opdsl.train.metrics.interpolation import CoarseGrid, interpolated_error
from opdsl.train.metrics.norms import GridAxes

MARGIN = 0.99  # an interpolation that is less than 1 % better is no reason for a warning


@dataclass(frozen=True, slots=True)
class Interpolation:
    """The interpolated prediction of a resolution finer than that of training.

    Attributes:
        trained: the resolution of training, at which the model is applied.
        rel_l2: the relative L2 error after cubic interpolation; None if it was not measured.
        reason: why it was not measured.
    """

    trained: tuple[int, ...]
    rel_l2: float | None = None
    reason: str | None = None


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
    samples: Samples,
    settings: Settings,
    trained: tuple[int, ...] | None,
) -> Interpolation | None:
    """Measure the prediction at the resolution of training, interpolated to that of the samples.

    Returns:
        None if the samples are not finer than the training data, or the model has steps in time,
        or functions that are not on a regular grid.
    """
    dims = {x.name: x.space.domain.dims for x in (*graph.inputs, *graph.outputs)}
    domains = [x.space.domain for x in (*graph.inputs, *graph.outputs) if dims[x.name]]
    on_grids = all(x.regular for x in domains) and not samples.places
    if (
        trained is None
        or not domains
        or settings.rollout
        or not on_grids
        or not _finer(samples, trained)
    ):
        return None
    if len({(x.periodic, x.samplings) for x in domains}) > 1:
        return Interpolation(trained, reason="inputs and outputs have points in different places")
    functions = {k: x for k, x in (samples.inputs | samples.outputs).items() if dims[k]}
    if any(tuple(all_values(x).shape[2:]) != samples.resolution for x in functions.values()):
        return Interpolation(trained, reason="inputs and outputs have different resolutions")
    pairs = zip(domains[0].samplings, domains[0].periodic, strict=True)
    layout = simplest(tuple(layout_of(x, periodic=periodic) for x, periodic in pairs))
    try:
        kept = every_kth(samples.resolution, trained, layout)
    except OpError:
        names = size_text(samples.resolution), size_text(trained)
        reason = f"the {names[0]} points do not contain those of a {names[1]} grid"
        return Interpolation(trained, reason=reason)
    error = interpolated_error(
        module,
        normaliser,
        samples,
        CoarseGrid(trained, kept),
        {x.name: _axes(x.space.domain) for x in graph.outputs},
        device=settings.device,
        precision=settings.precision,
        batch=settings.batch,
    )
    return Interpolation(trained, error)


def _finer(samples: Samples, trained: tuple[int, ...]) -> bool:
    have = samples.resolution
    if len(have) != len(trained) or have == trained:
        return False
    return all(n >= m for n, m in zip(have, trained, strict=True))


def _axes(domain: Domain) -> GridAxes:
    return GridAxes(domain.periodic, tuple(x.hi - x.lo for x in domain.axes), domain.samplings)


def interpolation_warnings(
    graph: Graph, sets: Sequence[tuple[str, float, Interpolation | None]]
) -> list[Diagnostic]:
    """Warn where the interpolated prediction has a smaller error than the prediction itself.

    Args:
        graph: the model.
        sets: the name of each set, the relative L2 error of the model on it, the interpolation.

    Returns:
        At most one warning, OP0656, with the errors of all sets where that is so.
    """
    worse = [
        (name, own, x.rel_l2, size_text(x.trained))
        for name, own, x in sets
        if x is not None and x.rel_l2 is not None and x.rel_l2 < MARGIN * own
    ]
    if not worse:
        return []
    name, own, interpolated, trained = max(worse, key=lambda x: x[1] / max(x[2], 1e-300))
    message = f"at {name} the relative L2 error is {own:.4g}; the prediction at {trained}, the "
    message += f"resolution of training, interpolated by cubic splines has {interpolated:.4g}"
    others = [f"at {x[0]}: {x[1]:.4g}, interpolated {x[2]:.4g}" for x in worse if x[0] != name]
    return [
        Diagnostic(
            "OP0656",
            message,
            notes=(
                *others,
                "on the finer grid the model loses the accuracy of its own training resolution",
            ),
            helps=tuple(map(Help, _cures(graph, trained))),
            severity="warning",
        )
    ]


def _cures(graph: Graph, trained: str) -> list[str]:
    predict = f"predict at {trained} and interpolate"
    if not _has_fourier_between_ends(graph):
        return [predict]
    basis = "follow the boundary instead of a period that the domain does not have: replace "
    basis += "`FourierLayer` by `SpectralLayer` of `std.spectral`, or write "
    basis += "`spectral_conv(basis = auto)`"
    extended = any(isinstance(y, Extend) for x in graph.nodes for y in x.space.domain.steps)
    room = "or give Fourier layers room at the ends: `domain E = extend(D, fraction = 0.25)`, "
    room += "`pad(to = E)` before them and `crop(to = D)` after them"
    return [basis, *([] if extended else [room]), f"or {predict}"]


def _has_fourier_between_ends(graph: Graph) -> bool:
    """Return whether a Fourier layer acts on a model whose inputs have axes with ends."""
    ends = any(not all(x.space.domain.periodic) for x in graph.inputs)
    circles = (any(x.block.circles(*graph.arguments(x))) for x in graph.nodes)
    return ends and any(circles)
