"""A run from its data to its report: new, or resumed after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.plan.timings import FOLDER as TIMINGS
from opdsl.lower.plan.timings import Timings, users_folder
from opdsl.nn.points.batch import all_values, as_call_argument
from opdsl.summary.memory_check import refuse_too_large, sizes_at, step_bytes
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.device import device_of
from opdsl.train.engine.fit import FitResult, FrozenPart, fit
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.randomness import seed_everything
from opdsl.train.engine.rollout import Rollout
from opdsl.train.engine.train_state import refuse_other
from opdsl.train.engine.warm_start import warm_start
from opdsl.train.engine.weight_paths import refuse_unknown_paths
from opdsl.train.optimizers import OPTIMIZERS
from opdsl.train.run.folder import CHECKPOINTS, lock, refuse_used
from opdsl.train.run.listener import Listener
from opdsl.train.run.trained import load_trained
from opdsl.workflow.datasets.binding import binding_of
from opdsl.workflow.datasets.division import BY_TEST, Division, divide
from opdsl.workflow.datasets.end_conditions import end_warnings_of
from opdsl.workflow.datasets.held_out import read_sets
from opdsl.workflow.datasets.reading.sources import Sources, located, parts_of
from opdsl.workflow.datasets.reading.streamed import AnySamples, head_of
from opdsl.workflow.errors import ArgumentError, Warn, ignore, once
from opdsl.workflow.folder.reading import SETTINGS, read_about
from opdsl.workflow.folder.writing import (
    about_data,
    settings_text,
    versions,
    write_about,
    write_beginning,
    write_weights,
)
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.program import Program
from opdsl.workflow.programs.symmetries import declared_symmetries
from opdsl.workflow.programs.transforms import refuse_bad_transforms
from opdsl.workflow.runs.bands import frozen_prediction, frozen_prediction_of, refuse_bad_band
from opdsl.workflow.runs.evaluation import (
    evaluate_sets,
    grid_axes,
    latitude_samplings,
)
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings
from opdsl.workflow.runs.report import make_report, selection
from opdsl.workflow.runs.rollout import loop_of
from opdsl.workflow.training.mask_checks import refuse_masked_functions
from opdsl.workflow.training.resuming import ResumableRun
from opdsl.workflow.training.summary import START, TrainingSummary, first_weights, summary_of
from opdsl.workflow.training.symmetry_checks import refuse_bad_sizes, symmetry_warnings
from opdsl.workflow.training.transform_checks import axis_rules, refuse_unmapped


def begin_run(
    program: Program,
    resolved: ResolvedSettings,
    run: Path,
    *,
    listener: Listener,
    source: Path | None = None,
    sources: Sources | None = None,
    warn: Warn = ignore,
) -> TrainingSummary:
    """Train a new run, measure its errors and write its report.

    Args:
        program: what to train.
        resolved: the settings, with a `data.path`.
        run: the folder, which is empty or does not exist.
        listener: receives the progress.
        source: the folder of a run with whose weights to begin.
        sources: data sets in memory.
        warn: receives warnings about the data.

    Raises:
        OpError: everything that can be wrong with data, settings, folder and machine.
        Interrupted: a signal came.
    """
    refuse_used(run)
    symmetries = declared_symmetries(program.graph, resolved)
    refuse_bad_transforms(program.graph, resolved.settings, symmetries)
    sets = _Sets.read(program, resolved.settings, sources or Sources(), warn)
    refuse_bad_sizes(symmetries, sets.division.train)
    refuse_masked_functions(
        resolved.settings, symmetries, sets.division.train, grid_axes(program.graph)
    )
    warn(tuple(symmetry_warnings(program.graph, symmetries, sets.division.train)))
    module = _seeded(program, resolved)
    refuse_unknown_paths(module, resolved.settings)
    start = warm_start(source, module) if source else None
    settings = resolved.settings
    frozen = frozen_prediction(program.graph, settings, start) if settings.band.of else None
    sets.try_(module)
    with lock(run):  # a run in progress must keep its program
        write_beginning(run, program, resolved, sets.division)
        if start:
            write_file(run / START, json.dumps(start.data(), indent=1).encode())
    training = _Training(program, resolved, run, module, sets, frozen, symmetries, warn)
    return training.train(listener, resume=False)


def resume_run(
    resumable: ResumableRun, *, listener: Listener, warn: Warn = ignore
) -> TrainingSummary:
    """Go on with a run, measure its errors and write its report. A finished run stays as it is.

    Raises:
        OpError: as for `begin_run`.
        Interrupted: a signal came.
    """
    program, resolved, run = resumable.program, resumable.resolved, resumable.run
    state = resumable.state
    if resumable.finished:
        return summary_of(run, resumable.about)
    settings = resolved.settings.model_copy(update={"data": resumable.data()})
    symmetries = declared_symmetries(program.graph, resolved)
    sets = _Sets.read(program, settings, resumable.sources, warn)
    resumable.refuse_other_division(sets.division)
    meta = _meta(program.graph)
    if state is not None:
        train, valid = sets.division.train, sets.valid
        refuse_other(state, meta, train.fingerprint, valid.fingerprint if valid else None, run)
    module = _seeded(program, resolved)
    band = resolved.settings.band.of
    frozen = None
    if state is None and (run / START).exists():
        start = warm_start(Path(first_weights(run)["run"]), module)
        frozen = frozen_prediction(program.graph, resolved.settings, start) if band else None
    elif state is not None and band:
        frozen = frozen_prediction_of(program.graph, resolved.settings, state)
    sets.try_(module)
    with lock(run):
        if resumable.changed:
            write_file(run / SETTINGS, settings_text(resolved).encode())
        write_about(run, _moved(resumable, sets.division) | {"finished": None})
    training = _Training(program, resolved, run, module, sets, frozen, symmetries, warn)
    return training.train(listener, resume=True)


def _moved(resumable: ResumableRun, division: Division) -> dict[str, Any]:
    """Update `opdsl.json` with the places where the data are now."""
    was, now = resumable.about["data"], about_data(division)
    keys = ("path", "tests", "valid") if "valid" in was else ("path", "tests")
    return resumable.about | {"data": was | {k: now[k] for k in keys}}


@dataclass(frozen=True, slots=True)
class _Sets:
    """The samples of a run.

    Attributes:
        tests: by name; where there are no test data, the validation data at the resolutions of
            `eval.resolutions`.
        split: what `tests` contains, `test` or `valid` data.
    """

    division: Division
    tests: dict[str, AnySamples]
    split: str
    loop: Rollout | None

    @classmethod
    def read(cls, program: Program, settings: Settings, sources: Sources, warn: Warn) -> _Sets:
        """Read the samples, after all checks that need no data."""
        graph, data, warn = program.graph, settings.data, once(warn)
        policy_of(settings.precision, device_of(settings.device))
        _refuse_too_large(graph, settings, program.folder, sources)
        loop = loop_of(graph, settings.rollout)
        refuse_bad_band(graph, settings)
        binding = binding_of(graph, settings, warn=warn)
        testing = binding_of(graph, settings, testing=True, warn=warn)
        division = divide(data, program.folder, binding, testing, sources)
        warn(end_warnings_of(graph, [division.train]))
        held_out, split = list(division.tests), "test"
        if not held_out and division.held_out and settings.eval.resolutions:
            held_out, split = [division.held_out], "valid"
        tests = read_sets(held_out, settings.eval.resolutions, data.resolution, testing, sources)
        valid = [division.valid] if division.valid is not None else []
        refuse_unmapped(settings, [*valid, *tests.values()])
        return cls(division, tests, split, loop)

    @property
    def valid(self) -> AnySamples | None:
        """The validation samples, which choose the best weights."""
        if self.division.choice == BY_TEST:
            return next(iter(self.tests.values()), None)
        return self.division.valid

    def try_(self, module: OperatorModule) -> None:
        """Apply the model to one sample of each set, so that errors come before the run."""
        valid = [self.division.valid] if self.division.valid is not None else []
        _try(module, [self.division.train, *valid, *self.tests.values()], self.loop)

    def to_measure(self) -> dict[str, dict[str, AnySamples]]:
        """Return the sets that are measured at the end, by split and by name."""
        valid = (
            {} if self.division.valid is None else {self.division.valid.name: self.division.valid}
        )
        if self.split == "valid":
            return {"valid": valid | self.tests, "test": {}}
        return {"valid": valid, "test": self.tests}


def _seeded(program: Program, resolved: ResolvedSettings) -> OperatorModule:
    seed_everything(resolved.settings.seed)
    return lower(program.graph)


@dataclass(frozen=True, slots=True)
class _Training:
    """A run that is ready to be trained; `frozen` is the prediction that a band surrounds."""

    program: Program
    resolved: ResolvedSettings
    run: Path
    module: OperatorModule
    sets: _Sets
    frozen: FrozenPart | None
    symmetries: tuple[Symmetry, ...]
    warn: Warn

    def train(self, listener: Listener, *, resume: bool) -> TrainingSummary:
        graph, settings = self.program.graph, self.resolved.settings
        _autotune(self.module, self.run, wanted=settings.autotune)
        seed_everything(settings.seed)
        outcome = fit(
            self.module,
            self.sets.division.train,
            self.sets.valid,
            settings,
            self.run,
            axes_of=grid_axes(graph),
            samplings=latitude_samplings(graph),
            rules=axis_rules(graph),
            meta=_meta(graph),
            resume=resume,
            listener=listener,
            loop=self.sets.loop,
            frozen=self.frozen,
            choice=self.sets.division.choice,
            symmetries=self.symmetries,
        )
        return self._finish(outcome)

    def _finish(self, outcome: FitResult) -> TrainingSummary:
        """Measure the best weights, write the report, and last the mark of a finished run."""
        graph, settings, run = self.program.graph, self.resolved.settings, self.run
        best = load_trained(run, self.module)
        write_weights(run, self.module, best.normaliser)
        sets = self.sets.to_measure()
        trained = self.sets.division.train.resolution
        errors = {
            split: evaluate_sets(
                self.module, best.normaliser, graph, some, settings, split, trained
            )
            for split, some in sets.items()
        }
        rows = {split: [x.to_json() for x in some] for split, some in errors.items()}
        self.warn(interpolation_warnings(graph, [*rows["valid"], *rows["test"]], run))
        end: dict[str, Any] = {
            "epochs": outcome.epochs,
            "step": outcome.steps,
            "skipped": outcome.skipped,
            "best_epoch": outcome.best_epoch,
            "valid": rows["valid"],
            "tests": rows["test"],
        }
        make_report(
            graph,
            self.resolved,
            run,
            self.module,
            best.normaliser,
            sets["test"] or sets["valid"],
            outcome.history,
            [*rows["valid"], *rows["test"]],
            selection=selection(self.sets.division.choice, end),
            changes=outcome.changes,
        )
        write_about(run, read_about(run) | {"finished": end})
        return summary_of(run, read_about(run), list(outcome.notes))


def _meta(graph: Graph) -> dict[str, str]:
    """Describe the program and the versions, for checkpoints."""
    ours = {k: v for k, v in versions().items() if k in {"opdsl", "torch"}}
    return {"arch": fingerprint(graph), "model": graph.name, **ours}


def _autotune(module: OperatorModule, run: Path, *, wanted: bool) -> None:
    """Measure kernels if the run did when it began, and store the times in its folder.

    A resumed run reads its own times again, whatever was measured in the meantime: another plan
    has other kernels, which round differently.
    """
    timings, is_resumed = run / TIMINGS, (run / CHECKPOINTS).is_dir()
    if timings.is_dir() if is_resumed else wanted:
        timings.mkdir(exist_ok=True)
        users = users_folder()
        module.autotune(Timings(timings, users) if users else Timings(timings))


def refuse_other_start(run: Path, source: Path) -> None:
    """Refuse to resume a run with other first weights than it began with.

    Raises:
        ArgumentError: `source` is not the run with whose weights it began.
    """
    if (
        first_weights(run).get("run") is None
        or Path(first_weights(run)["run"]).resolve() != source.resolve()
    ):
        message = f"`--from {source}`: a run that goes on has its weights; leave `--from` out"
        raise ArgumentError(message)


def _refuse_too_large(graph: Graph, settings: Settings, folder: Path, sources: Sources) -> None:
    """Raise OP0630 if the run needs too much memory, before data are read and weights are made."""
    data = settings.data
    assert data.path is not None
    path = located(data.path, folder)
    size = data.resolution if data.resample is None else data.resample
    if size is not None:
        dims = graph.inputs[0].space.domain.dims
        sizes = sizes_at(graph, (size,) * dims if isinstance(size, int) else tuple(size))
    else:
        data_map = binding_of(graph, settings).data_map
        part = "train" if "train" in (data_map.parts(path) or parts_of(path)) else None
        sample = sources.first(path, part, data_map)
        points = min((len(x[0]) for x in sample.places.values()), default=None)
        sizes = sizes_at(graph, sample.resolution, points)
    optimizer = OPTIMIZERS.find(settings.optimizer.kind)
    moments = optimizer.numbers(settings.optimizer) if optimizer else 0
    moments += settings.average.kind != "none"
    batch = settings.batch * (settings.rollout or 1)  # the gradient needs every step in time
    parts = step_bytes(graph, sizes, batch, settings.precision, moments)
    helps = ("lower `batch`", "train at a lower `data.resolution`")
    refuse_too_large(graph.name, parts, free=_free(settings.device), helps=helps)


def _free(name: str) -> int | None:
    """Return the free bytes of a CUDA device; None for this machine's own memory."""
    device = device_of(name)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _try(module: OperatorModule, sets: Sequence[AnySamples], loop: Rollout | None) -> None:
    """Call the model on one sample of each set."""
    module.eval()
    with torch.no_grad():
        for samples in sets:
            sample = head_of(samples).first(1)
            with_steps = {k for k, x in sample.inputs.items() if loop and loop.timed(k, x)}
            inputs = {
                k: all_values(x)[:, 0] if k in with_steps else x for k, x in sample.inputs.items()
            }
            module(**inputs, **{k: as_call_argument(x) for k, x in sample.model_points.items()})
    module.train()
