"""The progress of training on stderr: a live table on a terminal, a line per epoch in a pipe."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

from opdsl.cli.console import CLOSED
from opdsl.diagnostics.terminal import printable
from opdsl.workflow.training.interrupt import Interrupted
from opdsl.workflow.training.progress import Listener, RunPlan

SHOWN = 12  # rows of the table that stay visible


def progress(stream: TextIO | None = None) -> Listener:
    """Return the listener that suits the stream (stderr if not given)."""
    stream = stream or sys.stderr
    return LiveTable(stream) if stream.isatty() else PlainLines(stream)


class PlainLines:
    """A listener that prints one line per epoch; a closed stream is no reason to stop."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._epochs = 0

    def start(self, plan: RunPlan) -> None:
        """Print one line about the run."""
        self._epochs = plan.epochs
        self._say(opening(plan))
        for line in plan.memory:
            self._say(line)
        if plan.choice:
            self._say(f"validation: {plan.choice}")

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Do nothing."""

    def epoch(self, row: dict[str, Any]) -> None:
        """Print the row in words."""
        self._say(f"epoch {row['epoch']}/{self._epochs}  " + "  ".join(_words(row)))

    def note(self, text: str) -> None:
        """Print a note."""
        self._say(f"note: {text}")

    def end(self) -> None:
        """Do nothing."""

    def _say(self, text: str) -> None:
        try:
            print(printable(text), file=self._stream, flush=True)
        except CLOSED:
            return


class LiveTable:
    """A listener that draws a bar for the epoch, a bar for the run, and the last rows."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=cast("TextIO", _ClosedOrNot(stream)))
        self._live = Live(console=self._console, refresh_per_second=8, transient=False)
        self._rows: list[dict[str, Any]] = []

    def start(self, plan: RunPlan) -> None:
        """Draw the empty table."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._console.print(opening(plan), style="dim", highlight=False)
        for line in plan.memory:
            self._console.print(printable(line), style="dim", highlight=False, markup=False)
        if plan.choice:
            self._console.print(
                f"validation: {plan.choice}", style="dim", highlight=False, markup=False
            )
        self._steps = plan.steps
        columns = "{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bars = Progress(*columns, console=self._console)
        self._whole = self._bars.add_task("run", total=plan.epochs * plan.steps)
        self._part = self._bars.add_task("epoch", total=plan.steps)
        self._bars.update(self._whole, completed=(plan.first_epoch - 1) * plan.steps)
        self._live.start()
        self._draw()

    def step(self, epoch: int, step: int, loss: float) -> None:
        """Move the bars."""
        self._bars.update(self._part, completed=step, description=f"loss {loss:.3g}")
        self._bars.update(self._whole, completed=(epoch - 1) * self._steps + step)

    def epoch(self, row: dict[str, Any]) -> None:
        """Add the row."""
        self._rows = [*self._rows, row][-SHOWN:]
        self._draw()

    def note(self, text: str) -> None:
        """Print a note above the table."""
        self._console.print(
            f"note: {printable(text)}", style="yellow", highlight=False, markup=False
        )

    def end(self) -> None:
        """Leave the table as it is."""
        self._live.stop()

    def _draw(self) -> None:
        from rich.console import Group

        self._live.update(Group(self._table(), self._bars))

    def _table(self) -> Any:
        from rich.box import SIMPLE
        from rich.table import Table

        table = Table(box=SIMPLE, pad_edge=False)
        for head in ("epoch", "rate", "train", "valid", "seconds", "skipped"):
            table.add_column(head, justify="right")
        for row in self._rows:
            numbers = [_number(row[key]) for key in ("lr", "train_loss")]
            numbers.append(_number((row["valid"] or {}).get("rel_l2")))
            cells = (str(row["epoch"]), *numbers, f"{row['seconds']:.1f}")
            table.add_row(*cells, str(row["skipped"] or ""))
        return table


class _ClosedOrNot:
    """A text stream, to which nothing is written once its terminal is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, unless the terminal is closed."""
        with suppress(*CLOSED):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream, unless the terminal is closed."""
        with suppress(*CLOSED):
            self._stream.flush()


def opening(plan: RunPlan) -> str:
    """Describe samples, parameters, steps and device of a run in one line."""
    text = f"{plan.samples} samples, {plan.parameters:,} parameters, {plan.steps} steps an epoch, "
    text += f"{plan.precision} on {plan.device}"
    return text + (f", from epoch {plan.first_epoch}" if plan.first_epoch > 1 else "")


def _words(row: dict[str, Any]) -> list[str]:
    valid = [f"valid {_number(row['valid']['rel_l2'])}"] if row["valid"] else []
    words = [f"train {_number(row['train_loss'])}", *valid, f"lr {_number(row['lr'])}"]
    words.append(f"{row['seconds']:.1f} s")
    return words + ([f"{row['skipped']} steps skipped"] if row["skipped"] else [])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def stopped_text(stop: Interrupted, run: Path) -> str:
    """Return the message for an interrupted run, and how to continue it."""
    if not stop.saved and not (run / "checkpoints").is_dir():
        return "stopped before the first checkpoint"
    status = "stopped and saved" if stop.saved else "stopped without a new checkpoint"
    return f"{status}; to go on: {shlex.join(['opdsl', 'train', '--resume', str(run)])}"
