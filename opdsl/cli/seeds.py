"""`opdsl train --seeds N`: several runs, and the mean and deviation of their errors."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from opdsl.cli.console import UsageError, result, say, show_json, table, warn

if TYPE_CHECKING:
    from opdsl.setting import Setting
    from opdsl.train.config.settings import ResolvedSettings
    from opdsl.train.run.listener import Listener
    from opdsl.workflow.programs.program import Program


def folder_of(resume: str | None, out: Path | None, program: Program) -> Path:
    """Return the folder of all runs.

    Raises:
        UsageError: `--resume` stands alone.
    """
    from opdsl.workflow.folder.writing import new_folder

    if resume is not None:
        if not resume and out is None:
            raise UsageError("`--seeds` with `--resume` needs the folder of the runs")
        return Path(resume) if resume else Path(str(out))
    return out if out is not None else new_folder(program.graph.name)


def train_with_seeds(
    program: Program,
    resolved: ResolvedSettings,
    folder: Path,
    count: int,
    *,
    resume: bool,
    options: Sequence[Setting],
    listener: Callable[[], Listener],
    source: Path | None,
    as_json: bool,
) -> None:
    """Train with several seeds and print the table."""
    from opdsl.workflow.training.interrupt import Interrupted
    from opdsl.workflow.training.seeds import cells, train_seeds

    try:
        summary = train_seeds(
            program,
            resolved,
            folder,
            count,
            resume=resume,
            options=options,
            listener=listener,
            source=source,
            announce=lambda seed, run: say(f"seed {seed}: {run}"),
            warn=warn,
        )
    except Interrupted as stop:
        command = shlex.join(["--seeds", str(count), "--resume", str(folder)])
        say(f"stopped; to go on, call `opdsl train PROGRAM` again with {command}")
        raise typer.Exit(stop.exit_code) from stop
    if as_json:
        show_json(summary.to_json())
        return
    seeds = f"{count} seeds from {summary.seeds[0]} on"
    errors = [table(list(cells(summary)), left=2)] if summary.rows() else []
    result("\n".join([*errors, f"mean +- standard deviation of {seeds}", f"runs  {folder}"]))
