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
from typing import Self

from opdsl.diagnostics import CODES, OpError, fault

FOLDER = "OPDSL_PROCESSES"  # the folder in which the processes of `launch` meet
ALIVE = "OPDSL_STARTER"  # a pipe that is closed when the process of `launch` ends
SPEAKER = "speaker"  # in that folder: the rank that has reported an error
GRACE = 20.0  # seconds in which the others end after one has failed
INTERVAL = 0.05  # seconds between two looks at the processes
LOST = -1  # in SPEAKER, where nobody has spoken


def launch(arguments: Sequence[str], count: int) -> int:
    """Run `opdsl` with some arguments in several processes of this machine.

    Args:
        arguments: of the command line.
        count: the number of processes.

    Returns:
        The exit code: of the process that has reported an error, else of one that failed.

    Raises:
        OpError: OP0805, a process ended by a signal or without a word.
    """
    with tempfile.TemporaryDirectory(prefix="opdsl-") as folder:
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "opdsl", *arguments]
        processes: list[subprocess.Popen[bytes]] = []
        try:
            with _Signals(processes) as signals:
                for rank in range(count):
                    env = {**_environment(rank, count, folder), ALIVE: str(reading)}
                    processes.append(
                        subprocess.Popen(command, env=env, pass_fds=(reading,), process_group=0)  # noqa: S603  this program
                    )
                _wait(processes, signals)
        finally:
            for x in processes:
                if x.poll() is None:
                    x.kill()
                    x.wait()
            os.close(reading)
            os.close(writing)
        return _exit_code([x.returncode for x in processes], Path(folder))


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
    """Hand Ctrl-C and SIGTERM on to the processes, which save and stop."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self.processes, self.caught = processes, False

    def __enter__(self) -> Self:
        self.before = {s: signal.signal(s, self._pass_on) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def _pass_on(self, signum: int, _frame: FrameType | None) -> None:
        self.caught = True
        for x in self.processes:
            if x.poll() is None:
                x.send_signal(signum)


def _wait(processes: Sequence[subprocess.Popen[bytes]], signals: _Signals) -> None:
    """Wait for all processes; after a failure of one, for the others no longer than `GRACE`."""
    end = None
    while any(x.poll() is None for x in processes):
        failed = any(x.returncode not in {None, 0} for x in processes)
        if failed and end is None and not signals.caught:
            end = time.monotonic() + GRACE
        if end is not None and time.monotonic() > end:
            return
        time.sleep(INTERVAL)


def _exit_code(codes: Sequence[int], folder: Path) -> int:
    """Return the exit code of a run from those of its processes.

    Raises:
        OpError: OP0805.
    """
    failed = [rank for rank, code in enumerate(codes) if code]
    if not failed:
        return 0
    speaker = _speaker(folder)
    if speaker in failed and codes[speaker] > 0:
        return codes[speaker]
    killed = next((rank for rank in failed if codes[rank] < 0), None)
    if killed is None:
        return codes[failed[0]]
    raise lost(killed, f"was ended by {_signal_name(-codes[killed])}")


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
