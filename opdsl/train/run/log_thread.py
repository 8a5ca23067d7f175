"""`LogThread`: a callback that sends the numbers of a run to a logger and never waits for it."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opdsl.train.engine.callbacks import ActiveRun, Callback
from opdsl.train.engine.step import StepResult
from opdsl.train.loggers import LOGGERS, LoggedRun, LoggerEntry
from opdsl.train.run.metrics_log import MetricsRow

CAPACITY = 10_000  # waiting steps and rows, of which the oldest is dropped for a new one
PATIENCE = 60.0  # seconds for what is left at the end of a run
AFTER_ERROR = 5.0  # the same where the run ends by an error


@dataclass(frozen=True, slots=True)
class _Item:
    """Numbers of a step or an epoch."""

    numbers: Mapping[str, float]
    step: int


class LogThread(Callback):
    """Sends losses of steps and rows of epochs to a logger in a thread of its own.

    Training never waits: where the logger is slow, the oldest numbers are dropped; where it fails
    or hangs, the run goes on without it and a note says so.

    Attributes:
        name: of the logger.
        patience: seconds to wait at the end of the run.
    """

    def __init__(self, name: str, entry: LoggerEntry, patience: float = PATIENCE) -> None:
        self.name, self.patience = name, patience
        self._entry = entry
        self._items: deque[_Item] = deque(maxlen=CAPACITY)
        self._new = threading.Condition()
        self._closing = False
        self._dropped = 0
        self._failure: str | None = None
        self._thread: threading.Thread | None = None

    def on_start(self, run: ActiveRun) -> None:
        """Open the logger in its thread."""
        about = LoggedRun(run.folder, dict(run.settings.rows()), run.step)
        # a daemon: one that hangs must not keep the process from ending
        self._thread = threading.Thread(target=self._work, args=(about,), daemon=True)
        self._thread.start()

    def on_step(self, run: ActiveRun, result: StepResult) -> None:
        """Send the loss of the step."""
        numbers = {"step/loss": result.loss, "step/grad_norm": result.norm}
        self._send(_Item(dict(_finite(numbers)), run.step))

    def on_epoch(self, run: ActiveRun, row: MetricsRow) -> None:
        """Send the row of the epoch; report once that the logger has failed."""
        self._send(_Item(dict(flat_numbers(row)), run.step))
        if self._failure:
            run.note(f"the logger `{self.name}` stopped: {self._failure}")
            self._failure = None

    def on_end(self, run: ActiveRun) -> None:
        """Wait for what is left, but not for ever."""
        if text := self._close(self.patience):
            run.note(text)

    def on_error(self, run: ActiveRun, error: BaseException) -> None:  # noqa: ARG002  a hook
        """Wait a short time for what is left."""
        self._close(min(self.patience, AFTER_ERROR))

    # ------------------------------------------------------------------------------ the queue

    def _send(self, item: _Item) -> None:
        with self._new:
            self._dropped += len(self._items) == CAPACITY
            self._items.append(item)
            self._new.notify()

    def _work(self, about: LoggedRun) -> None:
        try:
            sink = self._entry.open(about)
            while (item := self._next()) is not None:
                sink.write(item.numbers, item.step)
            sink.close()
        except Exception as error:  # noqa: BLE001  a logger must not end the run
            text = " ".join(str(error).split())[:200]
            self._failure = f"{type(error).__name__}: {text}"

    def _next(self) -> _Item | None:
        """Wait for an item; None at the end of the run."""
        with self._new:
            while not self._items:
                if self._closing:
                    return None
                self._new.wait()
            return self._items.popleft()

    def _close(self, patience: float) -> str | None:
        """End the thread; return a note where something is lost."""
        if self._thread is None:
            return None
        with self._new:
            self._closing = True
            self._new.notify()
        self._thread.join(patience)
        if self._thread.is_alive():
            count = len(self._items) + 1
            return f"the logger `{self.name}` hangs: {count} of its values are lost"
        if self._failure:
            return f"the logger `{self.name}` stopped: {self._failure}"
        if self._dropped:
            return f"the logger `{self.name}` was too slow for {self._dropped} of its values"
        return None


def log_threads(names: list[str]) -> list[LogThread]:
    """Make the callbacks of the loggers that the setting `log` names."""
    entries = {name: LOGGERS.find(name) for name in names}
    return [LogThread(name, entry) for name, entry in entries.items() if entry is not None]


def flat_numbers(row: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a row of metrics.jsonl, such as `valid/rel_l2`."""
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from flat_numbers(value, f"{above}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _finite({f"{above}{key}": float(value)})


def _finite(numbers: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    return ((k, x) for k, x in numbers.items() if math.isfinite(x))
