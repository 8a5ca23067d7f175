"""Sums and means over the points of each sample, and back, where samples are packed.

What comes in: (packs, points of all samples, c), mostly one pack, and how many points each sample
has. What goes out: a row for each sample, or a row for each point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from opdsl.nn.grid.layout import Size


def owners_of(sizes: Size, device: torch.device) -> Tensor:
    """The number of the sample that each point belongs to: (points,)."""
    counts = torch.tensor(sizes, device=device)
    return torch.repeat_interleave(torch.arange(len(sizes), device=device), counts)


def sample_totals(x: Tensor, sizes: Size) -> Tensor:
    """The sum over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    zeros = x.new_zeros(len(x), len(sizes), x.shape[-1])
    return zeros.index_add(1, owners_of(sizes, x.device), x)


def sample_means(x: Tensor, sizes: Size) -> Tensor:
    """The mean over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    return sample_totals(x, sizes) / torch.tensor(sizes, dtype=x.dtype, device=x.device)[:, None]


def at_points(rows: Tensor, sizes: Size) -> Tensor:
    """The row of its sample at each point: (packs, samples or 1, c) -> (packs, points, c)."""
    each = rows.expand(-1, len(sizes), -1)
    return each.index_select(1, owners_of(sizes, rows.device))


def sample_maxima(x: Tensor, sizes: Size) -> Tensor:
    """The greatest over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    lowest = x.new_full((len(x), len(sizes), x.shape[-1]), -torch.inf)
    index = owners_of(sizes, x.device)[None, :, None].expand_as(x)
    return lowest.scatter_reduce(1, index, x, "amax")
