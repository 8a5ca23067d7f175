"""Measurements of a trained run: errors on data, a calibrated band, the report page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.data.derive.coarsen import Resolution
from opdsl.diagnostics import fault
from opdsl.train.config.changes import Change, read_changes
from opdsl.train.config.settings import resolve
from opdsl.train.metrics.evaluate import predict, steps_of
from opdsl.train.metrics.node_precision_errors import NodePrecisionErrors, node_precision_errors
from opdsl.train.metrics.precision_errors import computed_numbers
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.division import BY_TEST
from opdsl.workflow.datasets.end_conditions import end_warnings_of
from opdsl.workflow.datasets.held_out import (
    HeldOut,
    held_out_in,
    read_sets,
    tests_of,
    valid_of,
)
from opdsl.workflow.datasets.reading.in_memory import TrainingData, as_path, registered
from opdsl.workflow.datasets.reading.sources import TEST, Sources, in_memory, not_in_memory, on_disk
from opdsl.workflow.datasets.reading.streamed import AnySamples, loaded
from opdsl.workflow.errors import ArgumentError, Warn
from opdsl.workflow.folder.reading import own_settings
from opdsl.workflow.losses.objectives import metrics_of_run
from opdsl.workflow.report.run_report import make_report, selection
from opdsl.workflow.runs.bands import BandedModel
from opdsl.workflow.runs.calibration import CalibrationReport, write_calibration
from opdsl.workflow.runs.evaluation import Report, evaluate_sets
from opdsl.workflow.runs.interpolation import trained_resolution
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings
from opdsl.workflow.runs.rollout import loop_of
from opdsl.workflow.runs.splits import SPLITS

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.ir.graph import Graph
    from opdsl.train.config.schema import Settings
    from opdsl.workflow.runs.run import Run

SampleSets = tuple[list[HeldOut], Sources]


def evaluate_run(
    run: Run,
    data: TrainingData | Sequence[TrainingData] | None,
    resolutions: Sequence[Resolution],
    split: str | None,
    warn: Warn,
) -> Report:
    """Measure the errors of a run; see `Run.evaluate`."""
    graph, settings = run.graph, settings_here(run)
    if data is None:
        (held_out, part), sources = own_sets(run, split), Sources()
        resolutions = resolutions or settings.eval.resolutions
        usual = settings.data.resolution
    else:
        held_out, sources = given_sets(graph, data, split)
        part, usual = "test", None
    binding = binding_of(graph, settings, testing=True, warn=warn)
    sets = read_sets(held_out, resolutions, usual, binding, sources)
    warn(end_warnings_of(graph, sets.values()))
    module, normaliser = run.module, run.operator.normaliser
    trained = trained_resolution(run.about)
    expressions = metrics_of_run(run.folder, graph, settings)
    errors = evaluate_sets(module, normaliser, graph, sets, settings, part, trained, expressions)
    warn(interpolation_warnings(graph, [x.to_json() for x in errors], run.folder))
    if run.calibration:
        band = BandedModel(graph, module, normaliser, settings)
        errors = [
            replace(x, coverage=band.coverage(samples, run.calibration))
            for x, samples in zip(errors, sets.values(), strict=True)
        ]
    return Report(run.folder, run.epoch, tuple(errors))


def settings_here(run: Run) -> Settings:
    """Return the settings of a run for the device that it was opened on."""
    return run.settings.model_copy(update={"device": run.device})


def given_sets(
    graph: Graph, data: TrainingData | Sequence[TrainingData], split: str | None
) -> SampleSets:
    """Return where given data sets are; those in memory are registered under a label."""
    several = data if isinstance(data, list | tuple) else [data]
    held_out: list[HeldOut] = []
    memory = {}
    for i, x in enumerate(several):
        path = as_path(x)
        if path is not None:
            held_out.append(held_out_in(path, split))
            continue
        label = f"{TEST[:-1]}{i}>" if i else TEST
        memory[label] = registered(graph, x, label)
        held_out.append(HeldOut(label))
    return held_out, Sources(memory)


def own_sets(run: Run, split: str | None) -> tuple[list[HeldOut], str]:
    """Return the test data of the run, or its validation data without any, and the split.

    Args:
        run: a trained run.
        split: a part of a folder, after which the sets are called then.

    Raises:
        OpError: OP0610, the data are not there.
    """
    valid = valid_of(run.folder, run.about)
    tests = list(tests_of(run.folder, run.about))
    held_out, part = (tests, "test") if tests else ([valid] if valid else [], "valid")
    for x in held_out:
        if in_memory(x.path):
            raise not_in_memory(x.path)
    gone = [x.path for x in held_out if not on_disk(x.path)]
    if gone or not held_out:
        message = f"the {SPLITS[part]} data of the run are not there any more"
        message = message if held_out else "the run has neither test data nor validation data"
        helps = ("name others: `--data PATH`",)
        raise fault("OP0610", message, helps=helps, file=(gone or [str(run.folder)])[0])
    return [replace(x, split=split) if split else x for x in held_out], split or part


def node_errors_of(
    run: Run, data: TrainingData | Sequence[TrainingData] | None, split: str | None, warn: Warn
) -> tuple[str, list[NodePrecisionErrors]]:
    """Measure what each node of a run costs in a narrow precision, on a batch of samples.

    Returns:
        The samples in words, and the errors of each node, of outputs in physical units.

    Raises:
        OpError: OP0610 to OP0615, the data are not there or do not fit.
    """
    settings, graph = settings_here(run), run.graph
    (held_out, sources) = (
        (own_sets(run, split)[0], Sources()) if data is None else given_sets(graph, data, split)
    )
    usual = settings.data.resolution if data is None else None
    binding = binding_of(graph, settings, testing=True, warn=warn)
    samples = next(iter(read_sets(held_out[:1], (), usual, binding, sources).values()))
    few = loaded(samples.first(min(settings.batch, len(samples))))
    module, loop = deepcopy(run.module), loop_of(graph, settings.rollout)

    def outputs(named: Mapping[str, str]) -> Tensor:
        module.node_precision = named
        return computed_numbers(
            predict(
                module,
                run.operator.normaliser,
                few.inputs,
                device=run.device,
                loop=loop,
                steps=steps_of(few.outputs, loop),
                places=few.model_points,
            )
        )

    errors = node_precision_errors([x.node.path for x in module.steps], outputs)
    return f"{len(few)} samples of {samples.name}", errors


def calibrate_run(
    run: Run,
    data: TrainingData,
    *,
    test: TrainingData | Sequence[TrainingData] | None,
    alpha: float | None,
    delta: float,
    skip: int,
    samples: int | None,
    split: str | None,
    warn: Warn,
) -> CalibrationReport:
    """Calibrate the band of a run, and write `calibration.json`; see `Run.calibrate`."""
    for name, x in (("alpha", alpha), ("delta", delta)):
        if x is not None and not 0 < x < 1:
            raise ArgumentError(f"`{name} {x:g}`: a part is a number between 0 and 1")
    if run.settings.band.of is None:
        message = "the run has learnt no band, only a prediction"
        helps = ("train a width: `band { of = u width = w }`, and `opdsl train ... --from RUN`",)
        raise fault("OP0604", message, helps=helps, file=str(run.folder))
    settings = settings_here(run)
    band = BandedModel(run.graph, run.module, run.operator.normaliser, settings)
    binding = binding_of(run.graph, settings, warn=warn)
    (source,), sources = given_sets(run.graph, data, split)
    if split is None:
        source = replace(source, split=None)
    resolution = settings.data.resolution
    every = binding.read(sources, source.path, split=source.split, resolution=resolution)
    calibration_samples = _some(every, skip, samples, source.path)
    calibration = band.calibrate(calibration_samples, alpha, delta)
    if test is None:
        tests = tests_of(run.folder, run.about)
        held_out, sources = [x for x in tests if on_disk(x.path)], Sources()
    else:
        held_out, sources = given_sets(run.graph, test, None)
        held_out = [replace(x, split=None) for x in held_out]
    sets = read_sets(held_out, (), settings.data.resolution, binding, sources)
    coverage = {k: band.coverage(x, calibration) for k, x in sets.items()}
    path = write_calibration(run.folder, calibration, calibration_samples)
    return CalibrationReport(calibration, coverage, path)


def _some(samples: AnySamples, skip: int, count: int | None, path: str) -> AnySamples:
    if skip >= len(samples):
        message = f"`--skip {skip}` leaves out all {len(samples)} samples"
        raise fault("OP0613", message, helps=("lower it",), file=path)
    remaining = samples.last(len(samples) - skip)
    return remaining.first(count) if count else remaining


def write_report_of(
    run: Run, data: TrainingData | Sequence[TrainingData] | None, out: Path | None, warn: Warn
) -> Path:
    """Write the report page of a run anew; see `Run.report`."""
    settings = settings_here(run)
    if data is None:
        (held_out, _), sources = own_sets(run, None), Sources()
        resolutions: Sequence[int] = settings.eval.resolutions
    else:
        held_out, sources = given_sets(run.graph, data, None)
        resolutions = ()
    binding = binding_of(run.graph, settings, testing=True, warn=warn)
    sets = read_sets(held_out, resolutions, settings.data.resolution, binding, sources)
    metrics = run.metrics
    rows = [*({"split": "valid"} | x for x in metrics.valid)]
    rows += [{"split": "test"} | x for x in metrics.tests]
    end = {
        "epochs": len(metrics.history),
        "best_epoch": metrics.best_epoch,
        "valid": metrics.valid,
        "tests": metrics.tests,
    }
    return make_report(
        run.graph,
        resolve(own_settings(run.folder, run.about)),
        run.folder,
        run.module,
        run.operator.normaliser,
        sets,
        metrics.history,
        rows,
        selection=selection(_choice(run.about), end),
        changes=_changes(run),
        out=out,
    )


def _choice(about: Mapping[str, Any]) -> str:
    return str(about.get("data", {}).get("choice", BY_TEST))


def _changes(run: Run) -> Sequence[Change]:
    return read_changes(run.folder)
