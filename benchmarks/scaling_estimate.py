"""Estimated time of a training step on up to 1024 GPUs, from counted bytes and stated speeds.

    python benchmarks/scaling_estimate.py

No run of this size was made. The bytes are those of `plan_sharding`, which tests compare with the
bytes that processes send; speeds of links are those of data sheets times `EFFICIENCY`, and the time
of the computation is that of the planner's rates for an accelerator, which are assumed. Exchanges,
the sum of the gradients and computation follow each other: nothing overlaps.
"""

import math
from dataclasses import dataclass

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.ir.sharding.memory import rank_memory
from opdsl.ir.sharding.plan import ShardingPlan, plan_sharding
from opdsl.lower.plan.planner import forecast, plan_kernels
from opdsl.lower.plan.tuning_case import Workload

NODE = 8  # GPUs in a machine
EFFICIENCY = 0.7  # of the speed of a link that large exchanges reach
PASSES = 3  # forward; the gradients of inputs and of weights take as long again, each


@dataclass(frozen=True)
class Link:
    """Bytes per second of a GPU in one direction, and seconds of a message."""

    speed: float
    latency: float


# NVLink 4: 900 GB/s both ways (NVIDIA H100 data sheet); NDR InfiniBand: 400 Gbit/s for each GPU
INSIDE = Link(450e9 * EFFICIENCY, 5e-6)
BETWEEN = Link(50e9 * EFFICIENCY, 15e-6)

PROGRAM = """edition 2026
from std.fourier import FourierLayer
from std.pointwise import Lift, Project
model Box {
  domain D = grid(x: 0..1, y: 0..1, z: 0..1, boundary = periodic, min = 64)
  input a : D -> R^4
  output u : D -> R^4
  u = a |> Lift(out = 48) |> repeat 4 { FourierLayer(modes = 16, FACTOR) } |> Project(out = 4)
}
"""
FACTORS = {"dense weights": "factor = dense", "weights by Tucker": "factor = tucker, rank = 0.1"}
SIZE = 256
BATCH = 32


def compute_seconds(graph: Graph, plan: ShardingPlan) -> float:
    """Seconds of a step of one process: its share of the work of its samples."""
    work = Workload(plan.sizes, plan.batch, "cuda", 1, "float32")
    chosen = plan_kernels(graph, plan.sizes, plan.batch, "cuda")
    kernels = {k: x.kernel for k, x in chosen.choices.items()}
    return PASSES * forecast(graph, graph.nodes, work, kernels).milliseconds / 1e3 / plan.ranks


def exchange_seconds(plan: ShardingPlan, link: Link) -> float:
    """Seconds of all exchanges of a step among the processes of a sample."""
    total = 0.0
    for x in plan.exchanges:
        for sent in (x.sent, x.sent_backward):
            if any(sent):
                total += max(sent) / link.speed + (plan.ranks - 1) * link.latency
    return total


def gradient_seconds(weights: int, processes: int) -> float:
    """Seconds of the sum of gradients: within the machines, then between them."""
    if processes == 1:
        return 0.0
    inside, machines = min(processes, NODE), math.ceil(processes / NODE)
    seconds = 2 * weights * (inside - 1) / inside / INSIDE.speed + 2 * inside * INSIDE.latency
    if machines > 1:
        # each GPU of a machine sums its share with those of the other machines
        seconds += 2 * weights / inside * (machines - 1) / machines / BETWEEN.speed
        seconds += 2 * machines * BETWEEN.latency
    return seconds


def main() -> None:
    print(f"FNO-3D, {SIZE}^3 points, 48 channels, 16 modes, 4 layers, batch {BATCH}, float32")
    for name, factor in FACTORS.items():
        table(name, load(PROGRAM.replace("FACTOR", factor)))


def table(name: str, graph: Graph) -> None:
    sizes = {"D": (SIZE,) * 3}
    heads = ("GPUs", "data x space", "samples each", "GiB each", "compute ms", "exchanges ms")
    heads += ("gradients ms", "step ms", "efficiency")
    print(f"\n{name}\n\n| {' | '.join(heads)} |\n|{' ---: |' * len(heads)}")
    first = 0.0
    for power in range(11):
        gpus = 2**power
        data = min(gpus, BATCH)
        space = gpus // data
        plan = plan_sharding(graph, space, "x", sizes, BATCH // data)
        memory = rank_memory(plan)
        parts = (
            compute_seconds(graph, plan),
            exchange_seconds(plan, INSIDE if space <= NODE else BETWEEN),
            gradient_seconds(memory.weights, gpus),
        )
        first = first or sum(parts)
        cells = [f"{1e3 * x:.1f}" for x in (*parts, sum(parts))]
        print(
            f"| {gpus} | {data} x {space} | {plan.batch} | {memory.total / 2**30:.1f} | "
            f"{' | '.join(cells)} | {first / sum(parts) / gpus:.0%} |"
        )


if __name__ == "__main__":
    main()
