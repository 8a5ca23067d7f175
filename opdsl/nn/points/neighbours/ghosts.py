"""Points around a periodic axis, as points of their own where they stand next to a query.

What comes in: pairs whose points are moved by whole periods. What goes out: which points there are
then, how far each is moved, and the pairs by their new numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdsl.nn.points.neighbours.search import Pairs


@dataclass(frozen=True, slots=True)
class Ghosts:
    """New point i is point `owners[i]` moved by `shifts[i]`.

    Attributes:
        pairs: by the new numbers, without moves.
    """

    owners: Tensor
    shifts: Tensor
    pairs: Pairs


# numbers of points are no arithmetic that could be traced
@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
def ghosts(pairs: Pairs) -> Ghosts | None:
    """The points of the pairs, each once for each of its moves; None where nothing is moved."""
    if pairs.images is None or pairs.shifts is None:
        return None
    count = len(pairs.shifts)
    keys, numbers = torch.unique(pairs.points * count + pairs.images, return_inverse=True)
    found = replace(pairs, points=numbers, images=None, shifts=None)
    return Ghosts(keys // count, pairs.shifts[keys % count], found)
