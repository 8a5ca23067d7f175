"""Resuming a run with its own program, settings and data, and with changes that are allowed.

Changes that would make it a different run are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opdsl.compiler import GRAPH_SUFFIX, check
from opdsl.diagnostics import OpError, Source, fault
from opdsl.elaborate import models
from opdsl.elaborate.evaluate.values import show
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.setting import Setting
from opdsl.syntax.parser import parse
from opdsl.train.config.changes import (
    as_flat,
    differences,
    not_changed,
    refuse_fewer_epochs,
    refuse_fixed,
    setting_text,
)
from opdsl.train.config.data_section import NO_PATHS, Data
from opdsl.train.config.settings import ResolvedSettings, resolve
from opdsl.train.engine.rates import stopped
from opdsl.train.run.checkpoint import CheckpointStore, State, malformed
from opdsl.train.run.folder import WEIGHTS, refuse_links
from opdsl.workflow.check import read_source
from opdsl.workflow.datasets.division import Division
from opdsl.workflow.datasets.held_out import HeldOut, tests_of, valid_of
from opdsl.workflow.datasets.reading.sources import (
    Sources,
    absolute,
    in_memory,
    located,
    not_in_memory,
)
from opdsl.workflow.errors import Warn, ignore
from opdsl.workflow.folder.reading import PROGRAM, model_of, own_settings, read_about
from opdsl.workflow.folder.writing import REPORT
from opdsl.workflow.programs.overrides import MODEL, assignments, parameters, parse_set
from opdsl.workflow.programs.program import Program, open_program

PATHS = ("path", "test", "valid")  # settings of `data` that are paths


@dataclass(frozen=True, slots=True)
class ResumableRun:
    """A run that can be resumed, with the settings that it has from now on.

    Attributes:
        run: its folder.
        about: the content of its `opdsl.json`.
        program: its own.
        own: its settings up to now.
        resolved: its settings from now on.
        state: its newest checkpoint, if it has one.
        sources: data sets in memory.
    """

    run: Path
    about: dict[str, Any]
    program: Program
    own: ResolvedSettings
    resolved: ResolvedSettings
    state: State | None
    sources: Sources = field(default_factory=Sources)

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings that have another value from now on."""
        return differences(as_flat(self.own.settings), as_flat(self.resolved.settings))

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return int(self.state["progress"]["epoch"]) if self.state else 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained and the report is written."""
        if self.state is None:
            return False
        settings, waited = self.resolved.settings, self.state["progress"].get("stop_waited", 0)
        if self.epochs < settings.schedule.epochs and not stopped(settings, int(waited)):
            return False
        if "finished" in self.about:
            end = self.about["finished"]
            return isinstance(end, dict) and end.get("step") == self.state["step"]
        return all((self.run / x).exists() for x in (WEIGHTS, REPORT))  # of an earlier version

    def data(self) -> Data:
        """Return the data section with paths that lead to the files from here.

        Raises:
            OpError: OP0610, the training data are gone.
        """
        data, locations = self.resolved.settings.data, self.about["data"]
        paths: dict[str, Any] = {}
        if "data.path" not in self.changed:
            paths["path"] = self._training_file(locations["path"], data.path or "")
        held_out = valid_of(self.run, self.about)
        if held_out and isinstance(data.valid, str) and data.valid not in NO_PATHS:
            paths |= {} if "data.valid" in self.changed else {"valid": held_out.path}
        if data.test and "data.test" not in self.changed:
            paths["test"] = list(dict.fromkeys(x.path for x in tests_of(self.run, self.about)))
        return data.model_copy(update=paths)

    def _training_file(self, recorded: str, setting: str) -> str:
        """Return where the training data were, else where the setting leads from here."""
        for path in (recorded, located(setting, self.run)):
            if self.sources.exists(path):
                return path
        if in_memory(recorded):
            raise not_in_memory(recorded)
        message = "the training data of the run are not there any more"
        helps = ("say where they are now: `--data PATH`",)
        raise fault("OP0610", message, helps=helps, file=recorded)

    def refuse_other_division(self, division: Division) -> None:
        """Refuse data that are divided otherwise than those of the run.

        Raises:
            OpError: OP0626, validation data or the number of samples differ.
        """
        recorded, was = self.about["data"], valid_of(self.run, self.about)
        moved = {"data.path", "data.valid"} & self.changed.keys()
        now = division.held_out
        same_part = moved or "valid" not in recorded
        same = _same_part(was, now) if same_part else _resolved(was) == _resolved(now)
        if same and len(division.train) == recorded["samples"]:
            return
        message = "the data are not divided as when the run was begun: "
        message += f"{recorded['samples']} samples to learn from then, {len(division.train)} now"
        notes = (f"validation now: {division.choice}",)
        helps = ("put the files back as they were", "or begin another run: `--out FOLDER`")
        raise fault("OP0626", message, notes=notes, helps=helps, file=str(self.run))


def _resolved(held_out: HeldOut | None) -> HeldOut | None:
    return held_out and replace(held_out, path=absolute(held_out.path))


def _same_part(was: HeldOut | None, now: HeldOut | None) -> bool:
    """Compare parts of files that may have moved; earlier versions recorded none."""
    return was is None or (now is not None and replace(was, path="") == replace(now, path=""))


def resumable_run(
    run: Path,
    *,
    spec: tuple[Source, Path] | None = None,
    model: str | None = None,
    sets: Sequence[str] | None = None,
    configs: Sequence[str] | None = None,
    options: Sequence[Setting] = (),
    sources: Sources | None = None,
    warn: Warn = ignore,
) -> ResumableRun:
    """Read a run and the settings that it has from now on.

    Args:
        run: its folder.
        spec: the text and the folder of a program that has to be that of the run.
        model: the model of that program.
        sets: texts `KEY=VALUE`.
        configs: paths of settings files.
        options: settings that override all others.
        sources: data sets in memory.
        warn: receives the warnings of the program.

    Raises:
        OpError: OP0626, another program; OP0627, no run; OP0629, a setting that has to stay.
    """
    refuse_links(run)
    about = read_about(run)
    name = model_of(run, about)
    own_program = str(run / PROGRAM)
    graph = check(Path(own_program), model=name).sound()
    source, folder = read_source(own_program)
    program = open_program(source, folder, model=name, sets=sets, configs=configs, warn=warn)
    _refuse_other_parameters(graph, program.graph, run)
    if spec is not None:
        _refuse_other_program(*spec, model or name, graph, run)
    own = resolve(own_settings(run, about))
    new = [*assignments(program.overrides, program.names), *options]
    resolved = resolve(
        [*own_settings(run, about), *(x for x in new if not _same_place(x, own, about))]
    )
    refuse_fixed(as_flat(own.settings), as_flat(resolved.settings), run)
    # tensors that each process reads its part of later; a band needs all of them here
    state = CheckpointStore(run).load("step", values=resolved.settings.band.of is None)
    if state is not None:
        with malformed(run):
            counts = state["progress"]
            epoch, position, _ = int(counts["epoch"]), int(counts["position"]), int(state["step"])
        refuse_fewer_epochs(resolved.settings.schedule.epochs, epoch, position, run)
    return ResumableRun(run, about, program, own, resolved, state, sources or Sources())


def _same_place(setting: Setting, own: ResolvedSettings, about: Mapping[str, Any]) -> bool:
    """Return whether a path leads to the file that the run has already."""
    if setting.path[0] != "data" or setting.path[1:] not in {(x,) for x in PATHS}:
        return False
    key, locations = setting.path[1], about["data"]
    if getattr(own.settings.data, key) is None:
        return False
    held_out = locations.get("valid")
    recorded = {
        "path": [locations["path"]],
        "test": list(dict.fromkeys(x["path"] for x in locations["tests"])),
        "valid": [held_out["path"]] if held_out else [],
    }
    texts = setting.value if isinstance(setting.value, list) else [setting.value]
    return [absolute(str(x)) for x in texts] == recorded[key]


def _refuse_other_parameters(own: Graph, now: Graph, run: Path) -> None:
    """Raise OP0629 for each parameter of the model that has another value now."""
    errors = [
        not_changed(f"model.{k}", own.params[k], v, run, f"model.{k}={setting_text(v)}")
        for k, v in now.params.items()
        if own.params.get(k) != v
    ]
    if errors:
        raise OpError(*errors)


def model_in(source: Source, folder: Path) -> str:
    """Return the name of the one model of a program, or of a graph.

    Raises:
        OpError: OP0210, it has several.
    """
    declarations = () if source.name.endswith(GRAPH_SUFFIX) else models(parse(source)[0])
    names = [x.name.text for x in declarations]
    return names[0] if len(names) == 1 else check(source, folder=folder).sound().name


def _refuse_other_program(
    source: Source, folder: Path, model: str, graph: Graph, run: Path
) -> None:
    """Raise OP0626 unless a program, with the parameters of the run, is that of the run."""
    texts = {k: x if isinstance(x, str) else show(x) for k, x in graph.params.items()}  # type: ignore[arg-type]  # from a Value
    arguments = parameters([parse_set(f"{MODEL}.{k}={x}") for k, x in texts.items()], ())
    try:
        candidate = check(source, model=model, arguments=arguments, folder=folder).sound()
        same = fingerprint(candidate) == fingerprint(graph)
    except OpError as error:
        if error.diagnostics[0].code not in {"OP0207", "OP0210"}:
            raise
        same = False
    if not same:
        message = f"the run was begun with another program than `{source.name}`"
        helps = (
            f"go on with its own: `opdsl train --resume {run}`",
            "or train this one in another folder: `--out FOLDER`",
        )
        raise fault("OP0626", message, helps=helps, file=str(run))
