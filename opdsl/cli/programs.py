"""A program as commands get it: a path or stdin, what is set beside it, which of its models.

What comes in: arguments of the command line. What goes out: a `Checked` program, and the settings
of a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdsl.cli.console import UsageError, warn
from opdsl.cli.files import open_source
from opdsl.cli.overrides import OPTION, parameters, parse_set
from opdsl.cli.train_block import from_train_block
from opdsl.compiler import Checked, check
from opdsl.diagnostics import OpError, Source
from opdsl.elaborate.instance import Given
from opdsl.elaborate.program import models
from opdsl.ir.graph import Graph
from opdsl.syntax.parser import parse
from opdsl.train.config.schema import uses
from opdsl.train.config.settings import Assignment, ResolvedSettings, resolve
from opdsl.workflow.config import read_config
from opdsl.workflow.overrides import MODEL, Override, assignments

DATA = "--data"
SETS = f"<{OPTION}>"  # the source of what `--set` gives


@dataclass(frozen=True, slots=True)
class Program:
    """A sound program.

    Attributes:
        source: its text.
        folder: where it stands, and its imports and data may.
        checked: with warnings.
        given: parameters from outside; `origins` says by whom.
        overrides: everything given from outside.
    """

    source: Source
    folder: Path
    checked: Checked
    given: dict[str, Given]
    overrides: tuple[Override, ...]

    @property
    def graph(self) -> Graph:
        """The model."""
        return self.checked.sound()

    @property
    def names(self) -> list[str]:
        """Its models."""
        return [x.name.text for x in models(self.checked.file)]

    @property
    def origins(self) -> dict[str, str]:
        """Who gave the parameters that were given."""
        heads = {MODEL, *self.names}
        return {x.path[1]: x.origin for x in self.overrides if x.path[0] in heads}


def open_program(
    spec: str,
    *,
    model: str | None = None,
    sets: Sequence[str] | None = None,
    configs: Sequence[str] | None = None,
) -> Program:
    """The sound program; its warnings are told on stderr.

    Raises:
        OpError: everything that is wrong with it or with what is set beside it.
    """
    source, folder = open_source(spec)
    overrides = [x for path in configs or () for x in read_config(path)]
    overrides += [parse_set(x) for x in sets or ()]
    names = [x.name.text for x in models(parse(source)[0])] if overrides else []
    given = parameters(overrides, names)
    checked = check(source, model=model, given=given, folder=folder)
    checked.sound()
    warn(checked.diagnostics)
    return Program(source, folder, checked, given, tuple(overrides))


def open_model(spec: str, model: str | None, sets: Sequence[str] | None) -> Program:
    """The same for a command that knows parameters of the model only.

    Raises:
        UsageError: something else is set.
    """
    program = open_program(spec, model=model, sets=sets)
    heads = {MODEL, *program.names}
    for x in program.overrides:
        if x.path[0] not in heads:
            name = ".".join(x.path)
            raise UsageError(
                f"`--set {name}`: only parameters of the model can be set here, "
                "as in `--set model.width=96`"
            )
    return program


def resolved(program: Program, options: Iterable[Assignment] = ()) -> ResolvedSettings:
    """The settings of a run: defaults, then train block, settings files, `--set` and options.

    Raises:
        OpError: OP0603, OP0604.
    """
    before = [*from_train_block(program.checked), *assignments(program.overrides, program.names)]
    last = list(options)
    if any(x.origin == DATA for x in last):
        before = _without_other_data(before)
    try:
        return resolve([*before, *last])
    except OpError as error:  # one unknown section, however many keys it has
        raise OpError(*dict.fromkeys(error.diagnostics)) from error


def _without_other_data(given: Sequence[Assignment]) -> list[Assignment]:
    """The assignments without those about data that `--data` replaces.

    A train block or a settings file with a `data.path` speaks of that file in all its `data`
    section, and in `eval.resolutions` of its test files. One without a path speaks of any data.
    """
    places = {x.span.source.name for x in given if x.path == ("data", "path") and x.span}
    return [
        x
        for x in given
        if not (x.span and x.span.source.name in places - {SETS})
        or not (x.path[0] == "data" or x.path == ("eval", "resolutions"))
    ]


def used(told: ResolvedSettings) -> list[tuple[str, Any, str]]:
    """Rows (key, value, origin) of the settings that have an effect on this run."""
    kinds = {k.partition(".")[0]: v for k, v, _ in told.explain() if k.endswith(".kind")}
    return [row for row in told.explain() if _has_effect(row[0], kinds)]


def _has_effect(key: str, kinds: Mapping[str, str]) -> bool:
    section, _, name = key.partition(".")
    return section not in kinds or uses(section, str(kinds[section]), name)
