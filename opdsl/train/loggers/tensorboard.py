"""Numbers of a run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping

from opdsl.train.loggers import LoggedRun, LoggerEntry, LogSink

FOLDER = "tensorboard"  # in the folder of the run


class _TensorBoard:
    """Writes event files with torch's `SummaryWriter`."""

    def __init__(self, run: LoggedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # rows behind the step of a run that goes on belong to epochs that are repeated
        purge = run.step + 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / FOLDER), purge_step=purge)
        rows = "\n".join(f"| {k} | {v} |" for k, v in run.settings.items())
        text = f"| setting | value |\n| --- | --- |\n{rows}"
        self._writer.add_text("settings", text)

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Add a scalar for each number."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the file."""
        self._writer.close()


def _open(run: LoggedRun) -> LogSink:
    return _TensorBoard(run)


LOGGER = LoggerEntry(
    description="""Event files in the folder `tensorboard` of the run; `tensorboard --logdir runs`
    shows all runs below `runs`.
    """,
    package="tensorboard",
    extra="tensorboard",
    open=_open,
)
