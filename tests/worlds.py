"""Several processes under gloo, in which a test runs a function: `run_world`.

The processes are forked from one that has imported torch, so a world starts in about a second.
"""

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

WAIT = 240.0  # seconds for a world, on a machine that is busy
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["torch", "torch.distributed.checkpoint", "opdsl.api", "pytest", "tests.worlds"]
)


def run_world(world: int, function: Callable[..., Any], *args: Any) -> list[Any]:
    """Run `function(*args)` in `world` processes that form torch's default group.

    Args:
        world: the number of processes.
        function: at the top level of a module of tests.
        args: tensors and plain values, equal in all processes.

    Returns:
        The results in the order of the ranks.

    Raises:
        AssertionError: a process raised an exception, died, or did not end in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.save(args, Path(folder, "args.pt"))
        processes = [
            _CONTEXT.Process(target=_run, args=(rank, world, folder, function))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        end = time.monotonic() + WAIT
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))
        late = [process for process in processes if process.is_alive()]
        for process in late:
            process.kill()
            process.join()
        errors = [x.read_text() for x in sorted(Path(folder).glob("error-*"))]
        codes = [process.exitcode for process in processes]
        assert not errors, "\n".join(errors)
        assert not late, f"{len(late)} of {world} processes did not end in {WAIT:.0f} s"
        assert codes == [0] * world, f"exit codes {codes}"
        return [
            torch.load(Path(folder, f"result-{rank}.pt"), weights_only=False)
            for rank in range(world)
        ]


def _run(rank: int, world: int, folder: str, function: Callable[..., Any]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
    store = dist.FileStore(str(Path(folder, "store")), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    try:
        result = function(*torch.load(Path(folder, "args.pt"), weights_only=False))
        torch.save(result, Path(folder, f"result-{rank}.pt"))
    except BaseException:
        Path(folder, f"error-{rank}").write_text(f"rank {rank}:\n{traceback.format_exc()}")
        raise
    finally:
        dist.destroy_process_group()
