"""Ctrl-C and SIGTERM, deferred to points where they can be handled.

An exception that a signal raises inside a destructor, such as those of HDF5's handles, is printed
and forgotten: the program would go on. So while data are written the handlers only take note, and
the loop asks between two samples whether one came.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_handlers: list[Callable[[], None]] = []  # of the blocks that are open, the innermost last


def handle_deferred() -> None:
    """Handle the signals that the innermost block of `deferred_signals` has received so far."""
    if _handlers and threading.current_thread() is threading.main_thread():
        _handlers[-1]()


@contextmanager
def deferred_signals() -> Iterator[Callable[[], None]]:
    """Defer signals in the block; the function that it yields handles those received so far."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # handlers belong to the main thread
        return
    before = {x: h for x in SIGNALS if callable(h := signal.getsignal(x))}
    events: list[int] = []
    for number in before:
        signal.signal(number, lambda n, _: events.append(n))

    def ask() -> None:
        while events:
            number = events.pop(0)
            before[signal.Signals(number)](number, None)

    _handlers.append(ask)
    try:
        yield ask
    finally:
        _handlers.remove(ask)
        for number, handler in before.items():
            signal.signal(number, handler)
