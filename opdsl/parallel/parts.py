"""The division of numbers 0 ... n - 1 among processes. No torch."""

from __future__ import annotations

import itertools


def parts(n: int, ranks: int) -> tuple[range, ...]:
    """Divide 0 ... n - 1 into contiguous, nearly equal parts; the first ones have one more."""
    size, more = divmod(n, ranks)
    starts = [i * size + min(i, more) for i in range(ranks + 1)]
    return tuple(range(a, b) for a, b in itertools.pairwise(starts))
