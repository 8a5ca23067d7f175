"""Processes that train the runs of a sweep side by side."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from opdsl.workflow.experiments.point import RunResult, SweepRun

LOG = "workers.log"  # what the processes write on stderr
PATIENCE = 120.0  # seconds in which a process has to save its run when the sweep is stopped
THREADS = "OMP_NUM_THREADS"

NextRun = Callable[[], SweepRun | None]  # None: nothing to do until another run has ended
Ended = Callable[[SweepRun, RunResult], None]


@dataclass(slots=True)
class _Worker:
    """A process and the run that it trains."""

    process: subprocess.Popen[str]
    run: SweepRun | None = None

    @property
    def stdin(self) -> IO[str]:
        assert self.process.stdin is not None  # it is a pipe
        return self.process.stdin

    @property
    def stdout(self) -> IO[str]:
        assert self.process.stdout is not None  # it is a pipe
        return self.process.stdout


def train_in_processes(out: Path, jobs: int, next_run: NextRun, ended: Ended) -> None:
    """Train runs in `jobs` processes until there is none left and none in progress.

    A process that dies costs its run and no other. However the sweep ends, each process saves the
    run in progress and ends too.

    Args:
        out: the folder of the sweep, which holds its plan.
        jobs: processes at a time.
        next_run: returns the next run to train.
        ended: is called with each run and its result.
    """
    workers: list[_Worker] = []
    try:
        with (out / LOG).open("a", encoding="utf-8") as log:
            _train(out, jobs, next_run, ended, workers, log)
    finally:
        _stop(workers)


def _train(
    out: Path,
    jobs: int,
    next_run: NextRun,
    ended: Ended,
    workers: list[_Worker],
    log: IO[str],
) -> None:
    with selectors.DefaultSelector() as selector:
        while True:
            _assign(out, jobs, next_run, workers, log, selector)
            if not any(x.run for x in workers):
                return
            for key, _ in selector.select():
                worker: _Worker = key.data
                run, result = worker.run, _result(worker)
                if worker.process.poll() is not None:
                    selector.unregister(worker.stdout)
                    workers.remove(worker)
                worker.run = None
                if run is not None:
                    ended(run, result)


def _assign(
    out: Path,
    jobs: int,
    next_run: NextRun,
    workers: list[_Worker],
    log: IO[str],
    selector: selectors.BaseSelector,
) -> None:
    """Give each idle process a run; start processes where there are fewer than `jobs`."""
    while True:
        idle = next((x for x in workers if x.run is None), None)
        if idle is None and len(workers) >= jobs:
            return
        run = next_run()
        if run is None:
            return
        if idle is None:
            idle = _start(out, jobs, log)
            workers.append(idle)
            selector.register(idle.stdout, selectors.EVENT_READ, idle)
        idle.run = run
        with suppress(BrokenPipeError):  # it has died, which the end of its answers shows
            idle.stdin.write(json.dumps(run.to_json()) + "\n")
            idle.stdin.flush()


def _start(out: Path, jobs: int, log: IO[str]) -> _Worker:
    threads = {THREADS: str(max(1, _cores() // jobs))} if jobs > 1 else {}
    command = [sys.executable, "-m", "opdsl.workflow.experiments.worker", str(out)]
    process = subprocess.Popen(  # noqa: S603  this interpreter and a module of ours
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        encoding="utf-8",
        env=threads | dict(os.environ),
        start_new_session=True,  # Ctrl-C reaches the sweep only, which then stops its processes
    )
    return _Worker(process)


def _cores() -> int:
    """Return the number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _result(worker: _Worker) -> RunResult:
    """Read an answer; the end of the answers means that the process has died."""
    line = worker.stdout.readline()
    try:
        return RunResult(**json.loads(line))
    except (ValueError, TypeError):
        code = worker.process.wait()
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    hint = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
    return RunResult(message=f"the process ended by {name}{hint}; see `{LOG}`")


def _stop(workers: list[_Worker]) -> None:
    """Close the pipes, wait until each process has saved its run, and end those that do not."""
    for worker in workers:
        with suppress(BrokenPipeError):
            worker.stdin.close()
    limit = time.monotonic() + PATIENCE
    for worker in workers:
        try:
            worker.process.wait(max(0.0, limit - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        worker.stdout.close()
