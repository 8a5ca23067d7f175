"""The plan of a sweep: what each point trains, checked before the first one starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opdsl.compiler import GRAPH_SUFFIX
from opdsl.diagnostics import Diagnostic, OpError, Source, fault
from opdsl.files import read_json
from opdsl.ir.fingerprint import fingerprint
from opdsl.setting import Setting
from opdsl.train.config.settings import ResolvedSettings
from opdsl.workflow.check import read_source
from opdsl.workflow.datasets.reading.sources import Sources
from opdsl.workflow.errors import Warn, ignore, once
from opdsl.workflow.experiments.axes import OPTION, SweepAxis, axes_of
from opdsl.workflow.experiments.search import (
    DEFAULT_COUNT,
    SEARCHES,
    OptunaSearch,
    SweepValues,
    extreme_points,
    fixed_points,
    in_words,
)
from opdsl.workflow.output import write_file
from opdsl.workflow.programs.overrides import option, parse_set
from opdsl.workflow.programs.program import Program, open_program, resolve_settings

PLAN = "sweep.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What a sweep trains; `sweep.json` holds it.

    Attributes:
        program: the path of the program, or a name in brackets for a text.
        text: the text of the program.
        folder: where its imports are, and where its data may be.
        model: which model, where the program has several; None for the only one.
        sets, configs: as for `opdsl train`; of every point.
        options: settings of every point that override all others, (name, path, value) each.
        over: texts of the axes.
        search: `grid`, `random` or `optuna`.
        count: how many points; None for all of a grid.
        seeds: how often each point is trained, each time with another seed.
        seed: of the search.
        points: of a grid and a random search; empty for Optuna, which proposes them.
    """

    program: str
    text: str
    folder: str
    model: str | None = None
    sets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ()
    options: tuple[tuple[str, tuple[str, ...], Any], ...] = ()
    over: tuple[str, ...] = ()
    search: str = "grid"
    count: int | None = None
    seeds: int = 1
    seed: int = 0
    points: tuple[SweepValues, ...] = ()
    keys: tuple[str, ...] = field(default=(), compare=False)

    @property
    def axes(self) -> list[SweepAxis]:
        """The axes."""
        return axes_of(self.over)

    @property
    def total(self) -> int:
        """How many points there will be."""
        return len(self.points) or self.count or DEFAULT_COUNT

    def open(self, values: Mapping[str, str], warn: Warn = ignore) -> Program:
        """Check the program of a point.

        Raises:
            OpError: everything that is wrong with the program or a value.
        """
        over = [parse_set(f"{k}={v}", OPTION) for k, v in values.items()]
        source = Source(self.program, self.text)
        folder = Path(self.folder)
        sets: list[str | Setting] = [*self.sets, *over]
        configs = list(self.configs)
        return open_program(source, folder, model=self.model, sets=sets, configs=configs, warn=warn)

    def settings(self, program: Program, seed: int | None = None) -> ResolvedSettings:
        """Resolve the settings of a point; `seed` is added to the seed that they say.

        Raises:
            OpError: OP0603, OP0604.
        """
        options = [option(name, tuple(path), value) for name, path, value in self.options]
        resolved = resolve_settings(program, options)
        if not seed:
            return resolved
        another = option("--seeds", ("seed",), resolved.settings.seed + seed)
        return resolve_settings(program, [*options, another])

    def to_json(self) -> dict[str, Any]:
        """Return the content of `sweep.json`."""
        names = type(self).__dataclass_fields__
        return {"format": FORMAT, **{x: getattr(self, x) for x in names}}

    def write(self, out: Path) -> None:
        """Write `sweep.json`.

        Raises:
            OpError: OP0625.
        """
        write_file(out / PLAN, json.dumps(self.to_json(), indent=1).encode())


def read_plan(out: Path) -> SweepPlan:
    """Read `sweep.json`.

    Raises:
        OpError: OP0744, the folder is no sweep.
    """
    try:
        return _plan_of(read_json(out / PLAN))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"this folder is not a sweep: `{PLAN}` cannot be read"
        helps = ("`opdsl sweep PROGRAM --over KEY=VALUES --out FOLDER` makes one",)
        notes = (" ".join(str(error).split())[:200],)
        raise fault("OP0744", message, notes=notes, helps=helps, file=str(out)) from error


def _plan_of(data: dict[str, Any]) -> SweepPlan:
    """Make the plan of `sweep.json`, which may come from a stranger.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: a value has another type.
    """
    if data.pop("format") != FORMAT:
        raise ValueError("it is of another format")
    tuples = {k: tuple(v) for k, v in data.items() if isinstance(v, list)}
    plan = SweepPlan(**(data | tuples))
    options = tuple((str(n), tuple(map(str, p)), v) for n, p, v in plan.options)
    texts = [plan.program, plan.text, plan.folder, *plan.sets, *plan.configs, *plan.over]
    texts += [x for point in plan.points for x in (*point, *point.values())]
    if not all(isinstance(x, str) for x in texts) or plan.search not in SEARCHES:
        raise ValueError("it has values of other types than a sweep writes")
    return replace(plan, options=options)


def source_of(path: str) -> tuple[str, str, str]:
    """Return the absolute path of a program, its text and its folder.

    Raises:
        OpError: OP0202, the file cannot be read.
    """
    source, folder = read_source(path)
    return str(Path(path).resolve()), source.text, str(folder.resolve())


# ------------------------------------------------------------------- checks before the first point


def checked_plan(plan: SweepPlan, sources: Sources | None = None, warn: Warn = ignore) -> SweepPlan:
    """Return the plan with its points, after checking each of them.

    Every program and its settings are checked; data are read, and the model is applied to one
    sample of each set, once for each model. Of Optuna, whose points are not known beforehand, every
    listed value and both ends of each range are checked.

    Raises:
        OpError: every mistake, once; OP0743 for axes without effect; OP0745, validation data that
            cannot choose.
    """
    warn = once(warn)
    if plan.program.endswith(GRAPH_SUFFIX) and any(_of_model(x.key) for x in plan.axes):
        message = "a graph has no parameters to vary"
        raise fault("OP0743", message, helps=("sweep over the program",), file=plan.program)
    if plan.search == "optuna":
        OptunaSearch(plan.axes, plan.seed)
        _check(plan, extreme_points(plan.axes), sources, warn)
        return plan
    points = fixed_points(plan.axes, plan.search, plan.count, plan.seed)
    keys = _check(plan, points, sources, warn)
    return replace(plan, points=tuple(points), keys=tuple(keys))


def _of_model(key: str) -> bool:
    return key.startswith("model.")


def _check(
    plan: SweepPlan, points: Sequence[SweepValues], sources: Sources | None, warn: Warn
) -> list[str]:
    """Check points; return the hash of what each of them trains."""
    faults: dict[str, Diagnostic] = {}
    runs: list[tuple[Program, ResolvedSettings]] = []
    for values in points:
        try:
            program = plan.open(values)
            runs.append((program, plan.settings(program)))
        except OpError as error:
            faults = {f"{x.code} {x.message}": x for x in error.diagnostics} | faults
    if faults:
        raise OpError(*faults.values())
    keys = [_hash(program, resolved) for program, resolved in runs]
    _refuse_equal(points, keys)
    _refuse_no_choice(runs)
    warn(runs[0][0].checked.diagnostics)
    _try_models(runs, sources or Sources(), warn)
    return keys


def _hash(program: Program, resolved: ResolvedSettings) -> str:
    rows = [fingerprint(program.graph), *map(repr, resolved.settings.rows())]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def _refuse_equal(points: Sequence[SweepValues], keys: Sequence[str]) -> None:
    """Raise OP0743 if two points train the same: an axis has no effect, or an option wins."""
    first: dict[str, SweepValues] = {}
    for values, key in zip(points, keys, strict=True):
        if key not in first:
            first[key] = values
            continue
        message = "two points of the sweep train the same model with the same settings"
        notes = (in_words(first[key]), in_words(values))
        helps = ("leave out the axis, or the option that overrides it",)
        raise fault("OP0743", message, notes=notes, helps=helps)


def _refuse_no_choice(runs: Iterable[tuple[Program, ResolvedSettings]]) -> None:
    for program, resolved in runs:
        data = resolved.settings.data
        name = program.source.name
        if data.path is None:
            message = f"nothing says which data `{program.graph.name}` shall learn from"
            raise fault("OP0602", message, helps=("name a file: `--data PATH`",), file=name)
        if data.valid in {"test", "none"}:
            kind = "the test data" if data.valid == "test" else "nothing"
            message = f"`data.valid = {data.valid}`: the sweep would choose by {kind}"
            helps = ("leave `data.valid` out, or give a part such as `--valid 0.1`",)
            notes = ("a sweep chooses by the error on validation data, and tests once",)
            raise fault("OP0745", message, notes=notes, helps=helps, file=name)


def _try_models(
    runs: Iterable[tuple[Program, ResolvedSettings]], sources: Sources, warn: Warn
) -> None:
    """Apply each different model to its data once."""
    from opdsl.workflow.training.execution import prepare_run

    tried: set[tuple[str, ...]] = set()
    faults: dict[str, Diagnostic] = {}
    for program, resolved in runs:
        data = json.dumps(resolved.settings.data.model_dump(), default=str)
        key = fingerprint(program.graph), data, str(resolved.settings.batch)
        if key in tried:
            continue
        tried.add(key)
        try:
            prepare_run(program, resolved, sources=sources, with_tests=False, warn=warn)
        except OpError as error:
            faults = {f"{x.code} {x.message}": x for x in error.diagnostics} | faults
    if faults:
        raise OpError(*faults.values())
