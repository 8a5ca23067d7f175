"""`opdsl fmt`: programs in the one layout."""

from __future__ import annotations

from difflib import unified_diff
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.completion import programs
from opdsl.cli.console import binary, result, say, stdin, warn
from opdsl.cli.files import STDIN, expanded, write
from opdsl.diagnostics import Exit, OpError


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
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if a file would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change.")
    ] = False,
) -> None:
    """Lay out programs in the one style.

    Comments stay. Programs with faults are laid out as well, if they can be read.

    Example: opdsl fmt --diff specs/
    """
    code = Exit.OK
    changes = []
    for path in expanded(files):
        try:
            if _one(path, check=check, diff=diff):
                changes.append(path)
        except OpError as error:
            warn(error.diagnostics)
            code = Exit.SPEC
    if check and changes and code == Exit.OK:
        code = Exit.FAILED
    raise typer.Exit(code)


def _one(path: str, *, check: bool, diff: bool) -> bool:
    """Format one file, and return whether it changes."""
    from opdsl.workflow.texts import format_text, program_bytes

    if path == STDIN:
        before, name = stdin(), "<stdin>"
    else:
        before, name = program_bytes(Path(path)), path
    text = before.decode("utf-8-sig", "replace")
    after = format_text(text, name)
    same = after.encode() == before
    if path == STDIN and not (diff or check):
        binary(after.encode())
    elif not same:
        _apply(path, name, text, after, check=check, diff=diff)
    return not same


def _apply(path: str, name: str, before: str, after: str, *, check: bool, diff: bool) -> None:
    """Show the change, or write it."""
    if diff:
        result(_diff(before, after, name))
    elif check:
        say(f"would change {name}")
    else:
        _replace(Path(path), after)
        say(f"changed {name}")


def _replace(path: Path, text: str) -> None:
    """Replace the text of a file, keep its permissions, and follow a link."""
    real = path.resolve()
    mode = real.stat().st_mode
    write(real, text.encode())
    real.chmod(mode)


def _diff(before: str, after: str, name: str) -> str:
    lines = unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), name, name, n=2
    )
    return "".join(x if x.endswith("\n") else f"{x}\n" for x in lines)
