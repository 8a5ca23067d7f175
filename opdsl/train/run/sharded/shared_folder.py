"""The check that all processes of a run see one run folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch.distributed as dist

from opdsl.diagnostics import fault
from opdsl.files import temporary_name

SHOWN = 8  # processes that a message names


def refuse_separate_folders(run: Path, group: dist.ProcessGroup) -> None:
    """Refuse a run folder that is another one for some processes, as on disks of two machines.

    Args:
        run: the folder.
        group: of all processes.

    Raises:
        OpError: OP0840, naming processes that do not see it; OP0625, it cannot be written.
    """
    rank = dist.get_rank(group)
    answer: list[Any] = [None, None]
    if rank == 0:
        answer = [temporary_name(), None]
        try:
            (run / answer[0]).mkdir()
        except OSError as error:
            answer = [None, str(error)]
    dist.broadcast_object_list(answer, group_src=0, group=group)
    name, problem = answer
    if name is None:
        raise fault("OP0625", f"the run folder cannot be used: {problem}", file=str(run))
    seen: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(seen, (run / name).is_dir(), group=group)
    if rank == 0:
        with suppress(OSError):
            (run / name).rmdir()
    if blind := [i for i, x in enumerate(seen) if not x]:
        names = ", ".join(map(str, blind[:SHOWN])) + (", ..." if len(blind) > SHOWN else "")
        noun = "process" if len(blind) == 1 else "processes"
        message = f"the run folder of process 0 is not that of {noun} {names}"
        helps = (
            "put it on a file system that all machines share: `--out FOLDER`",
            "start the processes in the same folder",
        )
        notes = ("each process writes its part of a checkpoint there, and reads it again",)
        raise fault("OP0840", message, notes=notes, helps=helps, file=str(run))
