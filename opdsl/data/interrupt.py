"""Ctrl-C at places where it is heard.

An exception that a signal raises inside a destructor, such as those of HDF5's handles, is printed
and forgotten: the program would go on. So while data are written the handlers only take note, and
the loop asks between two samples.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals() -> Iterator[Callable[[], None]]:
    """A function that runs the handler of a signal that has come since, if one has."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # handlers belong to the main thread
        return
    before = {x: h for x in SIGNALS if callable(h := signal.getsignal(x))}
    came: list[int] = []
    for number in before:
        signal.signal(number, lambda n, _: came.append(n))

    def ask() -> None:
        for number in came:
            before[signal.Signals(number)](number, None)

    try:
        yield ask
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
