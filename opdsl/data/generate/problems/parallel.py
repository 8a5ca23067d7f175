"""Samples computed in parallel threads and yielded in order.

Threads suffice: transforms, factorisations and arithmetic on arrays release the interpreter's lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Task = TypeVar("Task")
SampleResult = TypeVar("SampleResult")

AHEAD = 2  # tasks for each worker that are begun before their results are read


@contextmanager
def in_parallel(
    function: Callable[[Task], SampleResult], tasks: Iterable[Task], workers: int
) -> Iterator[Iterator[SampleResult]]:
    """Yield the results in the order of the tasks; results do not depend on `workers`.

    When the block ends early, tasks that no thread has begun are dropped.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="generate")
    try:
        yield _in_order(pool, function, iter(tasks), AHEAD * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Task], SampleResult],
    tasks: Iterator[Task],
    ahead: int,
) -> Iterator[SampleResult]:
    waiting: deque[Future[SampleResult]] = deque(
        pool.submit(function, x) for x in islice(tasks, ahead)
    )
    while waiting:
        result = waiting.popleft().result()
        waiting.extend(pool.submit(function, x) for x in islice(tasks, 1))
        yield result
