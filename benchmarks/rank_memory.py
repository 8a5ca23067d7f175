"""Peak memory of a process with a part of the grid: predicted, and measured.

    python benchmarks/rank_memory.py --models all --processes 1 2 4

Each number of processes takes training steps of each model on random data under gloo, with AdamW.
Two measurements: the bytes of all tensors that torch allocates, at their peak in a step, and, with
`--resident`, the growth of the resident set over that of the process before the model was built,
which also contains buffers of gloo, of the allocator and of oneDNN.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.lower.memory.allocations import Allocations
from opdsl.lower.module import lower
from opdsl.parallel.mesh import ProcessMesh
from opdsl.train.losses.l2 import rel_l2
from opdsl.workflow.plans import plan_processes

MIB = 2**20
SPECS = Path(__file__).parents[1] / "specs"
# `specs/transolver.op` is on points, which cannot be divided
TRANSOLVER = """edition 2026
from std.pointwise import Lift, Project
from std.transformer import PhysicsLayer
model Transolver {
  domain D = grid(x: 0..1, y: 0..1, min = 16)
  input a : D -> R^1
  output u : D -> R^1
  u = concat(a, coords(D))
    |> Lift(out = 64)
    |> repeat 4 { PhysicsLayer(slices = 32, heads = 4) }
    |> norm(kind = layer)
    |> Project(out = 1)
}
"""


@dataclass(frozen=True, slots=True)
class MemoryCase:
    """A model and the size of its step.

    Attributes:
        program: a file in `specs`, or the text of a program.
        grid: points on each axis of the first domain.
        batch: samples of a step.
        axis: the axis that is divided.
    """

    program: str
    grid: tuple[int, ...]
    batch: int
    axis: str = "x"

    def graph(self) -> Graph:
        """Compile the program."""
        return load(self.program if "\n" in self.program else SPECS / self.program)

    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Return the points of the declared domain."""
        return {self.graph().domains[0].name: self.grid}


CASES = {
    "FNO-1D": MemoryCase("fno_burgers.op", (4096,), 16),
    "FNO-2D": MemoryCase("fno_darcy.op", (96, 96), 8),
    "FNO-3D": MemoryCase("fno_3d.op", (28, 28, 28), 2),
    "TFNO": MemoryCase("tfno_darcy.op", (128, 128), 8),
    "UNO": MemoryCase("uno_darcy.op", (144, 144), 8),
    "SFNO": MemoryCase("sfno_swe.op", (64, 128), 8, "lat"),
    "Transolver": MemoryCase(TRANSOLVER, (64, 64), 8),
    "RNO": MemoryCase("rno_burgers.op", (4096,), 16),
    "half-waves, 1-D": MemoryCase("burgers_walls.op", (4096,), 16),
    "half-waves, 2-D": MemoryCase("darcy.op", (96, 96), 8),
    "LocalNO": MemoryCase("local_no.op", (96, 96), 4),
}


def resident() -> int:
    """Bytes of the largest resident set so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tensors_of_step(case: MemoryCase, world: int) -> int:
    """Return the most bytes of tensors of this process in a training step.

    Every process of a world must call it.
    """
    from opdsl.lower.sharded.running import shard

    torch.manual_seed(0)
    graph, sizes = case.graph(), case.sizes()
    module = lower(graph)
    shard(module, ProcessMesh.of_world(world), case.axis)
    inputs = [_random(x.space.channels, x.space.domain.at(sizes), case) for x in graph.inputs]
    truths = [_random(x.space.channels, x.space.domain.at(sizes), case) for x in graph.outputs]
    optimizer = torch.optim.AdamW(module.parameters())

    def step() -> None:
        optimizer.zero_grad()
        result = module(*inputs)
        outputs = [result] if isinstance(result, Tensor) else list(result.values())
        pairs = zip(outputs, truths, strict=True)
        sum(rel_l2(y, truth).mean() for y, truth in pairs).backward()
        del result, outputs
        if world > 1:
            for p in module.parameters():
                dist.all_reduce(p.grad)
        optimizer.step()

    step()  # creates the moments and tables
    optimizer.zero_grad()
    state = [y for z in optimizer.state.values() for y in z.values()]
    there = sum(y.nbytes for y in (*module.parameters(), *state, *inputs, *truths))
    with Allocations() as allocations:
        step()
    return there + allocations.peak


def _random(channels: object, grid: Sequence[int], case: MemoryCase) -> Tensor:
    return torch.randn(case.batch, int(str(channels)), *grid)


def measure(rank: int, world: int, folder: str, names: Sequence[str]) -> None:
    """Measure some models in one process of a world, and write a file with the bytes."""
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    warm = torch.nn.Linear(4, 4)
    optimizer = torch.optim.AdamW(warm.parameters())
    warm(torch.randn(2, 4)).sum().backward()
    optimizer.step()  # imports and code of torch are in memory
    result = {}
    for name in names:
        before = resident()
        result[name] = tensors_of_step(CASES[name], world), resident() - before
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def measured(names: Sequence[str], world: int) -> Mapping[str, tuple[int, int]]:
    """Return the most bytes of tensors and of the resident set that a process needs."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(measure, (world, folder, names), nprocs=world)
        ranks = [torch.load(f"{folder}/{r}.pt") for r in range(world)]
    return {x: tuple(map(max, zip(*(y[x] for y in ranks), strict=True))) for x in names}


def predicted(case: MemoryCase, world: int) -> int:
    """Return the bytes that the plan predicts."""
    space = f"{case.axis}={world}"
    return plan_processes(case.graph(), case.sizes(), case.batch, world, space).memory.total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--models", nargs="+", default=["FNO-3D"], choices=["all", *CASES])
    parser.add_argument("--resident", action="store_true", help="measure one model at a time")
    options = parser.parse_args()
    names = list(CASES) if "all" in options.models else options.models
    print("| model | points | batch | processes | predicted MiB | tensors MiB | error |", end="")
    print(" resident MiB |" if options.resident else "")
    print("| :-- | :-- | ---: | ---: | ---: | ---: | ---: |", end="")
    print(" ---: |" if options.resident else "")
    # the resident set never shrinks, so that each model needs a process of its own
    groups = [[x] for x in names] if options.resident else [names]
    for group in groups:
        for world in options.processes:
            for name, (tensors, rss) in measured(group, world).items():
                case, bytes_of_plan = CASES[name], predicted(CASES[name], world)
                cells = (
                    name,
                    " x ".join(map(str, case.grid)),
                    case.batch,
                    world,
                    f"{bytes_of_plan / MIB:.1f}",
                    f"{tensors / MIB:.1f}",
                    f"{bytes_of_plan / tensors - 1:+.1%}",
                    *([f"{rss / MIB:.1f}"] if options.resident else []),
                )
                print(f"| {' | '.join(map(str, cells))} |", flush=True)


if __name__ == "__main__":
    main()
