"""A run from its data to its report, after the command line has been understood.

What comes in: a sound program and its settings. What goes out: a run folder, and a summary as plain
data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from opdsl.cli.bands import frozen_part, frozen_part_of, refuse_bad_band
from opdsl.cli.console import UsageError
from opdsl.cli.datasets import (
    BY_TEST,
    Division,
    binding_of,
    divided,
    first_of,
    located,
    parts_of,
    read_tests,
)
from opdsl.cli.evaluate_tests import judge, lengths, periodic, samplings
from opdsl.cli.files import write
from opdsl.cli.programs import Program
from opdsl.cli.report import make_report, selection
from opdsl.cli.resume import Begun
from opdsl.cli.run_folder import (
    REPORT,
    about_data,
    settings_text,
    versions,
    write_about,
    write_beginning,
    write_weights,
)
from opdsl.data.bind.samples import Samples
from opdsl.files import read_json
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.plan.timings import FOLDER as TIMINGS
from opdsl.lower.plan.timings import Timings, users_folder
from opdsl.nn.points.batch import numbers, told_places
from opdsl.summary.memory_check import refuse_too_large, sizes_at, step_bytes
from opdsl.train.config.changes import read_changes
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import ResolvedSettings
from opdsl.train.engine.device import device_of
from opdsl.train.engine.fit import FitResult, FrozenPart, fit
from opdsl.train.engine.precision import policy_of
from opdsl.train.engine.randomness import seed_everything
from opdsl.train.engine.rollout import Rollout
from opdsl.train.engine.train_state import refuse_other
from opdsl.train.engine.warm_start import WarmStart, warm_start
from opdsl.train.run.folder import CHECKPOINTS, lock, refuse_used
from opdsl.train.run.listener import Listener
from opdsl.train.run.metrics_log import read_metrics, validation
from opdsl.train.run.trained import load_trained
from opdsl.workflow.rollout import loop_of
from opdsl.workflow.run_folder import SETTINGS, read_about

START = "start.json"  # in the folder of a run: which of its first weights were those of another


def train(
    program: Program,
    told: ResolvedSettings,
    run: Path,
    *,
    listener: Listener,
    source: Path | None = None,
) -> dict[str, Any]:
    """Train, from the weights of the run `source` if there is one; judge; write the report.

    Raises:
        OpError: everything that can be wrong with data, settings, folder and machine.
        Interrupted: a signal came.
    """
    refuse_used(run)
    sets = _Sets.read(program, told.settings)
    module = _seeded(program, told)
    start = warm_start(source, module) if source else None
    kept = frozen_part(program.graph, told.settings, start) if told.settings.band.of else None
    sets.try_(module)
    with lock(run):  # a run in progress must not lose its program to us
        write_beginning(run, program, told, sets.division)
        if start:
            write(run / START, json.dumps(start.data(), indent=1).encode())
    return _learnt(program, told, run, module, sets, kept, resume=False, listener=listener)


def go_on(begun: Begun, *, listener: Listener) -> dict[str, Any]:
    """Go on with a run; judge; write the report. A finished run stays as it is.

    Raises:
        OpError: as for `train`.
        Interrupted: a signal came.
    """
    program, told, run, state = begun.program, begun.told, begun.run, begun.state
    if begun.finished:
        return summary_of(run, begun.about)
    sets = _Sets.read(program, told.settings.model_copy(update={"data": begun.data()}))
    begun.refuse_other_division(sets.division)
    meta = _meta(program.graph)
    if state is not None:
        train, valid = sets.division.train, sets.valid
        refuse_other(state, meta, train.fingerprint, valid.fingerprint if valid else None, run)
    module = _seeded(program, told)
    kept = None
    if state is None and (run / START).exists():
        start = warm_start(Path(_start(run)["run"]), module)
        kept = frozen_part(program.graph, told.settings, start) if told.settings.band.of else None
    elif state is not None and told.settings.band.of:
        kept = frozen_part_of(program.graph, told.settings, state)
    sets.try_(module)
    with lock(run):
        if begun.changed:
            write(run / SETTINGS, settings_text(told).encode())
        write_about(run, _moved(begun, sets.division) | {"finished": None})
    return _learnt(program, told, run, module, sets, kept, resume=True, listener=listener)


def _moved(begun: Begun, division: Division) -> dict[str, Any]:
    """`opdsl.json` with the places where the data are now."""
    was, now = begun.about["data"], about_data(division)
    keys = ("path", "tests", "valid") if "valid" in was else ("path", "tests")
    return begun.about | {"data": was | {k: now[k] for k in keys}}


@dataclass(frozen=True, slots=True)
class _Sets:
    """The samples of a run.

    Attributes:
        tests: by name; where there are no test data, the validation data at the resolutions that
            are asked for.
        named: what these are, `test` or `valid`.
    """

    division: Division
    tests: dict[str, Samples]
    named: str
    loop: Rollout | None

    @classmethod
    def read(cls, program: Program, settings: Settings) -> _Sets:
        """Read them, after everything has been refused that can be refused before."""
        graph, data = program.graph, settings.data
        policy_of(settings.precision, device_of(settings.device))
        _refuse_too_large(graph, settings, program.folder)
        loop = loop_of(graph, settings.rollout)
        refuse_bad_band(graph, settings)
        binding, testing = binding_of(graph, settings), binding_of(graph, settings, testing=True)
        division = divided(data, program.folder, binding, testing)
        held, named = list(division.tests), "test"
        if not held and division.held and settings.eval.resolutions:
            held, named = [division.held], "valid"
        tests = read_tests(held, settings.eval.resolutions, data.resolution, testing)
        return cls(division, tests, named, loop)

    @property
    def valid(self) -> Samples | None:
        """The samples that choose the weights."""
        if self.division.choice == BY_TEST:
            return next(iter(self.tests.values()), None)
        return self.division.valid

    def try_(self, module: OperatorModule) -> None:
        """One sample of each set through the model: broken promises are told before the run."""
        valid = [self.division.valid] if self.division.valid is not None else []
        _try(module, [self.division.train, *valid, *self.tests.values()], self.loop)

    def judged(self) -> dict[str, dict[str, Samples]]:
        """The sets to be measured at the end, by what they are and by name."""
        valid = (
            {} if self.division.valid is None else {self.division.valid.name: self.division.valid}
        )
        if self.named == "valid":
            return {"valid": valid | self.tests, "test": {}}
        return {"valid": valid, "test": self.tests}


def _seeded(program: Program, told: ResolvedSettings) -> OperatorModule:
    seed_everything(told.settings.seed)
    return lower(program.graph)


def _learnt(
    program: Program,
    told: ResolvedSettings,
    run: Path,
    module: OperatorModule,
    sets: _Sets,
    kept: FrozenPart | None,
    *,
    resume: bool,
    listener: Listener,
) -> dict[str, Any]:
    graph, settings = program.graph, told.settings
    _autotune(module, run, wished=settings.autotune)
    seed_everything(settings.seed)
    outcome = fit(
        module,
        sets.division.train,
        sets.valid,
        settings,
        run,
        periodic=periodic(graph),
        lengths=lengths(graph),
        samplings=samplings(graph),
        meta=_meta(graph),
        resume=resume,
        listener=listener,
        loop=sets.loop,
        frozen=kept,
        choice=sets.division.choice,
    )
    return _finished(program, told, run, module, sets, outcome)


def _meta(graph: Graph) -> dict[str, str]:
    """What a checkpoint keeps of the program and of the versions."""
    ours = {k: v for k, v in versions().items() if k in {"opdsl", "torch"}}
    return {"arch": fingerprint(graph), "model": graph.name, **ours}


def _autotune(module: OperatorModule, run: Path, *, wished: bool) -> None:
    """Measure kernels, as the run began, and keep the times in its folder.

    A run that goes on makes the plans that it made, whatever else was measured meanwhile: another
    kernel rounds otherwise.
    """
    kept, begun = run / TIMINGS, (run / CHECKPOINTS).is_dir()
    if kept.is_dir() if begun else wished:
        kept.mkdir(exist_ok=True)
        users = users_folder()
        module.autotune(Timings(kept, users) if users else Timings(kept))


def refuse_other_start(run: Path, source: Path) -> None:
    """A run that goes on has begun already, with weights of another run or without.

    Raises:
        UsageError: `source` is not the run with whose weights it began.
    """
    if _start(run).get("run") is None or Path(_start(run)["run"]).resolve() != source.resolve():
        message = f"`--from {source}`: a run that goes on has its weights; leave `--from` out"
        raise UsageError(message)


def _start(run: Path) -> dict[str, Any]:
    """What the run took over at its beginning; empty if it began with weights of its own."""
    try:
        found: dict[str, Any] = read_json(run / START)
    except (OSError, ValueError):
        return {}
    return found


def _refuse_too_large(graph: Graph, settings: Settings, folder: Path) -> None:
    """OP0630 before the data are read and the weights are made."""
    data = settings.data
    assert data.path is not None
    path = located(data.path, folder)
    if data.resolution is not None:
        sizes = sizes_at(graph, (data.resolution,) * graph.inputs[0].space.domain.dims)
    else:
        one = first_of(path, "train" if "train" in parts_of(path) else None)
        points = min((len(x[0]) for x in one.places.values()), default=None)
        sizes = sizes_at(graph, one.resolution, points)
    kind = settings.optimizer.kind
    batch = settings.batch * (settings.rollout or 1)  # every step in time is kept for the gradient
    parts = step_bytes(graph, sizes, batch, settings.precision, kind)
    helps = ("lower `batch`", "train at a lower `data.resolution`")
    refuse_too_large(graph.name, parts, free=_free(settings.device), helps=helps)


def _free(name: str) -> int | None:
    """Bytes that are free on a CUDA device; None for this machine's own memory."""
    device = device_of(name)
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _try(module: OperatorModule, sets: Sequence[Samples], loop: Rollout | None) -> None:
    """One sample of each set through the model: what breaks its promises is told before the run."""
    module.eval()
    with torch.no_grad():
        for samples in sets:
            one = samples.first(1)
            timed = {k for k, x in one.inputs.items() if loop and loop.timed(k, x)}
            given = {k: numbers(x)[:, 0] if k in timed else x for k, x in one.inputs.items()}
            module(**given, **{k: told_places(x) for k, x in one.model_points.items()})
    module.train()


def _finished(
    program: Program,
    told: ResolvedSettings,
    run: Path,
    module: OperatorModule,
    sets: _Sets,
    outcome: FitResult,
) -> dict[str, Any]:
    """Judge the best weights and write what others read, last that the run is finished."""
    best = load_trained(run, module)
    write_weights(run, module, best.normaliser)
    judged = sets.judged()
    rows = {
        named: [
            x | {"split": named}
            for x in judge(module, best.normaliser, program.graph, found, told.settings)
        ]
        for named, found in judged.items()
    }
    end: dict[str, Any] = {
        "epochs": outcome.epochs,
        "step": outcome.steps,
        "skipped": outcome.skipped,
        "best_epoch": outcome.best_epoch,
        "valid": rows["valid"],
        "tests": rows["test"],
    }
    make_report(
        program.graph,
        told,
        run,
        module,
        best.normaliser,
        judged["test"] or judged["valid"],
        outcome.history,
        [*rows["valid"], *rows["test"]],
        selection=selection(sets.division.choice, end),
        changes=outcome.changes,
    )
    write_about(run, read_about(run) | {"finished": end})
    return summary_of(run, read_about(run)) | {"notes": list(outcome.notes)}


def summary_of(run: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a finished run, from what it has written."""
    history = read_metrics(run)
    end = about.get("finished") or _earlier_end(history)
    start = _start(run)
    return {
        "run": str(run),
        "report": str(run / REPORT),
        "epochs": end["epochs"],
        "steps": end["step"],
        "skipped": end["skipped"],
        "best_epoch": end["best_epoch"],
        "train_loss": history[-1]["train_loss"] if history else None,
        "choice": about["data"].get("choice", BY_TEST),
        "valid": end["valid"],
        "tests": end["tests"],
        "changes": [x.data() for x in read_changes(run)],
        "notes": [],
    } | ({"start": str(WarmStart(**start))} if start else {})


def _earlier_end(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The end of a run that an earlier version has finished, from its metrics."""
    scored = [(x.get("pinball", x["rel_l2"]), row) for row in history if (x := validation(row))]
    best = min(scored, key=lambda x: x[0], default=(None, {}))[1]
    tests = [{"set": k, **x, "split": "test"} for k, x in (best.get("tests") or {}).items()]
    return {
        "epochs": history[-1]["epoch"] if history else 0,
        "step": history[-1]["step"] if history else 0,
        "skipped": sum(x["skipped"] for x in history),
        "best_epoch": best.get("epoch"),
        "valid": [],
        "tests": tests,
    }
