"""Exchanges between processes, and the bytes that each process sends in them.

Bytes of collectives are those of the algorithms that send least: `all_gather` sends the own part to
every other process, `reduce_scatter` their parts of the sums, `all_reduce` is one after the other.
`opdsl.parallel.exchanges` counts in this way too.

Source: Thakur, Rabenseifner and Gropp 2005, doi:10.1177/1094342005051521.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ExchangeKind = Literal["halo", "all_to_all", "reduce_scatter", "all_gather", "all_reduce"]
Parts = Sequence[range]


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange between the processes that share a sample.

    Attributes:
        path: the node that needs it, or the output that is gathered.
        kind: the collective; a `halo` fetches points from those that have them.
        sent: bytes that each process sends to others in the forward pass.
        sent_backward: the same for the gradient; all zero where there is none.
        text: what is exchanged.
    """

    path: str
    kind: ExchangeKind
    sent: tuple[int, ...]
    sent_backward: tuple[int, ...]
    text: str

    @property
    def bytes_per_rank(self) -> int:
        """The most bytes that a process sends forward."""
        return max(self.sent)

    @property
    def step_bytes_per_rank(self) -> int:
        """The most bytes that a process sends in a training step."""
        return max(a + b for a, b in zip(self.sent, self.sent_backward, strict=True))


def all_to_all(before: Parts, after: Parts, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the bytes sent forward and backward where one axis becomes whole, another is cut.

    Args:
        before: the parts of the axis that becomes whole.
        after: the parts of the axis that is cut.
        size: bytes of one entry of both axes.
    """
    ranks, whole = range(len(before)), sum(map(len, after))
    forward = tuple(len(before[r]) * (whole - len(after[r])) * size for r in ranks)
    rows = sum(map(len, before))
    return forward, tuple(len(after[r]) * (rows - len(before[r])) * size for r in ranks)


def gathered(own: Parts, size: int) -> tuple[int, ...]:
    """Return the bytes of an all-gather of an axis with entries of `size` bytes."""
    return tuple(len(x) * (len(own) - 1) * size for x in own)


def scattered(own: Parts, size: int) -> tuple[int, ...]:
    """Return the bytes of a reduce-scatter of an axis with entries of `size` bytes."""
    whole = sum(map(len, own))
    return tuple((whole - len(x)) * size for x in own)


def reduced(size: int, ranks: int) -> tuple[int, ...]:
    """Return the bytes of an all-reduce of `size` bytes."""
    return (2 * size * (ranks - 1) // ranks,) * ranks


def fetched(
    have: Parts, need: Sequence[Sequence[range]], size: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the bytes sent forward and backward where each process fetches points from others.

    A point that a process needs twice, as at both ends of a periodic axis, is sent once.

    Args:
        have: the parts of the axis.
        need: the ranges of points that each process needs, disjoint.
        size: bytes of one point.
    """
    ranks = range(len(have))
    moved = {
        (a, b): sum(_overlap(have[a], x) for x in need[b]) for a in ranks for b in ranks if a != b
    }
    forward = tuple(size * sum(n for (a, _), n in moved.items() if a == r) for r in ranks)
    return forward, tuple(size * sum(n for (_, b), n in moved.items() if b == r) for r in ranks)


def _overlap(a: range, b: range) -> int:
    return max(0, min(a.stop, b.stop) - max(a.start, b.start))


def halo_ranges(part: range, points: int, n: int, *, periodic: bool) -> tuple[range, ...]:
    """Return the points of a part and its halo as disjoint ranges in 0 ... n - 1.

    Args:
        part: the own points.
        points: width of the halo on each side.
        n: points of the whole axis.
        periodic: whether the axis closes on itself; else the halo ends at its ends.
    """
    low, high = part.start - points, part.stop + points
    if periodic and high - low >= n:
        return (range(n),)
    if not periodic or (low >= 0 and high <= n):
        return (range(max(low, 0), min(high, n)),)
    return (range(high), range(low + n, n)) if low < 0 else (range(high - n), range(low, n))
