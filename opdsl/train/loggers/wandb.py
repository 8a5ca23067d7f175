"""Numbers of a run for Weights & Biases, offline unless the environment says otherwise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from opdsl.train.loggers import LoggedRun, LoggerEntry, LogSink


class _WandB:
    """A run of Weights & Biases, which a run that goes on continues."""

    def __init__(self, run: LoggedRun) -> None:
        import wandb

        folder = str(run.folder.resolve())
        self._run = wandb.init(
            mode="online" if os.environ.get("WANDB_MODE") == "online" else "offline",
            project=os.environ.get("WANDB_PROJECT", "opdsl"),
            name=run.folder.name,
            id=hashlib.sha256(folder.encode()).hexdigest()[:12],
            resume="allow",
            config=dict(run.settings),
            settings=wandb.Settings(console="off", silent=True),
        )

    def write(self, numbers: Mapping[str, float], step: int) -> None:
        """Log the numbers of a step."""
        self._run.log({**numbers, "step": step})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def _open(run: LoggedRun) -> LogSink:
    return _WandB(run)


LOGGER = LoggerEntry(
    description="""A run in the folder `wandb` of the working directory (or `WANDB_DIR`), offline,
    which `wandb sync` uploads; `WANDB_MODE=online` sends it at once. `WANDB_PROJECT` names the
    project.
    """,
    package="wandb",
    extra="wandb",
    open=_open,
)
