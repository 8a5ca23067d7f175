"""Whether a model can fit at all, before anything is allocated.

What comes in: a graph and, for training, the size of a step. What goes out: nothing, or OP0630 with
the numbers. The estimate is a lower bound: whatever is refused could not have run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.precisions import BYTES, PRECISIONS, Precision
from opdsl.summary.count import summarise
from opdsl.summary.table import memory

MOMENTS = {"adamw": 2, "adam": 2, "sgd": 1}  # numbers that an optimizer keeps for each weight

Sizes = Mapping[str, tuple[int, ...]]


def sizes_at(
    graph: Graph, resolution: tuple[int, ...], points: int | None = None
) -> dict[str, tuple[int, ...]]:
    """Points on each axis of each declared domain where the data have `resolution`.

    Args:
        points: of a sample, where the data have points beside or instead of a grid.
    """
    scattered = None if points is None else (points,)
    have = {x.name: (scattered if x.scattered else None) or resolution for x in graph.domains}
    return {
        x.name: tuple(
            a.least if a.pinned or i >= len(have[x.name]) else have[x.name][i]
            for i, a in enumerate(x.axes)
        )
        for x in graph.domains
    }


def weight_bytes(graph: Graph, precision: str = "fp32") -> int:
    """Bytes of the weights."""
    return summarise(graph).params * BYTES[_precision(precision).weights]


def _precision(name: str) -> Precision:
    # `mixed` is narrow on some devices, and the estimate is a lower bound
    return PRECISIONS["bf16" if name == "mixed" else name]


def step_bytes(
    graph: Graph, sizes: Sizes, batch: int, precision: str, optimizer: str
) -> dict[str, int]:
    """What a step of training takes at least, by what takes it."""
    found = summarise(graph, sizes)
    weights = weight_bytes(graph, precision)
    wide = batch * (found.number(found.bytes) or 0)  # in float32
    results = wide * BYTES[_precision(precision).results] // BYTES["float32"]
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer": MOMENTS[optimizer] * weights,
        f"results of {batch} samples": results,
    }


def refuse_too_large(
    model: str, parts: Mapping[str, int], *, free: int | None = None, helps: tuple[str, ...] = ()
) -> None:
    """Stop before something that cannot fit.

    Args:
        model: its name.
        parts: bytes, by what takes them.
        free: bytes that there are; those of this machine if not given.
        helps: what would make it smaller.

    Raises:
        OpError: OP0630.
    """
    needed, room = sum(parts.values()), available() if free is None else free
    if room is None or needed <= room:
        return
    told = ", ".join(f"{what} {memory(size)}" for what, size in parts.items())
    message = f"`{model}` needs at least {memory(needed)}, and {memory(room)} are free"
    cures = (*helps, "or use fewer modes or channels: `--set model.NAME=VALUE`")
    raise fault("OP0630", message, notes=(told,), helps=cures)


def available() -> int | None:
    """Bytes that this process can still get, None where the system does not tell."""
    told = [x for x in (_machine(), _group()) if x is not None]
    return min(told) if told else None


def _machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _group() -> int | None:
    """What the control group of a container leaves; its cache counts as free."""
    root = Path("/sys/fs/cgroup")
    try:
        limit = int((root / "memory.max").read_text("ascii"))
        used = int((root / "memory.current").read_text("ascii"))
        lines = (root / "memory.stat").read_text("ascii").splitlines()
        cache = sum(
            int(x.split()[1]) for x in lines if x.startswith(("inactive_file ", "active_file "))
        )
    except (OSError, ValueError, IndexError):
        return None
    return limit - used + cache
