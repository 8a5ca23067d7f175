"""Start the processes of a run on this machine, and end them together. No torch.

Each process runs the command of the user with the environment that `torchrun` sets, too: RANK,
WORLD_SIZE, LOCAL_RANK. They meet through a file, so that no port has to be free.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Self

from opdsl.diagnostics import CODES, OpError, fault

FOLDER = "OPDSL_PROCESSES"  # the folder in which the processes of `launch` meet
ALIVE = "OPDSL_STARTER"  # a pipe that is closed when the process of `launch` ends
SPEAKER = "speaker"  # in that folder: the rank that has reported an error
READY = "ready-"  # in that folder, with the rank: the process ends by itself on a signal
GRACE = 20.0  # seconds in which the others end after one has failed
INTERVAL = 0.05  # seconds between two looks at the processes
LOST = -1  # in SPEAKER, where nobody has spoken
# what the processes get for each signal; of a terminal that is closed, there may be none
SIGNALS = {signal.SIGINT: signal.SIGINT, signal.SIGTERM: signal.SIGTERM}
if hasattr(signal, "SIGHUP"):
    SIGNALS[signal.SIGHUP] = signal.SIGTERM


class StoppedEarly(Exception):  # noqa: N818  no error: the user has asked for it
    """A signal stopped the processes before they had begun.

    Attributes:
        exit_code: 128 and the number of the signal, as a shell reports it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum


def launch(arguments: Sequence[str], count: int) -> int:
    """Run `opdsl` with some arguments in several processes of this machine.

    Args:
        arguments: of the command line.
        count: the number of processes.

    Returns:
        The exit code: of the process that has reported an error, else of one that failed.

    Raises:
        OpError: OP0805, a process ended by a signal or without a word.
        StoppedEarly: a signal came before the processes had begun.
    """
    with tempfile.TemporaryDirectory(prefix="opdsl-") as folder:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "opdsl", *arguments]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            with _Signals(processes, Path(folder)) as signals:
                for rank in range(count):
                    if signals.caught is not None:
                        raise StoppedEarly(signals.caught)
                    env = {**_environment(rank, count, folder), ALIVE: str(reading)}
                    processes.append(
                        subprocess.Popen(command, env=env, pass_fds=(reading,), process_group=0)  # noqa: S603  this program
                    )
                _wait(processes)
            codes = [x.poll() for x in processes]
        finally:
            for x in processes:
                if x.poll() is None:
                    x.kill()
                    x.wait()
            os.close(reading)
            os.close(writing)
        return _exit_code(codes, Path(folder), signals.ended_early)


def _environment(rank: int, count: int, folder: str) -> Mapping[str, str]:
    threads = max(1, (os.cpu_count() or 1) // count)
    return {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        FOLDER: folder,
    }


class _Signals:
    """Hand signals on to the processes, which save and stop; end those that have not begun."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
        self.processes, self.folder = processes, folder
        self.caught: int | None = None  # what the processes got for the first signal
        self.ended_early: int | None = None  # that signal, where it ended one that had not begun
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for signum, sent in SIGNALS.items():
            # `nohup` lets a run ignore that its terminal is closed
            if signum == sent or signal.getsignal(signum) != signal.SIG_IGN:
                self.before[signum] = signal.signal(signum, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def _pass_on(self, signum: int, _frame: FrameType | None) -> None:
        sent = SIGNALS[signal.Signals(signum)]
        if self.caught is None:
            self.caught = sent
        for rank, x in enumerate(self.processes):
            if x.poll() is None:
                if (self.folder / f"{READY}{rank}").exists():
                    x.send_signal(sent)
                else:  # Python would print where its imports were
                    self.ended_early = self.caught
                    x.kill()


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for all processes; after the first exit with an error, no longer than `GRACE`."""
    end = None
    # a list: each process is looked at, also behind one that is running
    while None in (codes := [x.poll() for x in processes]):
        if end is None and any(codes):
            end = time.monotonic() + GRACE
        if end is not None and time.monotonic() > end:
            return
        time.sleep(INTERVAL)


def _exit_code(codes: Sequence[int | None], folder: Path, ended_early: int | None) -> int:
    """Return the exit code of a run from those of its processes.

    Args:
        codes: of the processes; None for one that did not end by itself.
        folder: in which they have met.
        ended_early: the signal that ended a process which had not begun, if one did.

    Raises:
        OpError: OP0805.
        StoppedEarly: nobody has reported that signal.
    """
    failed = {rank: code for rank, code in enumerate(codes) if code}
    if not failed:
        return 0
    speaker = _speaker(folder)
    if failed.get(speaker, 0) > 0:
        return failed[speaker]
    if ended_early is not None:
        raise StoppedEarly(ended_early)
    killed = next((rank for rank, code in failed.items() if code < 0), None)
    if killed is None:
        return next(iter(failed.values()))
    raise lost(killed, f"was ended by {_signal_name(-failed[killed])}")


def _speaker(folder: Path) -> int:
    try:
        return int((folder / SPEAKER).read_text())
    except (OSError, ValueError):
        return LOST


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def lost(rank: int | None, how: str) -> OpError:
    """Return the OP0805 for a process that is gone.

    Args:
        rank: of the process; None where that is not known.
        how: what happened, behind the name of the process.
    """
    name = "another process" if rank is None else f"process {rank}"
    helps = ("go on from the last checkpoint: `opdsl train --resume RUN`",)
    notes = ("the system ends processes when memory is short",) if "SIGKILL" in how else ()
    return fault("OP0805", f"{name} of the run {how}", notes=notes, helps=helps, file="train")


def failure_code() -> int:
    """Return the exit code of a process that stops because another one is gone."""
    return int(CODES["OP0805"].exit)
