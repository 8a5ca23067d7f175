"""The two streams of a command: results on stdout, progress and errors on stderr.

Text is adapted to its reader: colours only where they are wanted, a width, JSON. No command prints
by other means.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from opdsl.diagnostics import Diagnostic
from opdsl.diagnostics.terminal import json_safe, printable

PACKAGE = Path(__file__).parents[1]
UNKNOWN_WIDTH = 100  # columns where no terminal tells
CLOSED = (OSError, ValueError)  # of a pipe, terminal or stream that is closed


class UsageError(Exception):
    """A wrong command line; the text says what is wrong."""


def stdin() -> bytes:
    """Read all of stdin.

    Raises:
        UsageError: stdin is closed.
    """
    if sys.stdin is None or sys.stdin.closed:  # as in `opdsl check - <&-`
        raise UsageError("`-` reads stdin, which is closed")
    return sys.stdin.buffer.read()


def result(text: str) -> None:
    """Print text on stdout, safe for a terminal, with a line end if it has none."""
    _write(printable(text))


def _write(text: str) -> None:
    print(text, end="" if not text or text.endswith("\n") else "\n")  # noqa: T201  this is where we print


def binary(data: bytes) -> None:
    """Write bytes to stdout."""
    sys.stdout.buffer.write(data)


def show_json(value: Any) -> None:
    """Print a result as JSON."""
    _write(json_safe(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)))


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics on stdout, an empty line behind each."""
    _write("".join(f"{as_text(x, sys.stdout)}\n\n" for x in diagnostics))


def say(text: str) -> None:
    """Print a line on stderr, safe for a terminal; a closed stream is no reason to stop."""
    _say(printable(text))


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201  this is where we print
    except CLOSED:
        return


def warn(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics on stderr, an empty line behind each."""
    for x in diagnostics:
        _say(as_text(x, sys.stderr) + "\n")


@contextmanager
def own_warnings_as_lines() -> Iterator[None]:
    """Show warnings of opdsl as `warning: ...`, without the line of Python that issued them."""
    with warnings.catch_warnings():
        default_show = warnings.showwarning
        warnings.showwarning = partial(_show_warning, default_show)
        yield


def _show_warning(
    others: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if Path(filename).is_relative_to(PACKAGE):
        say(f"warning: {message}")
    else:
        others(message, category, filename, lineno, file, line)


def as_text(diagnostic: Diagnostic, stream: TextIO) -> str:
    """Return a diagnostic with carets, as the stream can show it."""
    from opdsl.diagnostics.carets import show

    return show(diagnostic, color=coloured(stream), width=width(stream))


def coloured(stream: TextIO) -> bool:
    """Return whether to colour: NO_COLOR, CLICOLOR_FORCE, TERM=dumb, then a terminal decide."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return lively(stream)


def lively(stream: TextIO) -> bool:
    """Return whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def width(stream: TextIO) -> int | None:
    """Return the columns of the terminal; None for a file or a pipe."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def table(rows: Sequence[tuple[str, ...]], *, left: int = 1) -> str:
    """Align columns, the first `left` of them to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = zip(row, widths, range(len(row)), strict=True)
        lines.append("  ".join(f"{x:<{n}}" if i < left else f"{x:>{n}}" for x, n, i in cells))
    return "\n".join(x.rstrip() for x in lines)
