"""A run whose program, settings and samples are ready: it is trained, measured and reported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule
from opdsl.lower.plan.timings import FOLDER as TIMINGS
from opdsl.lower.plan.timings import Timings, users_folder
from opdsl.parallel.agreement import first_does
from opdsl.parallel.finishing import first_finishes
from opdsl.parallel.mesh import ALONE, ProcessMesh
from opdsl.parallel.processes import current
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.config.symmetries import Symmetry
from opdsl.train.engine.callbacks import Callback
from opdsl.train.engine.fit import FitResult, FrozenPart, fit
from opdsl.train.engine.randomness import seed_everything
from opdsl.train.run.folder import CHECKPOINTS
from opdsl.train.run.listener import Listener
from opdsl.train.run.log_thread import log_threads
from opdsl.train.run.trained import load_trained
from opdsl.workflow.errors import Warn
from opdsl.workflow.folder.reading import read_about
from opdsl.workflow.folder.writing import (
    versions,
    write_about,
    write_weights,
)
from opdsl.workflow.losses.run_losses import RunLosses
from opdsl.workflow.programs.patches import module_of
from opdsl.workflow.programs.program import Program
from opdsl.workflow.report.run_report import make_report, selection
from opdsl.workflow.runs.evaluation import (
    evaluate_sets,
    grid_axes,
    latitude_samplings,
)
from opdsl.workflow.runs.interpolation_warning import interpolation_warnings
from opdsl.workflow.training.checks.transforms import axis_rules
from opdsl.workflow.training.memory_plan import memory_planner
from opdsl.workflow.training.processes import compute_alone, divide_grids
from opdsl.workflow.training.sample_sets import RunSamples
from opdsl.workflow.training.summary import TrainingSummary, summary_of


def seeded_module(program: Program, resolved: ResolvedSettings) -> OperatorModule:
    """Build the module of a program with the first weights of its seed."""
    seed_everything(resolved.settings.seed)
    module = module_of(program.graph, resolved.settings)
    module.node_precision = resolved.settings.node_precision.of(x.path for x in module.graph.nodes)
    return module


@dataclass(frozen=True, slots=True)
class ReadyRun:
    """A run that is ready to be trained; `frozen` is the prediction that a band surrounds."""

    program: Program
    resolved: ResolvedSettings
    run: Path
    module: OperatorModule
    sets: RunSamples
    frozen: FrozenPart | None
    symmetries: tuple[Symmetry, ...]
    losses: RunLosses
    warn: Warn
    callbacks: tuple[Callback, ...] = ()
    mesh: ProcessMesh = ALONE

    def train(self, listener: Listener, *, resume: bool) -> TrainingSummary:
        """Train the module, measure its errors and write the report.

        Raises:
            OpError: as for `begin_run`.
            Interrupted: a signal came.
        """
        graph, settings, mesh = self.program.graph, self.resolved.settings, self.mesh
        if mesh.writes:
            _autotune(self.module, self.run, wanted=settings.autotune)
        divide_grids(self.module, graph, settings, mesh, self.sets.division.train)
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
            meta=meta_of(graph),
            resume=resume,
            listener=listener,
            loop=self.sets.loop,
            frozen=self.frozen,
            choice=self.sets.division.choice,
            symmetries=self.symmetries,
            callbacks=(*self.callbacks, *log_threads(settings.log)),
            objective=None if self.frozen else self.losses.objective,
            expressions=self.losses.metrics,
            mesh=mesh,
            plan_memory=memory_planner(self.module, settings),
        )
        if mesh.world == 1:
            return self.finish(outcome)
        finish, processes = partial(self.finish_alone, outcome), current()
        if processes is None:  # the user has initialised torch's group
            return first_does(mesh, finish)
        summary = first_finishes(processes, finish)
        return summary_of(self.run, read_about(self.run)) if summary is None else summary

    def finish_alone(self, outcome: FitResult) -> TrainingSummary:
        """Finish in the first process, on a module that is not divided among processes."""
        compute_alone(self.module)
        if self.resolved.settings.parallel.strategy == "ddp":
            return self.finish(outcome)
        weight = next(self.module.parameters())
        module = seeded_module(self.program, self.resolved).to(weight.device, weight.dtype)
        return replace(self, module=module).finish(outcome)

    def finish(self, outcome: FitResult) -> TrainingSummary:
        """Measure the best weights, write the report, and last the mark of a finished run."""
        graph, settings, run = self.program.graph, self.resolved.settings, self.run
        best = load_trained(run, self.module)
        write_weights(run, self.module, best.normaliser)
        sets = self.sets.to_measure()
        trained = self.sets.division.train.resolution
        errors = {
            split: evaluate_sets(
                self.module,
                best.normaliser,
                graph,
                some,
                settings,
                split,
                trained,
                self.losses.metrics,
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


def meta_of(graph: Graph) -> dict[str, str]:
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
