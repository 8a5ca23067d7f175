"""Squared gradients of spectral weights, sorted by the modes that they belong to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def squares_by_limit(
    gradient: Tensor | None, limits: Sequence[Sequence[int]], greatest: int
) -> Tensor:
    """Sum the squares of the gradient of a weight by the limit from which on its modes take part.

    Args:
        gradient: (*counts, ...), one index of the first axes for each mode; None: zero. All
            processes that divide it call this function together.
        limits: for each of these axes the least limit at which an index takes part.
        greatest: the greatest limit.

    Returns:
        (greatest + 1,) in float64 on the CPU. A mode takes part from the greatest of
        the limits of its axes on.
    """
    total = torch.zeros(greatest + 1, dtype=torch.float64)
    if gradient is None:
        return total
    whole = getattr(gradient, "full_tensor", None)  # of a DTensor, which takes 1 s to import
    gradient = gradient if whole is None else whole()
    axes = [torch.tensor(list(x)) for x in limits]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")).amax(0)
    squares = gradient.detach().flatten(len(axes)).double().square().sum(-1).cpu()
    return total.index_add_(0, grid.flatten(), squares.flatten())
