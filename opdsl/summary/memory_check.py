"""Check whether a model fits into memory, before anything is allocated.

The estimate is a lower bound: whatever is refused could not have run.
"""

from __future__ import annotations

from collections.abc import Mapping

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.memory import free_memory
from opdsl.precisions import BYTES, PRECISIONS, Precision
from opdsl.summary.count import summarise
from opdsl.summary.table import memory

DomainSizes = Mapping[str, tuple[int, ...]]


def sizes_at(
    graph: Graph, resolution: tuple[int, ...], points: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Return the points on each axis of each declared domain for data of `resolution`.

    Args:
        graph: the model.
        resolution: points of the data on each axis of a grid.
        points: number of scattered points of a sample, if the data have any.
    """
    scattered = None if points is None else (points,)
    data_sizes = {x.name: (scattered if x.scattered else None) or resolution for x in graph.domains}
    return {
        x.name: tuple(
            a.least if a.pinned or i >= len(data_sizes[x.name]) else data_sizes[x.name][i]
            for i, a in enumerate(x.axes)
        )
        for x in graph.domains
    }


def weight_bytes(graph: Graph, precision: str = "fp32") -> int:
    """Return the bytes of the weights."""
    return summarise(graph).params * BYTES[_precision(precision).weights]


def _precision(name: str) -> Precision:
    # `mixed` counts as bf16, as on some devices: the estimate must be a lower bound
    return PRECISIONS["bf16" if name == "mixed" else name]


def step_bytes(
    graph: Graph, sizes: DomainSizes, batch: int, precision: str, moments: int
) -> dict[str, int]:
    """Return the least bytes of a training step, by purpose.

    Args:
        graph: the model.
        sizes: points on each axis of each declared domain.
        batch: number of samples.
        precision: name of the precision.
        moments: numbers in the state of the optimizer for each weight.
    """
    summary = summarise(graph, sizes)
    weights = weight_bytes(graph, precision)
    in_float32 = batch * (summary.number(summary.bytes) or 0)
    results = in_float32 * BYTES[_precision(precision).results] // BYTES["float32"]
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": moments * weights,
        f"results of {batch} samples": results,
    }


def refuse_too_large(
    model: str, parts: Mapping[str, int], *, free: int | None = None, helps: tuple[str, ...] = ()
) -> None:
    """Refuse what cannot fit into memory.

    Args:
        model: its name.
        parts: bytes, by purpose.
        free: available bytes; by default those of this machine.
        helps: ways to make it smaller.

    Raises:
        OpError: OP0630, the parts exceed the available memory.
    """
    needed, budget = sum(parts.values()), free_memory() if free is None else free
    if needed <= budget:
        return
    sizes = ", ".join(f"{what} {memory(size)}" for what, size in parts.items())
    message = f"`{model}` needs at least {memory(needed)}, and {memory(budget)} are free"
    cures = (*helps, "or use fewer modes or channels: `--set model.NAME=VALUE`")
    raise fault("OP0630", message, notes=(sizes,), helps=cures)
