"""`opdsl check`: the diagnostics of programs, before they run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opdsl.cli.completion import programs
from opdsl.cli.console import UsageError, print_diagnostics, result, show_json
from opdsl.cli.files import expanded, open_source
from opdsl.diagnostics import CODES, Diagnostic, Exit, OpError, did_you_mean

if TYPE_CHECKING:
    from opdsl.diagnostics.codes import Level


class OutputFormat(StrEnum):
    """A format of diagnostics."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def command(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE",
            help=".op files, folders of them, or - for stdin.",
            show_default=False,
            autocompletion=programs,
        ),
    ],
    format_: Annotated[
        OutputFormat, typer.Option("--format", "-f", metavar="KIND", help="text, json or github.")
    ] = OutputFormat.TEXT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with an error for warnings too.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="NAME", help="Hide this warning.")
    ] = None,
    warn: Annotated[
        list[str] | None, typer.Option("--warn", metavar="NAME", help="Show this warning.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="NAME", help="Make this warning an error.")
    ] = None,
) -> None:
    """Check programs: names, spaces, resolutions, settings.

    Warnings do not fail, unless --strict or --deny says so. `opdsl explain` lists their names; a
    comment in the program, `# op: allow(NAME)`, goes before these options.

    Example: opdsl check specs/fno_darcy.op
    """
    levels = _levels(allow or [], warn or [], deny or [])
    paths = expanded(files)
    problems = [x for path in paths for x in diagnostics(path, levels)]
    match format_:
        case OutputFormat.JSON:
            show_json([x.to_json() for x in problems])
        case OutputFormat.GITHUB:
            result("".join(f"{annotation(x)}\n" for x in problems))
        case OutputFormat.TEXT:
            print_diagnostics(problems)
            result(verdict(paths, problems))
    raise typer.Exit(exit_code(problems, strict=strict))


def _levels(allow: list[str], warn: list[str], deny: list[str]) -> dict[str, Level]:
    from opdsl.workflow.check import lint_levels, lint_names

    try:
        return lint_levels(allow, warn, deny)
    except KeyError as error:
        names = lint_names()
        near = did_you_mean(error.args[0], names) or (f"warnings: {', '.join(names)}",)
        raise UsageError(f"there is no warning `{error.args[0]}`; {near[0]}") from error


def diagnostics(path: str, levels: Mapping[str, Level] | None = None) -> list[Diagnostic]:
    """Return the diagnostics of one file, including those of reading it."""
    from opdsl.workflow.check import check_file

    try:
        source, folder = open_source(path)
    except OpError as error:
        return list(error.diagnostics)
    return check_file(source, folder, levels)


def exit_code(problems: list[Diagnostic], *, strict: bool = False) -> int:
    """Return the exit code of the first error; with `strict`, warnings count too."""
    failing = (CODES[x.code].exit for x in problems if strict or x.severity == "error")
    return next(failing, Exit.OK)


def verdict(paths: list[str], problems: list[Diagnostic]) -> str:
    """Return the last line: the numbers of files, errors and warnings."""
    files = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    errors = sum(x.severity == "error" for x in problems)
    counts = [_count(errors, "error"), _count(len(problems) - errors, "warning")]
    return f"{files}: {', '.join(x for x in counts if x) or 'no faults'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""


def annotation(diagnostic: Diagnostic) -> str:
    """Return a line that GitHub shows beside the program."""
    words = "\n".join([diagnostic.message, *diagnostic.notes, *(x.text for x in diagnostic.helps)])
    place = {"file": Path(diagnostic.where or "").as_posix()}
    if diagnostic.primary:
        span = diagnostic.primary.span
        numbers = {"line": span.line, "endLine": span.end_line, "col": span.column}
        place |= {k: str(v) for k, v in numbers.items()}
    place["title"] = diagnostic.code
    place_text = ",".join(f"{k}={_escaped(v, ':,')}" for k, v in place.items())
    return f"::{diagnostic.severity} {place_text}::{_escaped(words)}"


def _escaped(text: str, more: str = "") -> str:
    for sign in "%\r\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
