"""`opdsl launch`: the script of a job that trains on several machines."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli.console import UsageError, result
from opdsl.cli.options import Spec

SAVING = 120  # seconds between the signal to save and the end of a job
PORT = 29500


def command(
    spec: Spec,
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTION...]", help="Options of `opdsl train`, behind `--`."),
    ] = None,
    slurm: Annotated[
        bool, typer.Option("--slurm", help="Print a script for `sbatch` of Slurm.")
    ] = False,
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", min=1, help="The number of machines.")
    ] = 1,
    gpus: Annotated[
        int,
        typer.Option("--gpus", metavar="G", min=0, help="CUDA devices of a machine; 0 for none."),
    ] = 1,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes", metavar="P", min=1, help="Processes of a machine; one for each device."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run's folder; runs/SPEC.")
    ] = None,
    time: Annotated[
        str, typer.Option("--time", metavar="H:M:S", help="The time limit of the job.")
    ] = "24:00:00",
    partition: Annotated[
        str | None, typer.Option("--partition", metavar="NAME", help="The partition of Slurm.")
    ] = None,
) -> None:
    """Print the script of a job that trains on several machines.

    A job that is started again, as after its time limit, goes on with its run.

    Example: opdsl launch --slurm darcy.op --nodes 2 --gpus 4 -- --epochs 100
    """
    if not slurm:
        raise UsageError("choose the scheduler: `opdsl launch --slurm ...`")
    if not Path(spec).is_file():
        raise UsageError(f"there is no program `{spec}`")
    name = Path(spec).stem
    rows = [
        f"--job-name={name}",
        f"--nodes={nodes}",
        f"--ntasks-per-node={processes or max(gpus, 1)}",
        *([f"--gpus-per-node={gpus}"] if gpus else []),
        f"--time={time}",
        *([f"--partition={partition}"] if partition else []),
        f"--signal=TERM@{SAVING}",
        "--requeue",
        f"--output={name}-%j.log",
    ]
    head = "\n".join(f"#SBATCH {shlex.quote(x)}" for x in rows)
    run = shlex.quote(str(out or Path("runs") / name))
    more = shlex.join(["--device", "cuda" if gpus else "cpu", *(options or ())])
    result(SCRIPT.format(head=head, run=run, spec=shlex.quote(spec), more=more, port=PORT))


SCRIPT = """#!/bin/bash
{head}
# Trains one model in all tasks of the job. Before the time limit all tasks save and stop; the job
# is queued again by `scontrol requeue`, or this script is submitted again, and the run goes on.
set -u
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$(({port} + SLURM_JOB_ID % 1000))
run={run}
if [ -f "$run/opdsl.json" ]; then
  command=(opdsl train --resume "$run" {more})
else
  command=(opdsl train {spec} --out "$run" {more})
fi
srun --kill-on-bad-exit=1 bash -c '
  export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
  export WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
  exec "$@"
' task "${{command[@]}}"
code=$?
if [ "$code" -eq 143 ]; then
  scontrol requeue "$SLURM_JOB_ID"  # stopped by the time limit, and saved
fi
exit "$code"
"""
