"""Programs without errors, with their parameters, and the settings of a run of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdsl.compiler import CheckResult, check, train_settings
from opdsl.diagnostics import OpError, Source
from opdsl.elaborate import Argument, models
from opdsl.ir.graph import Graph
from opdsl.setting import Setting
from opdsl.syntax.parser import parse
from opdsl.train.config.kinds import uses
from opdsl.train.config.settings import ResolvedSettings, resolve
from opdsl.workflow.errors import ArgumentError, Warn, ignore
from opdsl.workflow.programs.config import read_config
from opdsl.workflow.programs.overrides import (
    MODEL,
    OPTION,
    assignments,
    parameters,
    parse_set,
)

DATA = ("--data", "data")  # origins of a `data.path` that replaces the data of a train block
SETS = f"<{OPTION}>"  # the source of the values of `--set`


@dataclass(frozen=True, slots=True)
class Program:
    """A program without errors, with all values that were set from outside.

    Attributes:
        source: its text.
        folder: where its imports are, and where its data may be.
        checked: the graph, with warnings.
        arguments: values of parameters that were set from outside.
        overrides: all values that were set from outside, settings of a run among them.
    """

    source: Source
    folder: Path
    checked: CheckResult
    arguments: dict[str, Argument]
    overrides: tuple[Setting, ...] = ()

    @property
    def graph(self) -> Graph:
        """The graph of the model."""
        return self.checked.sound()

    @property
    def names(self) -> list[str]:
        """The names of all models in the program."""
        return [x.name.text for x in models(self.checked.file)]

    @property
    def origins(self) -> dict[str, str]:
        """The origin of each parameter that has a value from outside."""
        heads = {MODEL, *self.names}
        return {x.path[1]: x.origin for x in self.overrides if x.path[0] in heads}


def open_program(
    source: Source,
    folder: Path,
    *,
    model: str | None = None,
    sets: Sequence[str | Setting] | None = None,
    configs: Sequence[str] | None = None,
    warn: Warn = ignore,
) -> Program:
    """Check a program with the parameters that are set from outside.

    Args:
        source: the text.
        folder: where its imports are.
        model: which model, where the program has several.
        sets: texts `KEY=VALUE`, or settings.
        configs: paths of settings files.
        warn: receives the warnings.

    Raises:
        OpError: everything that is wrong with the program, a file or a value.
        ArgumentError: a text that is not `KEY=VALUE`.
    """
    overrides = [x for path in configs or () for x in read_config(path)]
    overrides += [parse_set(x) if isinstance(x, str) else x for x in sets or ()]
    names = [x.name.text for x in models(parse(source)[0])] if overrides else []
    arguments = parameters(overrides, names)
    check_result = check(source, model=model, arguments=arguments, folder=folder)
    check_result.sound()
    warn(check_result.diagnostics)
    return Program(source, folder, check_result, arguments, tuple(overrides))


def open_model(
    source: Source,
    folder: Path,
    *,
    model: str | None = None,
    sets: Sequence[str] | None = None,
    warn: Warn = ignore,
) -> Program:
    """Check a program whose `sets` may be parameters of the model only.

    Raises:
        ArgumentError: a setting of a run is among them.
        OpError: as for `open_program`.
    """
    program = open_program(source, folder, model=model, sets=sets, warn=warn)
    heads = {MODEL, *program.names}
    for x in program.overrides:
        if x.path[0] not in heads:
            name = ".".join(x.path)
            raise ArgumentError(
                f"`--set {name}`: only parameters of the model can be set here, "
                "as in `--set model.width=96`"
            )
    return program


def resolve_settings(program: Program, options: Iterable[Setting] = ()) -> ResolvedSettings:
    """Resolve the settings of a run: defaults, train block, settings files, `--set`, options.

    Raises:
        OpError: OP0603, an unknown setting; OP0604, a value that does not fit.
    """
    before = [*train_settings(program.checked), *assignments(program.overrides, program.names)]
    by_option = list(options)
    if any(x.origin in DATA for x in by_option):
        before = _without_other_data(before)
    try:
        return resolve([*before, *by_option])
    except OpError as error:  # an unknown section is one error, however many keys it has
        raise OpError(*dict.fromkeys(error.diagnostics)) from error


def _without_other_data(values: Sequence[Setting]) -> list[Setting]:
    """Leave out the settings about data that `--data` replaces.

    In a train block or a settings file with a `data.path`, the whole `data` section is about that
    file, and `eval.resolutions` about its test data. Without a path they apply to any data.
    """
    places = {x.span.source.name for x in values if x.path == ("data", "path") and x.span}
    return [
        x
        for x in values
        if not (x.span and x.span.source.name in places - {SETS})
        or not (x.path[0] == "data" or x.path == ("eval", "resolutions"))
    ]


def used_settings(resolved: ResolvedSettings) -> list[tuple[str, Any, str]]:
    """Return rows (key, value, origin) of the settings that have an effect on the run."""
    kinds = {k.partition(".")[0]: v for k, v, _ in resolved.explain() if k.endswith(".kind")}
    return [row for row in resolved.explain() if _has_effect(row[0], kinds)]


def _has_effect(key: str, kinds: Mapping[str, str]) -> bool:
    section, _, name = key.partition(".")
    return section not in kinds or uses(section, str(kinds[section]), name)


def train_block_exists(program: Program) -> bool:
    """Return whether the program has a train block for its model."""
    from opdsl.elaborate.bind.settings import train_block

    return train_block(program.checked.file, program.graph.name) is not None
