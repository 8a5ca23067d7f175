"""`--nproc`: a command in several processes, and a process that is one of several."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from opdsl.cli.console import UsageError, say

if TYPE_CHECKING:
    from opdsl.train.config.schema import Settings


def starts(nproc: int | None, *, alone: bool) -> bool:
    """Return whether the command has to be started in several processes.

    Args:
        nproc: the number of them, if it was given.
        alone: whether the command stops before training.

    Raises:
        UsageError: it has to, and is one of several already, or needs one.
    """
    from opdsl.parallel.launch import FOLDER
    from opdsl.parallel.processes import several

    if nproc is None or nproc == 1:
        return False
    if alone:
        raise UsageError("trials before training run in one process: leave `--nproc` out")
    if several() and FOLDER not in os.environ:
        raise UsageError("`torchrun` has started the processes already: leave `--nproc` out")
    return not several()


def in_processes(
    nproc: int, *, seeds: int | None, spec: str | None, settings: Callable[[], Settings | None]
) -> int:
    """Run this command line in several processes, and return the exit code.

    What is wrong with the program, the settings or the number of processes is reported here,
    before any process is started.

    Args:
        nproc: the number of processes.
        seeds, spec: of the command line.
        settings: returns those of the run; None where they follow from a checkpoint.

    Raises:
        UsageError: an option does not go with several processes.
        OpError: OP0800, OP0801, OP0806, OP0807, the run cannot have so many; OP0805, a process
            ended without a word; those of `settings`.
    """
    from opdsl.parallel.launch import StoppedEarly, launch
    from opdsl.workflow.training.process_counts import refuse_many, refuse_unsuitable, space_of

    if seeds is not None:
        raise UsageError("`--seeds` trains one run after the other: leave `--nproc` out")
    if spec == "-":
        raise UsageError("`-` can be read once: with `--nproc` name a file")
    if (own := settings()) is not None:
        refuse_unsuitable(own)
        space_of(own, nproc)
    refuse_many(nproc)
    try:
        return launch(sys.argv[1:], nproc)
    except StoppedEarly as stop:
        say("stopped")
        return stop.exit_code


def resumed_run(resume: str | None, out: Path | None) -> str | None:
    """Return the run to resume: that of `--out` where torchrun has started the processes again.

    To be called before `join`: no process writes the folder before all have joined.

    Args:
        resume: the value of `--resume`.
        out: the folder of the run.
    """
    from opdsl.parallel.processes import restarts, several

    if resume is not None or out is None or not several() or not restarts():
        return resume
    return str(out) if (out / "opdsl.json").exists() else None


def join(wait: float | None, *, alone: bool) -> None:
    """Join the other processes where this one was started as one of several.

    Args:
        wait: seconds until a process that has not arrived is given up.
        alone: whether the command stops before training.

    Raises:
        UsageError: the command needs one process.
        OpError: OP0803, OP0804, they do not meet.
    """
    from opdsl.parallel import processes

    if not processes.several():
        return
    joined = processes.begin()
    processes.watch_starter()
    if joined.rank:
        be_silent()
    if alone:
        raise UsageError("trials and seeds run in one process: start one")
    joined.join(processes.WAIT if wait is None else wait)


_before: list[TextIO | None] = []  # stdout and stderr of a process that prints nothing


def be_silent() -> None:
    """Print nothing until `be_loud`: the first of several processes does."""
    _before.extend((sys.stdout, sys.stderr))
    # open until the process ends
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def be_loud() -> None:
    """Print again, to report an error for all processes."""
    if _before:
        sys.stdout, sys.stderr = _before
        _before.clear()
