"""Read every k-th entry of an HDF5 array in pieces of bounded size.

HDF5 itself reads single entries one by one, which takes a hundred times as long as reading what
lies between them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 4 << 20  # bytes that are read at a time where some are left out afterwards
RUN = 1 << 12  # bytes of neighbours from which HDF5 leaves out what lies between them


def read_hyperslab(dataset: Any, dtype: np.dtype[Any], ranges: Sequence[range]) -> NDArray[Any]:
    """Read the entries at the positions `ranges` of each axis.

    Args:
        dataset: an h5py data set.
        dtype: number format of the result.
        ranges: positions on each axis, with positive steps.

    Returns:
        An array in C order.
    """
    out = np.empty(tuple(map(len, ranges)), dtype)
    if out.size:
        _fill(dataset, ranges, out)
    return out


def _fill(dataset: Any, ranges: Sequence[range], out: NDArray[Any]) -> None:
    """Read at once, or halves where more than a piece would have to be read."""
    spans = [x[-1] - x[0] + 1 for x in ranges]
    gaps = [
        x.step > 1 and len(x) > 1 and prod(spans[i + 1 :]) * out.itemsize < RUN
        for i, x in enumerate(ranges)
    ]
    # what HDF5 is asked for: axes with gaps are read with what lies between
    box = [n if gap else len(x) for n, gap, x in zip(spans, gaps, ranges, strict=True)]
    if not any(gaps):
        selection = tuple(slice(x[0], x[-1] + 1, x.step) for x in ranges)
        dataset.read_direct(out, source_sel=selection or ())
    elif prod(box) * out.itemsize <= PIECE or all(len(x) == 1 for x in ranges):
        steps = [(1 if gap else x.step) for gap, x in zip(gaps, ranges, strict=True)]
        chosen = zip(ranges, steps, strict=True)
        piece = np.empty(box, out.dtype)
        selection = tuple(slice(x[0], x[-1] + 1, step) for x, step in chosen)
        dataset.read_direct(piece, source_sel=selection)
        kept = (
            slice(None, None, x.step if gap else 1) for gap, x in zip(gaps, ranges, strict=True)
        )
        out[...] = piece[tuple(kept)]
    else:
        axis = next(i for i, x in enumerate(ranges) if len(x) > 1)
        middle = len(ranges[axis]) // 2
        for half in (slice(None, middle), slice(middle, None)):
            part = (*ranges[:axis], ranges[axis][half], *ranges[axis + 1 :])
            _fill(dataset, part, out[(slice(None),) * axis + (half,)])
