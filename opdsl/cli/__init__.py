"""The command line, `opdsl`: one file for each command, which calls `opdsl.workflow` and prints.

Results go to stdout, progress and errors to stderr. Nothing heavy is imported before a command
needs it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NamedTuple, TextIO, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from opdsl.cli.console import result
from opdsl.cli.error_handling import guard
from opdsl.version import VERSION

__all__ = ["app", "main"]

GARBAGE = 100_000  # objects between two collections: while modules are imported there is no garbage


Command = Any  # one of click, which some versions of typer carry inside


class CommandGroup(NamedTuple):
    """Commands of one kind, as `opdsl data ...`."""

    help: str
    commands: Mapping[str, str | CommandGroup]


class _Generators(Mapping[str, str]):
    """The commands of generators, looked up when one is used."""

    def __getitem__(self, name: str) -> str:
        return self._commands()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._commands())

    def __len__(self) -> int:
        return len(self._commands())

    def _commands(self) -> Mapping[str, str]:
        from opdsl.cli.generate import GeneratorCommands

        return GeneratorCommands()


# functions, by their modules in this folder; only that of the command that is run is imported
COMMANDS: dict[str, str | CommandGroup] = {
    "new": "new.command",
    "init": "init.command",
    "check": "check.command",
    "fmt": "fmt.command",
    "explain": "explain.command",
    "summary": "summary.command",
    "render": "render.command",
    "show": "show.command",
    "diff": "diff.command",
    "fingerprint": "fingerprint.command",
    "ir": "ir.command",
    "schema": "schema.command",
    "compile": "compile.command",
    "export": "export.command",
    "train": "train.command",
    "launch": "launch.command",
    "sweep": "sweep.command",
    "runs": "runs.command",
    "evaluate": "evaluate.command",
    "predict": "predict.command",
    "compare": "compare.command",
    "adapt": "adapt.command",
    "calibrate": "calibrate.command",
    "compress": "compress.command",
    "publish": "publish.command",
    "import": CommandGroup(
        "Models of other libraries as programs.",
        {"neuralop": "import_.neuralop"},
    ),
    "data": CommandGroup(
        "Make data sets and look at them.",
        {
            "show": "data.show",
            "convert": "convert.command",
            "plot": "plot.command",
            "distance": "geometry.distance",
            "transport": "geometry.transport",
            "generate": CommandGroup(
                "Make data sets that check themselves.",
                _Generators(),
            ),
        },
    ),
}


def main() -> None:
    """Run the command of this process; never returns."""
    gc.set_threshold(GARBAGE)
    sys.stdout = _open(sys.stdout)
    sys.stderr = _open(sys.stderr)
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="opdsl")


def _open(stream: TextIO | None) -> TextIO:
    """Return a writable stream: /dev/null if closed, else one that escapes other characters."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _terminated(signum: int, _frame: FrameType | None) -> None:
    """Unwind as for Ctrl-C, so that half-written files are removed."""
    from opdsl.workflow.training.interrupt import Interrupted

    raise Interrupted(signum)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"opdsl {VERSION}")
        raise typer.Exit


# commands with a parser of their own, a class in their module
CLASSES = {"train": "TrainCommand"}


class _Commands(Mapping[str, Command]):
    """Commands by name, each imported and built when it is looked up."""

    def __init__(self, homes: Mapping[str, str | CommandGroup]) -> None:
        self.homes = homes
        self.built: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self.built:
            home = self.homes[name]
            self.built[name] = (
                _group(home) if isinstance(home, CommandGroup) else _command(name, home)
            )
        return self.built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.homes)

    def __len__(self) -> int:
        return len(self.homes)


def _command(name: str, home: str) -> Command:
    """Build the command of a function: `check.command` is in `opdsl/cli/check.py`."""
    folder, _, function = home.partition(".")
    module = import_module(f"{__name__}.{folder}")
    kind = getattr(module, CLASSES[name]) if name in CLASSES else None
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, cls=kind)(guard(getattr(module, function)))
    return get_command(single)


def _group(group: CommandGroup) -> Command:
    return get_command(_app(group, _nothing, add_completion=False))


def _nothing() -> None:
    """Run before each command of a group."""


def _app(group: CommandGroup, shared: Callable[..., None], *, add_completion: bool) -> typer.Typer:
    class Lazy(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes)
            self.commands = cast(dict[str, Command], _Commands(group.commands))

    return typer.Typer(
        cls=Lazy,
        help=group.help,
        callback=shared,
        no_args_is_help=True,
        add_completion=add_completion,
        rich_markup_mode=None,  # plain help: it is faster and reads the same in a pipe
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _opdsl(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Run before each command."""


app = _app(
    CommandGroup(
        "Neural operators as small, checked text files: check, draw, compile, train, judge.",
        COMMANDS,
    ),
    _opdsl,
    add_completion=True,
)
