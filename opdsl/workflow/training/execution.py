"""A run from its data to its report: new, or resumed after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from opdsl.lower.module import OperatorModule
from opdsl.parallel.agreement import all_do, first_does
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.callbacks import Callback, checked_callbacks
from opdsl.train.engine.fit import FrozenPart
from opdsl.train.engine.train_state import refuse_other
from opdsl.train.engine.warm_start import WarmStart, warm_start
from opdsl.train.engine.weights.paths import refuse_unknown_paths
from opdsl.train.loggers import refuse_missing
from opdsl.train.losses.objective.function import LossFunction
from opdsl.train.run.folder import lock, refuse_used
from opdsl.train.run.listener import Listener
from opdsl.workflow.datasets.division import Division
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.errors import ArgumentError, Warn, ignore
from opdsl.workflow.folder.reading import SETTINGS
from opdsl.workflow.folder.writing import (
    about_data,
    settings_text,
    write_about,
    write_beginning,
)
from opdsl.workflow.losses.run_losses import RunLosses, losses_of
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.program import Program
from opdsl.workflow.programs.symmetries import declared_symmetries
from opdsl.workflow.programs.transforms import refuse_bad_transforms
from opdsl.workflow.runs.bands import frozen_prediction, frozen_prediction_of
from opdsl.workflow.runs.evaluation import (
    grid_axes,
)
from opdsl.workflow.training.checks.masks import refuse_masked_functions
from opdsl.workflow.training.checks.symmetries import refuse_bad_sizes, symmetry_warnings
from opdsl.workflow.training.checks.truth import refuse_missing_truth
from opdsl.workflow.training.processes import (
    divide_grids,
    folder_of_first,
    mesh_of,
    refuse_disagreement,
)
from opdsl.workflow.training.ready_run import ReadyRun, meta_of, seeded_module
from opdsl.workflow.training.resuming import ResumableRun
from opdsl.workflow.training.sample_sets import RunSamples
from opdsl.workflow.training.summary import START, TrainingSummary, first_weights, summary_of


def begin_run(
    program: Program,
    resolved: ResolvedSettings,
    run: Path,
    *,
    listener: Listener,
    source: Path | None = None,
    sources: Sources | None = None,
    callbacks: Sequence[Callback] = (),
    with_tests: bool = True,
    warn: Warn = ignore,
    loss: LossFunction | None = None,
) -> TrainingSummary:
    """Train a new run, measure its errors and write its report.

    Args:
        program: what to train.
        resolved: the settings, with a `data.path`.
        run: the folder, which is empty or does not exist.
        listener: receives the progress.
        source: the folder of a run with whose weights to begin.
        sources: data sets in memory.
        callbacks: objects whose hooks the run calls.
        with_tests: whether to measure the errors on test data at the end.
        warn: receives warnings about the data.
        loss: a function of Python, where the setting `loss` is its name.

    Raises:
        OpError: everything that can be wrong with data, settings, folder and machine.
        Interrupted: a signal came.
    """
    mesh = mesh_of(program.graph, resolved.settings)
    run = folder_of_first(run, mesh)
    first_does(mesh, partial(refuse_used, run))
    hooks = checked_callbacks(callbacks)
    prepare = partial(
        prepare_run,
        program,
        resolved,
        source=source,
        sources=sources,
        with_tests=with_tests,
        warn=warn,
        loss=loss,
    )
    ready = all_do(mesh, prepare)
    _refuse_other_data(mesh, ready.sets)
    train = ready.sets.division.train
    divide_grids(ready.module, program.graph, resolved.settings, mesh, train)

    def write() -> None:
        with lock(run):  # a run in progress must keep its program
            write_beginning(run, program, resolved, ready.sets.division)
            if ready.start:
                write_file(run / START, json.dumps(ready.start.data(), indent=1).encode())

    first_does(mesh, write)
    training = ReadyRun(
        program,
        resolved,
        run,
        ready.module,
        ready.sets,
        ready.frozen,
        ready.symmetries,
        ready.losses,
        warn,
        hooks,
        mesh,
    )
    return training.train(listener, resume=False)


def _refuse_other_data(mesh: ProcessMesh, sets: RunSamples) -> None:
    """Refuse processes that have read different samples.

    Raises:
        OpError: OP0802.
    """
    if mesh.world > 1:
        valid = sets.division.valid
        refuse_disagreement(
            {
                "the training data": sets.division.train.fingerprint,
                "the validation data": "none" if valid is None else valid.fingerprint,
            }
        )


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """The parts of a new run that have passed all checks.

    Attributes:
        module: with its first weights, on the CPU.
        sets: the samples.
        symmetries: by which batches are transformed at random.
        start: the first weights that came from another run.
        frozen: the prediction that a band surrounds.
        losses: the loss and the metrics, where they are expressions or a function of Python.
    """

    module: OperatorModule
    sets: RunSamples
    symmetries: tuple[Symmetry, ...]
    start: WarmStart | None
    frozen: FrozenPart | None
    losses: RunLosses


def prepare_run(
    program: Program,
    resolved: ResolvedSettings,
    *,
    source: Path | None = None,
    sources: Sources | None = None,
    with_tests: bool = True,
    warn: Warn = ignore,
    loss: LossFunction | None = None,
) -> PreparedRun:
    """Check settings, data and model of a new run, and apply the model to a sample of each set.

    Args:
        program, resolved, source, sources, with_tests, warn, loss: as for `begin_run`.

    Raises:
        OpError: everything that can be wrong with data, settings and machine.
    """
    settings = resolved.settings
    refuse_missing(settings.log)
    losses = losses_of(program, settings, loss)
    refuse_missing_truth(program.graph, settings, losses)
    symmetries = declared_symmetries(program.graph, resolved)
    refuse_bad_transforms(program.graph, settings, symmetries)
    sets = RunSamples.read(program, settings, sources or Sources(), warn, with_tests=with_tests)
    train = sets.division.train
    refuse_bad_sizes(symmetries, train)
    refuse_masked_functions(settings, symmetries, train, grid_axes(program.graph), losses)
    warn(tuple(symmetry_warnings(program.graph, symmetries, train)))
    module = seeded_module(program, resolved)
    refuse_unknown_paths(module, settings)
    start = warm_start(source, module) if source else None
    frozen = frozen_prediction(program.graph, settings, start) if settings.band.of else None
    sets.try_(module)
    return PreparedRun(module, sets, symmetries, start, frozen, losses)


def resume_run(
    resumable: ResumableRun,
    *,
    listener: Listener,
    callbacks: Sequence[Callback] = (),
    with_tests: bool = True,
    warn: Warn = ignore,
    loss: LossFunction | None = None,
) -> TrainingSummary:
    """Go on with a run, measure its errors and write its report. A finished run stays as it is.

    Args:
        resumable: the run.
        listener, callbacks, with_tests, warn: as for `begin_run`.
        loss: the function of Python with which the run was begun, if it was.

    Raises:
        OpError: as for `begin_run`.
        Interrupted: a signal came.
    """
    program, resolved, run = resumable.program, resumable.resolved, resumable.run
    state = resumable.state
    callbacks = checked_callbacks(callbacks)
    if resumable.finished:
        return summary_of(run, resumable.about)
    mesh = mesh_of(program.graph, resolved.settings)
    losses = losses_of(program, resolved.settings, loss)
    refuse_missing(resolved.settings.log)
    settings = resolved.settings.model_copy(update={"data": resumable.data()})
    symmetries = declared_symmetries(program.graph, resolved)
    read = partial(
        RunSamples.read, program, settings, resumable.sources, warn, with_tests=with_tests
    )
    sets = all_do(mesh, read)
    _refuse_other_data(mesh, sets)
    resumable.refuse_other_division(sets.division)
    meta = meta_of(program.graph)
    if state is not None:
        train, valid = sets.division.train, sets.valid
        refuse_other(state, meta, train.fingerprint, valid.fingerprint if valid else None, run)
    module = seeded_module(program, resolved)
    band = resolved.settings.band.of
    frozen = None
    if state is None and (run / START).exists():
        start = warm_start(Path(first_weights(run)["run"]), module)
        frozen = frozen_prediction(program.graph, resolved.settings, start) if band else None
    elif state is not None and band:
        frozen = frozen_prediction_of(program.graph, resolved.settings, state)
    sets.try_(module)

    def write() -> None:
        with lock(run):
            if resumable.changed:
                write_file(run / SETTINGS, settings_text(resolved).encode())
            write_about(run, _moved(resumable, sets.division) | {"finished": None})

    first_does(mesh, write)
    training = ReadyRun(
        program,
        resolved,
        run,
        module,
        sets,
        frozen,
        symmetries,
        losses,
        warn,
        tuple(callbacks),
        mesh,
    )
    return training.train(listener, resume=True)


def _moved(resumable: ResumableRun, division: Division) -> dict[str, Any]:
    """Update `opdsl.json` with the places where the data are now."""
    was, now = resumable.about["data"], about_data(division)
    keys = ("path", "tests", "valid") if "valid" in was else ("path", "tests")
    return resumable.about | {"data": was | {k: now[k] for k in keys}}


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
