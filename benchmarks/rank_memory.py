"""Peak memory of a process with a part of the grid: predicted, and measured.

    python benchmarks/rank_memory.py --processes 1 2 4

Each number of processes takes training steps of FNO-3D (`specs/fno_3d.op`) on random data under
gloo, with AdamW. Two measurements: the bytes of all tensors that torch allocates, at their peak in
a step, and the growth of the resident set over that of the process before the model was built,
which also contains buffers of gloo, of the allocator and of oneDNN.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from opdsl.compiler import load
from opdsl.lower.memory.allocations import Allocations
from opdsl.lower.module import lower
from opdsl.parallel.mesh import ProcessMesh
from opdsl.workflow.plans import plan_processes

MIB = 2**20
SPEC = Path(__file__).parents[1] / "specs" / "fno_3d.op"


def resident() -> int:
    """Bytes of the largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(rank: int, world: int, folder: str, size: int, batch: int) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    from opdsl.lower.sharded.running import shard

    warm = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(warm.parameters())
    warm(torch.randn(2, 4)).sum().backward()
    optimizer.step()  # imports and code of torch are in memory
    before = resident()
    torch.manual_seed(0)
    module = lower(load(SPEC))
    shard(module, ProcessMesh.of_world(world), "x")
    x = torch.randn(batch, 1, size, size, size)
    truth = torch.randn_like(x)
    optimizer = torch.optim.AdamW(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        (module(x) - truth).square().mean().backward()
        for p in module.parameters():
            if world > 1:
                dist.all_reduce(p.grad)
        optimizer.step()

    step()
    optimizer.zero_grad()
    state = [y for z in optimizer.state.values() for y in z.values()]
    there = sum(y.nbytes for y in (*module.parameters(), *state, x, truth))
    with Allocations() as allocations:
        step()
    torch.save((there + allocations.peak, resident() - before), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    print(f"FNO-3D, {options.size}^3 points, batch {options.batch}, float32, AdamW")
    print("| processes | predicted MiB | tensors MiB | error | resident MiB |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    for world in options.processes:
        sizes = {"D": (options.size,) * 3}
        plan = plan_processes(load(SPEC), sizes, options.batch, world, f"x={world}")
        predicted = plan.memory.total
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(measure, (world, folder, options.size, options.batch), nprocs=world)
            measured = [torch.load(f"{folder}/{r}.pt") for r in range(world)]
        tensors, rss = (max(column) for column in zip(*measured, strict=True))
        error = predicted / tensors - 1
        print(
            f"| {world} | {predicted / MIB:.1f} | {tensors / MIB:.1f} | {error:+.1%} | "
            f"{rss / MIB:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
