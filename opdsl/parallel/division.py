"""The division of the samples of a batch among processes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from torch import Tensor


def divided(rows: Tensor, count: int, costs: Sequence[int] | None = None) -> list[Tensor]:
    """Divide samples into contiguous parts, some of which may be empty.

    Args:
        rows: the indices of the samples of a batch.
        count: the number of parts.
        costs: of each sample of the batch, as its points; the largest sum over a part is then as
            small as it can be. Without costs the parts have nearly equal numbers of samples, the
            first ones one more.
    """
    if costs is None or not len(rows):
        return list(rows.tensor_split(count))
    sums = [0, *accumulate(costs)]
    limit = _least_limit(sums, max(costs), count)
    parts, start = [], 0
    for left in range(count, 0, -1):
        # later parts have at least one sample each, while there are some
        last = max(start + (start < len(rows)), len(rows) - (left - 1))
        end = min(_end(sums, start, limit), last)
        parts.append(rows[start:end])
        start = end
    return parts


def _least_limit(sums: Sequence[int], low: int, count: int) -> int:
    """Return the least cost of the largest of `count` contiguous parts, by bisection."""
    high = sums[-1]
    while low < high:
        middle = (low + high) // 2
        if _parts(sums, middle) <= count:
            high = middle
        else:
            low = middle + 1
    return low


def _parts(sums: Sequence[int], limit: int) -> int:
    """Count the parts that are needed where none costs more than `limit`."""
    start, parts = 0, 0
    while start < len(sums) - 1:
        start, parts = _end(sums, start, limit), parts + 1
    return parts


def _end(sums: Sequence[int], start: int, limit: int) -> int:
    """Return the greatest end of a part from `start` that costs at most `limit`."""
    end = bisect_left(sums, sums[start] + limit + 1) - 1
    return max(end, start + 1) if start < len(sums) - 1 else start
