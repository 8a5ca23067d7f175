"""Exceptions of a command as messages and exit codes, without a traceback.

A mistake of the user is shown with carets (or as JSON with `--json`), a fault of opdsl in a line
that says so; OPDSL_TRACEBACK=1 shows where it is.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from opdsl.cli.console import UsageError, own_warnings_as_lines, say, show_json, warn
from opdsl.diagnostics import CODES, Exit, OpError

P = ParamSpec("P")

TRACEBACK = "OPDSL_TRACEBACK"
OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def guard(command: Callable[P, None]) -> Callable[P, None]:
    """Return a command that reports its errors and ends with an exit code."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = kwargs.get("as_json") is True or kwargs.get("format_") == "json"
        code = _code(lambda: command(*args, **kwargs), as_json=as_json)
        if code != Exit.OK:
            raise typer.Exit(code)

    return guarded


def _code(run: Callable[[], None], *, as_json: bool) -> int:
    """Run the command, report an error, flush stdout, and return the exit code."""
    try:
        code = _ended(run, as_json=as_json)
    except BrokenPipeError:
        code = Exit.OK  # the reader, such as `head`, has all that it needs
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()
    except OSError as error:
        _close_stdout()
        return report(error, as_json=False)
    return code


def _ended(run: Callable[[], None], *, as_json: bool) -> int:
    """Run the command, and return its exit code, however it ends."""
    try:
        with own_warnings_as_lines():
            run()
    except typer.Exit as error:
        return int(error.exit_code)
    except (BrokenPipeError, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001  an interruption is no `Exception`
        return report(error, as_json=as_json)
    return Exit.OK


def report(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong, and return the exit code for it."""
    # imported here: `opdsl check` of a sound program does not need these modules
    from opdsl.cli.several_processes import be_loud
    from opdsl.workflow.errors import ArgumentError
    from opdsl.workflow.training.interrupt import Interrupted, lost_connection, reports

    if not reports(error):  # one of several processes does
        return _code_of(error)
    be_loud()
    if os.environ.get(TRACEBACK, "0") not in {"", "0"}:
        _show_traceback(error)
    match error:
        case OpError():
            _show(error, as_json=as_json)
            return exit_code(error)
        case UsageError() | ArgumentError():
            return _line(f"error: {error}", Exit.USAGE)
        case Interrupted():
            return _line("stopped", error.exit_code)
        case KeyboardInterrupt():
            return _line("stopped", Exit.INTERRUPTED)
        case OSError(errno=int()):
            # errors of files have a name (`opdsl.files.naming`), only standard output has none
            name = error.filename or ("standard output" if error.errno == errno.ENOSPC else "")
            place = f"{name}: " if name else ""
            return _line(f"error: {place}{error.strerror}", Exit.FAILED)
    if lost := lost_connection(error):
        _show(lost, as_json=as_json)
        return exit_code(lost)
    if _out_of_memory(error):
        return _line(f"error: there is not enough memory for this: {error}", Exit.TOO_LARGE)
    return _line(_our_fault(error), Exit.FAILED)


def _code_of(error: BaseException) -> int:
    """Return the exit code of an error that another process reports."""
    from opdsl.workflow.training.interrupt import Interrupted

    if isinstance(error, OpError):
        return exit_code(error)
    return error.exit_code if isinstance(error, Interrupted) else Exit.FAILED


def exit_code(error: OpError) -> int:
    """Return the exit code of the first error."""
    return CODES[error.diagnostics[0].code].exit


def _show(error: OpError, *, as_json: bool) -> None:
    if as_json:
        show_json({"diagnostics": [x.to_json() for x in error.diagnostics]})
    else:
        warn(error.diagnostics)


def _line(text: str, code: int) -> int:
    say(text)
    return code


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(x in text for x in OUT_OF_MEMORY)
    )


def _our_fault(error: BaseException) -> str:
    first_line = (str(error).splitlines() or [""])[0]
    summary = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    return (
        f"internal error: {summary}\n"
        f"this is a fault of opdsl and not of your program; {TRACEBACK}=1 shows where"
    )


def _show_traceback(error: BaseException) -> None:
    import traceback

    say("".join(traceback.format_exception(error)))


def _close_stdout() -> None:
    """Send to /dev/null what the interpreter flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
