"""The end of a run in several processes: the first one finishes it, and the others wait."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from opdsl.parallel.processes import KEY, POLL, Processes, lost_connections

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]  # torch does not list it

T = TypeVar("T")

BEAT = 5.0  # seconds between two signs of life of the first process
SILENCE = 120.0  # seconds without one after which it is given up
SUCCESS, FAILURE = "done", "failed"


def first_finishes(processes: Processes, function: Callable[[], T]) -> T | None:
    """Call a function in the first process, and return its result there; others wait for it.

    Waiting has no limit, since the first process may measure and draw for hours; it gives signs of
    life meanwhile.

    Args:
        processes: which have joined.
        function: ends the run.

    Raises:
        ConnectionError: in the others, the first process failed or is gone.
    """
    store, key = processes.store, f"{KEY}finished"
    assert store is not None
    if processes.rank == 0:
        text = FAILURE
        try:
            with _signs_of_life(store):
                result = function()
            text = SUCCESS
        finally:
            store.set(key, text)
        return result
    beats, heard = 0, time.monotonic()
    with lost_connections():
        while not store.check([key]):
            time.sleep(POLL)
            if store.check([_beat(beats)]):
                beats, heard = beats + 1, time.monotonic()
            elif time.monotonic() - heard > SILENCE:
                raise ConnectionError("the first process gives no sign of life")
        if store.get(key).decode() == FAILURE:
            raise ConnectionError("the first process failed")
    return None


@contextmanager
def _signs_of_life(store: Store) -> Iterator[None]:
    """Give signs of life while the block runs."""
    ended = threading.Event()

    def give() -> None:
        with suppress(Exception):  # the others may be gone
            for count in itertools.count():
                store.set(_beat(count), "1")
                if ended.wait(BEAT):
                    return

    thread = threading.Thread(target=give, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(count: int) -> str:
    """Return the key in the store of a sign of life."""
    return f"{KEY}beat/{count}"
