"""Samples computed in parallel processes and yielded in order.

Threads do not suffice: most solvers take many short steps, between which the interpreter's lock is
held.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeVar

from opdsl.data.interrupt import handle_deferred
from opdsl.diagnostics import fault

Task = TypeVar("Task")
SampleResult = TypeVar("SampleResult")

AHEAD = 2  # tasks for each worker that are begun before their results are read
ALONE = 3.0  # seconds of work in this process, before others are worth their start
POLL = 0.1  # seconds between two looks for signals
WORKER = "from opdsl.data.generate.problems.parallel import serve; serve()"


@contextmanager
def in_parallel(
    function: Callable[[Task], SampleResult], tasks: Iterable[Task], workers: int
) -> Iterator[Iterator[SampleResult]]:
    """Yield the results in the order of the tasks; results do not depend on `workers`.

    The first tasks run in this process; after ALONE seconds, `workers` processes take the others.
    They end with the block, and with this process however it ends.

    Args:
        function: can be pickled, as a partial of a function of a module can.
        tasks: can be pickled.
        workers: the number of processes; 1 for none besides this one, as on Windows.

    Raises:
        OpError: OP0690, a process ended before its work was done.
    """
    pool = _Pool(function, workers)
    try:
        yield _in_order(pool, iter(tasks))
    finally:
        pool.close()


class _Pool:
    """Threads, each of which waits for a process of its own."""

    def __init__(self, function: Callable[[Any], Any], workers: int) -> None:
        self.function = function
        self.workers = workers if os.name == "posix" else 1  # pipes are passed as descriptors
        self._threads: ThreadPoolExecutor | None = None
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._started: list[_Process] = []

    def submit(self, task: Any) -> Future[Any]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="generate")
            self._started = [_Process(self.function) for _ in range(self.workers)]
            for process in self._started:
                self._idle.put(process)
        return self._threads.submit(self._call, task)

    def _call(self, task: Any) -> Any:
        process = self._idle.get()
        try:
            good, result = process.call(task)
        except (OSError, EOFError) as error:
            raise fault(
                "OP0690",
                "a process that computes samples ended before its work was done",
                notes=(f"its exit status is {process.status()}", "no file was written"),
                helps=(
                    "it may have been ended for its use of memory: try fewer `--workers`",
                    "run the command again",
                ),
            ) from error
        finally:
            self._idle.put(process)
        if not good:
            raise result
        return result

    def close(self) -> None:
        """End the processes, whatever they compute."""
        for process in self._started:
            process.kill()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for process in self._started:
            process.close()


class _Process:
    """Another Python that applies a function to the tasks it is sent."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        path = os.pathsep.join(x for x in sys.path if x)
        self._pipe, theirs = Pipe()
        # a session of its own: the Ctrl-C of a terminal reaches this process alone
        self._process = subprocess.Popen(  # noqa: S603  this Python and our own text
            [sys.executable, "-P", "-c", WORKER, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": path},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._function: Callable[[Any], Any] | None = function

    def call(self, task: Any) -> tuple[bool, Any]:
        """Return whether the function ended well, and its result or the error that it raised.

        Raises:
            EOFError, OSError: the process has ended.
        """
        if self._function is not None:  # it is sent once, with the first task
            self._pipe.send(self._function)
            self._function = None
        self._pipe.send(task)
        answer: tuple[bool, Any] = self._pipe.recv()
        return answer

    def status(self) -> int:
        """Return the exit status of a process whose pipe is closed."""
        self._process.kill()  # of no effect on one that has ended
        return self._process.wait()

    def kill(self) -> None:
        """End the process, whatever it computes."""
        self._process.kill()

    def close(self) -> None:
        """Close the pipe of a process that was ended, while no thread uses it."""
        self._pipe.close()
        self._process.wait()


def serve() -> None:
    """Apply a function to tasks until the pipe closes, in a process of `in_parallel`."""
    pipe = Connection(int(sys.argv[1]))
    try:
        function = pipe.recv()
        while True:
            task = pipe.recv()
            try:
                result = (True, function(task))
            except Exception as error:  # noqa: BLE001  it is raised where the result is read
                result = (False, error)
            pipe.send(result)
    except (EOFError, OSError):
        os._exit(0)  # the other process has ended, and with it the pipe


def _in_order(pool: _Pool, tasks: Iterator[Task]) -> Iterator[Any]:
    started = time.monotonic()
    while pool.workers == 1 or time.monotonic() - started < ALONE:
        task = next(tasks, pool)
        if task is pool:
            return
        yield pool.function(task)
    waiting = deque(pool.submit(x) for x in islice(tasks, AHEAD * pool.workers))
    while waiting:
        result = _wait(waiting.popleft())
        waiting.extend(pool.submit(x) for x in islice(tasks, 1))
        yield result


def _wait(future: Future[Any]) -> Any:
    """Return the result of a future; signals are handled while it is computed."""
    while True:
        try:
            return future.result(timeout=POLL)
        except FutureTimeoutError:
            if future.done():
                raise
            handle_deferred()
