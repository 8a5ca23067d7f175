"""`python -m opdsl.workflow.experiments.worker FOLDER`: a process that trains points of a sweep.

It reads a run from each line of stdin and answers each with a line of JSON. When stdin is closed,
because the sweep has ended however it ended, it saves the run in progress and ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from opdsl.train.engine.signals import Interrupted
from opdsl.workflow.experiments.point import RunResult, SweepRun, train_point
from opdsl.workflow.experiments.sweep_plan import read_plan

STDOUT, STDERR = 1, 2  # descriptors


def main() -> None:
    """Train the runs that stdin names, until it is closed."""
    # libraries that print must not write into the answers
    answers = os.fdopen(os.dup(STDOUT), "w", encoding="utf-8")
    os.dup2(STDERR, STDOUT)
    out = Path(sys.argv[1])
    plan = read_plan(out)
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(waiting,), daemon=True).start()
    try:
        while line := waiting.get():
            result = train_point(plan, SweepRun(**json.loads(line)), out)
            _answer(answers, result)
    except (Interrupted, KeyboardInterrupt, BrokenPipeError):
        os._exit(128 + signal.SIGTERM)  # the state is saved; the reading thread blocks an exit


def _read(waiting: queue.SimpleQueue[str | None]) -> None:
    """Pass on each line; at the end of stdin stop the run in progress, as Ctrl-C would."""
    for line in sys.stdin:
        waiting.put(line)
    waiting.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _answer(answers: IO[str], result: RunResult) -> None:
    answers.write(json.dumps(result.to_json()) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
