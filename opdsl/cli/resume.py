"""Resuming a run: its own program, settings and data, with the changes that were asked for.

Reads the run folder and the command line into a `Begun` run for `training.go_on`, and refuses
changes that would make it another run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opdsl.cli.console import UsageError
from opdsl.cli.datasets import Division, Held, located
from opdsl.cli.overrides import parameters, parse_set
from opdsl.cli.programs import Program, open_program
from opdsl.cli.run_folder import REPORT, latest_folder, tests_of, valid_of
from opdsl.compiler import GRAPH_SUFFIX, check
from opdsl.diagnostics import OpError, Source, fault
from opdsl.elaborate.program import models
from opdsl.elaborate.values import show
from opdsl.ir.fingerprint import fingerprint
from opdsl.ir.graph import Graph
from opdsl.syntax.parser import parse
from opdsl.train.config.changes import (
    as_flat,
    differences,
    not_changed,
    refuse_fewer_epochs,
    refuse_fixed,
    setting_text,
)
from opdsl.train.config.schema import NO_PATHS, Data
from opdsl.train.config.settings import Assignment, ResolvedSettings, resolve
from opdsl.train.run.checkpoint import CheckpointStore, State, malformed
from opdsl.train.run.folder import WEIGHTS, refuse_links
from opdsl.workflow.overrides import MODEL, assignments
from opdsl.workflow.run_folder import PROGRAM, model_of, own_settings, read_about

PATHS = ("path", "test", "valid")  # settings of `data` that are paths


@dataclass(frozen=True, slots=True)
class Begun:
    """A run to go on with.

    Attributes:
        about: the content of its `opdsl.json`.
        program: its own.
        own: its settings up to now.
        told: its settings from now on.
        state: its newest checkpoint, if it has one.
    """

    run: Path
    about: dict[str, Any]
    program: Program
    own: ResolvedSettings
    told: ResolvedSettings
    state: State | None

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings that are given another value now."""
        return differences(as_flat(self.own.settings), as_flat(self.told.settings))

    @property
    def epochs(self) -> int:
        """How many are finished."""
        return int(self.state["progress"]["epoch"]) if self.state else 0

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do, the report included."""
        if self.state is None or self.epochs < self.told.settings.schedule.epochs:
            return False
        if "finished" in self.about:
            end = self.about["finished"]
            return isinstance(end, dict) and end.get("step") == self.state["step"]
        return all((self.run / x).exists() for x in (WEIGHTS, REPORT))  # of an earlier version

    def data(self) -> Data:
        """The data section with paths that lead to the files from here.

        Raises:
            OpError: OP0610, the training data are gone.
        """
        data, where = self.told.settings.data, self.about["data"]
        paths: dict[str, Any] = {}
        if "data.path" not in self.changed:
            paths["path"] = _found(where["path"], data.path or "", self.run)
        held = valid_of(self.run, self.about)
        if held and isinstance(data.valid, str) and data.valid not in NO_PATHS:
            paths |= {} if "data.valid" in self.changed else {"valid": held.path}
        if data.test and "data.test" not in self.changed:
            paths["test"] = list(dict.fromkeys(x.path for x in tests_of(self.run, self.about)))
        return data.model_copy(update=paths)

    def refuse_other_division(self, division: Division) -> None:
        """OP0626 where validation data or the number of samples are not those of the run."""
        where, was = self.about["data"], valid_of(self.run, self.about)
        moved = {"data.path", "data.valid"} & self.changed.keys()
        now = division.held
        same = (
            _alike(was, now) if moved or "valid" not in where else _resolved(was) == _resolved(now)
        )
        if same and len(division.train) == where["samples"]:
            return
        message = "the data are not divided as when the run was begun: "
        message += f"{where['samples']} samples to learn from then, {len(division.train)} now"
        notes = (f"validation now: {division.choice}",)
        helps = ("put the files back as they were", "or begin another run: `--out FOLDER`")
        raise fault("OP0626", message, notes=notes, helps=helps, file=str(self.run))


def _found(recorded: str, said: str, run: Path) -> str:
    """The training file: where it was, else where the setting says, seen from here."""
    for path in (recorded, located(said, run)):
        if Path(path).exists():
            return path
    message = "the training data of the run are not there any more"
    raise fault("OP0610", message, helps=("say where they are now: `--data PATH`",), file=recorded)


def _resolved(held: Held | None) -> Held | None:
    return held and replace(held, path=str(Path(held.path).resolve()))


def _alike(was: Held | None, now: Held | None) -> bool:
    """Whether both are one part of a file that may have moved; earlier versions recorded none."""
    return was is None or (now is not None and replace(was, path="") == replace(now, path=""))


# ---------------------------------------------------------------------------- the request


def run_to_resume(named: str, out: Path | None, model: str | None) -> Path:
    """The folder of `--resume RUN`, of `--out RUN --resume`, or of the latest run.

    Args:
        named: the value of `--resume`; empty if it has none.
        out: the value of `--out`.
        model: whose latest run is meant; any if not given.

    Raises:
        UsageError: two folders are named.
        OpError: OP0627, there is no run.
    """
    if named and out is not None and Path(named).resolve() != out.resolve():
        raise UsageError(f"`--resume {named} --out {out}`: name one folder")
    return Path(named) if named else out if out is not None else latest_folder(model)


def begun(
    run: Path,
    *,
    spec: tuple[Source, Path] | None = None,
    model: str | None = None,
    sets: Sequence[str] | None = None,
    configs: Sequence[str] | None = None,
    options: Sequence[Assignment] = (),
) -> Begun:
    """The run with its own settings, but for those that are given explicitly.

    Args:
        spec: the text and the folder of a program that has to be that of the run.

    Raises:
        OpError: OP0626 another program, OP0627 no run, OP0629 a setting that has to stay.
    """
    refuse_links(run)
    about = read_about(run)
    name = model_of(run, about)
    own_program = str(run / PROGRAM)
    graph = check(Path(own_program), model=name).sound()
    program = open_program(own_program, model=name, sets=sets, configs=configs)
    _refuse_other_parameters(graph, program.graph, run)
    if spec is not None:
        _refuse_other_program(*spec, model or name, graph, run)
    own = resolve(own_settings(run, about))
    said = [*assignments(program.overrides, program.names), *options]
    told = resolve(
        [*own_settings(run, about), *(x for x in said if not _same_place(x, own, about))]
    )
    refuse_fixed(as_flat(own.settings), as_flat(told.settings), run)
    state = CheckpointStore(run).load("step")
    if state is not None:
        with malformed(run):
            at = state["progress"]
            epoch, position, _ = int(at["epoch"]), int(at["position"]), int(state["step"])
        refuse_fewer_epochs(told.settings.schedule.epochs, epoch, position, run)
    return Begun(run, about, program, own, told, state)


def _same_place(given: Assignment, own: ResolvedSettings, about: Mapping[str, Any]) -> bool:
    """Whether a path leads to the file that the run has already."""
    if given.path[0] != "data" or given.path[1:] not in {(x,) for x in PATHS}:
        return False
    key, where = given.path[1], about["data"]
    if getattr(own.settings.data, key) is None:
        return False
    held = where.get("valid")
    recorded = {
        "path": [where["path"]],
        "test": list(dict.fromkeys(x["path"] for x in where["tests"])),
        "valid": [held["path"]] if held else [],
    }
    texts = given.value if isinstance(given.value, list) else [given.value]
    return [str(Path(str(x)).resolve()) for x in texts] == recorded[key]


def _refuse_other_parameters(own: Graph, now: Graph, run: Path) -> None:
    """OP0629 for each parameter of the model that is given another value."""
    found = [
        not_changed(f"model.{k}", own.params[k], v, run, f"model.{k}={setting_text(v)}")
        for k, v in now.params.items()
        if own.params.get(k) != v
    ]
    if found:
        raise OpError(*found)


def model_in(source: Source, folder: Path) -> str:
    """The name of the one model of a program, or of a graph.

    Raises:
        OpError: OP0210, it has several.
    """
    known = () if source.name.endswith(GRAPH_SUFFIX) else models(parse(source)[0])
    names = [x.name.text for x in known]
    return names[0] if len(names) == 1 else check(source, folder=folder).sound().name


def _refuse_other_program(
    source: Source, folder: Path, model: str, graph: Graph, run: Path
) -> None:
    """OP0626 unless a program, with the parameters of the run, is that of the run."""
    texts = {k: x if isinstance(x, str) else show(x) for k, x in graph.params.items()}  # type: ignore[arg-type]  # from a Value
    given = parameters([parse_set(f"{MODEL}.{k}={x}") for k, x in texts.items()], ())
    try:
        other = check(source, model=model, given=given, folder=folder).sound()
        same = fingerprint(other) == fingerprint(graph)
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
