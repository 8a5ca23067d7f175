"""The command line, `opdsl`: one file for each command.

What comes in: arguments. What goes out: results on stdout, progress and errors on stderr, an exit
code of `diagnostics.Exit`. Nothing heavy is imported before a command needs it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, TextIO

import typer

from opdsl import __version__
from opdsl.cli import (
    calibrate,
    check,
    data,
    diff,
    evaluate,
    explain,
    export,
    fingerprint,
    fmt,
    geometry,
    import_,
    ir,
    new,
    predict,
    render,
    schema,
    shapes,
    show,
    summary,
    train,
)
from opdsl.cli import compile as compile_
from opdsl.cli.console import result
from opdsl.cli.guard import guard

__all__ = ["app", "main"]

GARBAGE = 100_000  # objects between two collections: while modules are imported there is no garbage

COMMANDS: dict[str, Callable[..., None]] = {
    "new": new.command,
    "check": check.command,
    "fmt": fmt.command,
    "explain": explain.command,
    "summary": summary.command,
    "render": render.command,
    "show": show.command,
    "diff": diff.command,
    "fingerprint": fingerprint.command,
    "ir": ir.command,
    "schema": schema.command,
    "compile": compile_.command,
    "export": export.command,
    "train": train.command,
    "evaluate": evaluate.command,
    "predict": predict.command,
    "calibrate": calibrate.command,
}


def main() -> None:
    """Run the command that the process was started with; never returns."""
    gc.set_threshold(GARBAGE)
    sys.stdout = _open(sys.stdout)
    sys.stderr = _open(sys.stderr)
    signal.signal(signal.SIGTERM, _terminated)
    app(prog_name="opdsl")


def _open(stream: TextIO | None) -> TextIO:
    """The stream, which may have been closed by who started us, or may know ASCII only."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def _terminated(signum: int, _frame: FrameType | None) -> None:
    """Unwind as for Ctrl-C, so that half-written files are removed."""
    from opdsl.train.signals import Interrupted

    raise Interrupted(signum)


def _version(wanted: bool) -> None:
    if wanted:
        result(f"opdsl {__version__}")
        raise typer.Exit


def _app(text: str) -> typer.Typer:
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: it is faster and reads the same in a pipe
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


app = _app("Neural operators as small, checked text files: check, draw, compile, train, judge.")


@app.callback()
def _opdsl(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """What all commands share."""


for _name, _command in COMMANDS.items():
    app.command(_name, cls=train.TrainCommand if _name == "train" else None)(guard(_command))

_data = _app("Make data sets and look at them.")
_generate = _app("Make data sets that check themselves.")
_generate.command("darcy")(guard(data.darcy))
_generate.command("shallow-water")(guard(data.shallow_water))
_generate.command("poisson-shapes")(guard(shapes.poisson_shapes))
_generate.command("surface")(guard(shapes.surface))
_import = _app("Models of other libraries as programs.")
_import.command("neuralop")(guard(import_.neuralop))


@_import.callback()
def _importers() -> None:
    """Keeps `neuralop` a command of its own while it is the only one."""


app.add_typer(_import, name="import")
_data.add_typer(_generate, name="generate")
_data.command("show")(guard(data.show))
_data.command("convert")(guard(geometry.convert))
_data.command("distance")(guard(geometry.distance))
_data.command("transport")(guard(geometry.transport))
app.add_typer(_data, name="data")
