"""The errors of trained weights on sets of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

from torch import nn

from opdsl.ir.graph import Graph
from opdsl.ir.spaces import Domain
from opdsl.train.config.schema import Settings
from opdsl.train.losses.expressions.objective import MetricExpressions
from opdsl.train.metrics.calibrate import Coverage
from opdsl.train.metrics.error_sums import Metrics
from opdsl.train.metrics.evaluate import evaluate
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser
from opdsl.workflow.datasets.reading.streamed import AnySamples
from opdsl.workflow.runs.interpolation import (
    Interpolation,
    interpolated_heading,
    measure_interpolation,
    missing_interpolations,
)
from opdsl.workflow.runs.rollout import loop_of
from opdsl.workflow.runs.splits import SPLITS

COLUMNS = {"samples": "samples", "rel_l2": "rel. L2", "rmse": "RMSE", "max_error": "max error"}


@dataclass(frozen=True, slots=True)
class SetErrors:
    """The errors on one set of samples.

    Attributes:
        name: of the set, such as its resolution, `33x33`.
        split: which part of the data it is: `valid`, `test` or `train`.
        resolution: points on each axis of a grid.
        source: the file, or `<data>` for arrays.
        metrics: the errors in physical units.
        coverage: of the calibrated band, if the run has one.
        interpolation: the prediction at the resolution of training, interpolated, where this set
            is finer.
    """

    name: str
    split: str
    resolution: tuple[int, ...]
    source: str
    metrics: Metrics
    coverage: Coverage | None = None
    interpolation: Interpolation | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the errors as plain data; an error that is not finite is None."""
        row = {
            "set": self.name,
            "resolution": list(self.resolution),
            "data": self.source,
            **{k: _finite(v) for k, v in self.metrics.to_json().items()},
            "split": self.split,
        }
        row |= {"coverage": asdict(self.coverage)} if self.coverage else {}
        return row | (self.interpolation.to_json() if self.interpolation else {})


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """The errors of a run on several sets; `Run.evaluate` returns one.

    Attributes:
        folder: of the run.
        epoch: after which the weights were saved; None if no checkpoint says it.
        sets: the errors on each set.

    A notebook shows it as a table. See `Run.evaluate` for an example.
    """

    folder: Path
    epoch: int | None
    sets: tuple[SetErrors, ...]

    def __getitem__(self, name: str) -> Metrics:
        """Return the errors on the set of a name.

        Raises:
            KeyError: there is no such set.
        """
        return {x.name: x.metrics for x in self.sets}[name]

    def rows(self) -> list[dict[str, Any]]:
        """Return the errors on each set as plain data."""
        return [x.to_json() for x in self.sets]

    def to_json(self) -> dict[str, Any]:
        """Return the whole report as plain data, validation sets apart from the others."""
        valid = [x.to_json() for x in self.sets if x.split == "valid"]
        others = [x.to_json() for x in self.sets if x.split != "valid"]
        return {"run": str(self.folder), "epoch": self.epoch, "valid": valid, "tests": others}

    def __repr__(self) -> str:
        errors = ", ".join(f"{x.name} {x.metrics.rel_l2:.3g}" for x in self.sets[:3])
        remainder = f" and {len(self.sets) - 3} more" if len(self.sets) > 3 else ""
        return _short(f"<Report {self.folder}: relative L2 error at {errors}{remainder}>")

    def _repr_html_(self) -> str:
        rows = self.rows()
        heading = interpolated_heading(rows)
        heads = ("data", "set", *COLUMNS.values(), *([heading] if heading else []))
        head = "".join(f"<th>{x}</th>" for x in heads)
        body = "".join(f"<tr>{''.join(_cells(x)[: len(heads)])}</tr>" for x in self.sets)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return table + "".join(f"<p>{escape(x)}</p>" for x in missing_interpolations(rows))


def _cells(errors: SetErrors) -> list[str]:
    values = (getattr(errors.metrics, x) for x in COLUMNS)
    numbers = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in values]
    words = SPLITS.get(errors.split, errors.split), errors.name
    interpolated = errors.interpolation.rel_l2 if errors.interpolation else None
    last = "-" if interpolated is None else f"{interpolated:.4g}"
    return [f"<td>{escape(x)}</td>" for x in (*words, *numbers, last)]


def _short(text: str, most: int = 180) -> str:
    return text if len(text) <= most else f"{text[: most - 4]}...>"


def _finite(value: Any) -> Any:
    """Replace errors that are not finite by None, since JSON has no NaN."""
    if isinstance(value, list):
        return [_finite(x) for x in value]
    if isinstance(value, dict):
        return {k: _finite(x) for k, x in value.items()}
    return None if isinstance(value, float) and not isfinite(value) else value


def evaluate_sets(
    module: nn.Module,
    normaliser: Normaliser,
    graph: Graph,
    sets: Mapping[str, AnySamples],
    settings: Settings,
    split: str,
    trained: tuple[int, ...] | None,
    expressions: MetricExpressions | None = None,
) -> list[SetErrors]:
    """Measure the errors on each set; device, precision and batch are those of the settings.

    `trained` is the resolution of training, from which predictions are interpolated to finer sets;
    `expressions` are the metrics of `eval.metrics`.
    """
    return [
        SetErrors(
            samples.name,
            split,
            samples.resolution,
            samples.source,
            evaluate(
                module,
                normaliser,
                samples,
                axes_of=grid_axes(graph),
                samplings=latitude_samplings(graph),
                device=settings.device,
                precision=settings.precision,
                batch=settings.batch,
                loop=loop_of(graph, settings.rollout),
                band=settings.band if settings.band.of else None,
                expressions=expressions,
            ),
            interpolation=measure_interpolation(
                module, normaliser, graph, samples, settings, trained, grid_axes(graph)
            ),
        )
        for samples in sets.values()
    ]


def grid_axes(graph: Graph) -> dict[str, GridAxes]:
    """Return for each output the axes of its grid; none for points, which have no grid."""
    return {x.name: _axes(x.space.domain) for x in graph.outputs}


def _axes(domain: Domain) -> GridAxes:
    if domain.kind != "grid":
        return GridAxes((), ())
    lengths = tuple(a.hi - a.lo for a in domain.axes)
    pairs = zip(domain.axes, domain.periodic, strict=True)
    ends = tuple(None if periodic else a.ends for a, periodic in pairs)
    return GridAxes(domain.periodic, lengths, domain.samplings, ends)


def latitude_samplings(graph: Graph) -> dict[str, tuple[str | None, ...]]:
    """Return the rule that places latitudes, for each input and output with latitudes."""
    domains = {x.name: x.space.domain for x in (*graph.inputs, *graph.outputs)}
    return {k: _samplings(d) for k, d in domains.items() if any(_samplings(d))}


def _samplings(domain: Domain) -> tuple[str | None, ...]:
    """Return one entry for each axis; a sphere has latitudes and longitudes, in this order."""
    return tuple(
        x.sampling if x.kind == "sphere" and axis == 0 else None
        for x in domain.parts
        for axis in range(x.dims)
    )
