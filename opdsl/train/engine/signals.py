"""Ctrl-C and SIGTERM: the first asks the run to stop after the step, the second stops at once."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal stopped the run; no `except Exception` on the way may swallow it.

    Attributes:
        signum: which signal.
        exit_code: 128 + signum, as a shell reports it.
        saved: whether a checkpoint was written before stopping.
    """

    def __init__(self, signum: int, *, saved: bool = False) -> None:
        super().__init__(signum)
        self.signum = signum
        self.exit_code = 128 + signum
        self.saved = saved


class SignalWatch:
    """`with SignalWatch() as watch:` ... `watch.caught` is the signal that asked to stop, or None.

    Outside the main thread no handler can be set, and none is.

    Args:
        pause: seconds behind the first signal in which others change nothing: a scheduler and a
            starter of processes may both send one.
    """

    def __init__(self, pause: float = 0.0) -> None:
        self.caught: int | None = None
        self._pause, self._first = pause, 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._on_signal) for s in WATCHED}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _on_signal(self, signum: int, _frame: FrameType | None) -> None:
        if self.caught is None:
            self.caught, self._first = signum, time.monotonic()
        elif time.monotonic() - self._first >= self._pause:
            raise Interrupted(signum)
