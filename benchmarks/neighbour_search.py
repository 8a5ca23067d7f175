"""Times the search for neighbours beside neuraloperator's native one.

    OMP_NUM_THREADS=1 PYTHONPATH=.:NEURALOPERATOR python benchmarks/neighbour_search.py --write

Three ways look for the same neighbours in one process, taken in turn, the least time of several:
our k-d tree, our grid of cells (what accelerators use, here on the CPU), and
`NeighborSearch(use_open3d=False)`, a matrix of all distances. Nothing is kept from call to call.
Pairs are compared with all distances in float64. Peak memory is that of a fresh process for each
way and case, above what the process had before the search. Without neuraloperator its columns
are empty. `--write` writes `results/neighbour_search.md`.
"""

import argparse
import math
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opdsl.nn.points.neighbours import search as neighbours
from opdsl.nn.points.neighbours.cell_list import CellList
from opdsl.nn.points.neighbours.kd_tree import KdTree
from opdsl.nn.points.neighbours.search import NeighbourRule, search

try:
    from neuralop.layers.neighbor_search import NeighborSearch
except ImportError:
    NeighborSearch = None

REPEATS = 9
PART = 2000  # queries whose distances are looked at together, for the comparison
RESULTS = Path(__file__).parent / "results" / "neighbour_search.md"


@dataclass(frozen=True)
class Case:
    """Random points in the unit cube or square, queries random or on a grid."""

    name: str
    points: int
    queries: int
    radius: float
    dims: int = 3
    grid: int | None = None

    def make(self) -> tuple[Tensor, Tensor]:
        """In float32, as data come."""
        made = torch.Generator().manual_seed(0)
        points = torch.rand(self.points, self.dims, generator=made)
        if self.grid is None:
            return points, torch.rand(self.queries, self.dims, generator=made)
        line = torch.linspace(0, 1, self.grid)
        return points, torch.cartesian_prod(*[line] * self.dims)


SIXTEEN = (16 / 200_000 / (4 / 3 * math.pi)) ** (1 / 3)
CASES = (
    Case("4000 and 4000, r = 0.1", 4000, 4000, 0.1),
    Case("4000 and 4000, r = 0.05", 4000, 4000, 0.05),
    Case("4000 and 16^3, r = 0.1", 4000, 16**3, 0.1, grid=16),
    Case("4000 and 4000 in the plane, r = 0.1", 4000, 4000, 0.1, dims=2),
    Case("16,000 and 4000, r = 0.05", 16_000, 4000, 0.05),
)
LARGE = Case("200,000 points and 100,000 queries, 16 in a ball", 200_000, 100_000, SIXTEEN)
WAYS = ("tree", "cells", "neuraloperator")


def main():
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--write", action="store_true", help="write the results")
    write = given.parse_args().write
    lines = [head(), *(row(x) for x in CASES), "", *large()]
    text = f"{TOP}\n" + "\n".join(lines) + "\n"
    print(text)
    if write:
        RESULTS.write_text(text)


TOP = f"""# Search for neighbours

{__doc__.split(chr(10) * 2)[2]}

Times in ms, the factor is neuraloperator's time over that of our k-d tree. `wrong` are pairs of
neuraloperator that all distances in float64 do not have, or have and it lacks, to six digits of
the radius; ours have none. {torch.get_num_threads()} thread, torch {torch.__version__}.
"""


def head() -> str:
    return (
        "| points and queries | pairs | k-d tree | cells | neuraloperator | factor | wrong | "
        "MiB: tree, cells, neuraloperator |\n|---|---|---|---|---|---|---|---|"
    )


def row(case: Case) -> str:
    """A line of the table."""
    points, queries = case.make()
    ways = [x for x in WAYS if x != "neuraloperator" or NeighborSearch is not None]
    times, found = timed(ways, points, queries, case.radius)
    exact = keys_of_all(points, queries, case.radius)
    wrong = {x: differing(found[x], exact) for x in ways}
    assert wrong["tree"] == wrong["cells"] == 0
    memory = [peak(x, case) for x in ways]
    theirs = times.get("neuraloperator", math.nan)
    cells = (
        case.name,
        f"{len(exact):,}",
        *(f"{x:.1f}" for x in (times["tree"], times["cells"], theirs)),
        f"**{theirs / times['tree']:.1f}**",
        str(wrong.get("neuraloperator", "")),
        ", ".join(f"{x:.0f}" for x in memory),
    )
    return f"| {' | '.join(cells)} |"


def large() -> list[str]:
    """What no matrix of distances could do."""
    points, queries = LARGE.make()
    times, found = timed(WAYS[:2], points, queries, LARGE.radius, repeats=3)
    assert torch.equal(found["tree"], found["cells"])
    neighbours.KdTree, start = KdTree, time.perf_counter()
    search(points, queries, NeighbourRule(None, count=16))
    nearest = time.perf_counter() - start
    memory = [peak(x, LARGE) for x in WAYS[:2]]
    tree, cells = (f"{times[x]:.0f} ms and {m:.0f} MiB" for x, m in zip(WAYS, memory, strict=False))
    matrix = LARGE.points * LARGE.queries * 4 / 2**30
    return [
        f"{LARGE.name}, {len(found['tree']):,} pairs:",
        f"k-d tree {tree}, cells {cells}, the same pairs;",
        f"the 16 nearest by the tree {1e3 * nearest:.0f} ms.",
        f"A matrix of all distances would take {matrix:.0f} GiB.",
    ]


def timed(
    ways: tuple[str, ...] | list[str],
    points: Tensor,
    queries: Tensor,
    radius: float,
    repeats: int = REPEATS,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The least time of each way in ms, and its pairs as query * points + point."""
    least, found = dict.fromkeys(ways, math.inf), {}
    for _ in range(repeats):
        for way in ways:
            start = time.perf_counter()
            met = look(way, points, queries, radius)
            least[way] = min(least[way], 1e3 * (time.perf_counter() - start))
            found[way] = keys(way, met, len(points))
    return least, found


def look(way: str, points: Tensor, queries: Tensor, radius: float):
    """One search."""
    if way == "neuraloperator":
        return NeighborSearch(use_open3d=False)(points, queries, radius)
    neighbours.KdTree = KdTree if way == "tree" else CellList
    return search(points, queries, NeighbourRule(radius, allow_isolated=True))


def keys(way: str, met, points: int) -> Tensor:
    """The pairs as numbers."""
    if way != "neuraloperator":
        return met.queries * points + met.points
    counts = met["neighbors_row_splits"].diff()
    return torch.arange(len(counts)).repeat_interleave(counts) * points + met["neighbors_index"]


def keys_of_all(points: Tensor, queries: Tensor, radius: float) -> Tensor:
    """By all distances in float64, a part of the queries at a time."""
    found = []
    for at, part in enumerate(queries.double().split(PART)):
        far = torch.cdist(part, points.double(), compute_mode="donot_use_mm_for_euclid_dist")
        pairs = (far <= radius * neighbours.RADIUS_TOLERANCE).nonzero()
        found.append((pairs[:, 0] + at * PART) * len(points) + pairs[:, 1])
    return torch.cat(found)


def differing(one: Tensor, other: Tensor) -> int:
    """How many numbers are in one of them only."""
    counts = torch.cat((one, other)).unique(return_counts=True)[1]
    return int((counts == 1).sum())


def peak(way: str, case: Case) -> float:
    """MiB that a search takes at most, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (way, case))


def _peak(way: str, case: Case) -> float:
    look(way, *Case("", 50, 50, 0.5).make(), 0.5)  # what is loaded once
    points, queries = case.make()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _told("VmRSS")
    look(way, points, queries, case.radius)
    return (_told("VmHWM") - before) / 1024


def _told(what: str) -> int:
    """KiB, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith(what))


if __name__ == "__main__":
    main()
