"""Ghost points: copies of points moved by whole periods, next to the queries they neighbour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdsl.nn.points.neighbours.search import Pairs


@dataclass(frozen=True, slots=True)
class Ghosts:
    """Ghost point i is point `owners[i]` moved by `shifts[i]`.

    Attributes:
        owners: (g,), indices of points.
        shifts: (g, d).
        pairs: the pairs with indices of ghost points, without shifts.
    """

    owners: Tensor
    shifts: Tensor
    pairs: Pairs


# integer indices that depend on data cannot be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def ghosts(pairs: Pairs) -> Ghosts | None:
    """Make one ghost for each point and shift in the pairs; None where nothing is shifted."""
    if pairs.images is None or pairs.shifts is None:
        return None
    count = len(pairs.shifts)
    keys, numbers = torch.unique(pairs.points * count + pairs.images, return_inverse=True)
    result = replace(pairs, points=numbers, images=None, shifts=None)
    return Ghosts(keys // count, pairs.shifts[keys % count], result)
