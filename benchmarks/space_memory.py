"""Train an FNO 3-D whose step does not fit the memory of one process on two: `--points N`.

Every process may allocate a stated number of megabytes beyond what it has after starting
(RLIMIT_DATA). One process with the whole grid must run out of memory, two with half of it must
train, and their losses must be those of one process without a limit.
"""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))

from opdsl.compiler import load
from opdsl.lower.module import OperatorModule, lower
from opdsl.lower.sharded.running import shard
from opdsl.parallel.mesh import ProcessMesh
from opdsl.resources import root
from tests.worlds import run_world

MB = 1 << 20
STEPS = 3


def data_bytes() -> int:
    """Read the bytes that RLIMIT_DATA counts."""
    status = Path("/proc/self/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmData"))
    return int(line.split()[1]) * 1024


def train(points: int, width: int, budget: int | None) -> dict[str, Any]:
    """Train some steps on random fields, all processes of the world on one sample.

    Args:
        points: on each axis.
        width: channels of the model.
        budget: megabytes that this process may allocate; None: any.

    Returns:
        The losses, or `error` where memory ran out, and the growth of the resident set in MB.
    """
    torch.manual_seed(0)
    module = lower(load(root("specs") / "fno_3d.op", width=width, modes=4))
    space = dist.get_world_size()
    shard(module, ProcessMesh.of_world(space), "x")
    fields = torch.randn(2, 1, 1, *(points,) * 3)
    warm_up(module)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if budget is not None:
        limit = data_bytes() + budget * MB
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    try:
        losses = steps(module, *fields)
    except (RuntimeError, MemoryError) as error:
        return {"error": str(error).splitlines()[0]}
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"losses": losses, "grown": after - before}


def warm_up(module: OperatorModule) -> None:
    """Run a small step, so that libraries have their memory before the limit is set."""
    module(torch.randn(1, 1, 13, 13, 13)).sum().backward()
    module.zero_grad()


def steps(module: OperatorModule, a: torch.Tensor, u: torch.Tensor) -> list[float]:
    """Take steps of AdamW; gradients of weights add up over the processes."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = (module(a) - u).square().mean()
        loss.backward()
        for p in module.parameters():
            dist.all_reduce(p.grad)
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Print what happens with and without the limit, in one process and in two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=80)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--budget", type=int, help="MB; the middle of both needs by default")
    options = parser.parse_args()
    task = options.points, options.width
    (alone,) = run_world(1, train, *task, None)
    pair = run_world(2, train, *task, None)
    needs = [alone["grown"], max(x["grown"] for x in pair)]
    budget = options.budget or round(sum(needs) / 2)
    print(f"FNO 3-D, width {options.width}, {options.points}^3 points, batch 1, {STEPS} steps")
    print(
        f"without a limit: one process grows by {needs[0]:.0f} MB, each of two by {needs[1]:.0f} MB"
    )
    print(f"greatest difference of losses: {difference(alone, pair[0]):.1e}")
    (alone,) = run_world(1, train, *task, budget)
    pair = run_world(2, train, *task, budget)
    print(f"limit {budget} MB, one process: {alone.get('error', alone.get('losses'))}")
    for rank, x in enumerate(pair):
        print(f"limit {budget} MB, process {rank} of two: {x.get('error', x.get('losses'))}")


def difference(a: dict[str, Any], b: dict[str, Any]) -> float:
    """Return the greatest relative difference of losses."""
    return max(abs(x - y) / x for x, y in zip(a["losses"], b["losses"], strict=True))


if __name__ == "__main__":
    main()
