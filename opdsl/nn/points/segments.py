"""Segment reductions over the points of each sample of a packed batch, and their transpose.

Packed values are (packs, points of all samples, c), mostly of one pack.
"""

from __future__ import annotations

import torch
from torch import Tensor

from opdsl.nn.shapes import Size


def sample_index(sizes: Size, device: torch.device) -> Tensor:
    """Return the index of the sample that each point belongs to, (points,)."""
    counts = torch.tensor(sizes, device=device)
    return torch.repeat_interleave(torch.arange(len(sizes), device=device), counts)


def segment_sum(x: Tensor, sizes: Size) -> Tensor:
    """Sum over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    zeros = x.new_zeros(len(x), len(sizes), x.shape[-1])
    return zeros.index_add(1, sample_index(sizes, x.device), x)


def segment_mean(x: Tensor, sizes: Size) -> Tensor:
    """Average over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    return segment_sum(x, sizes) / torch.tensor(sizes, dtype=x.dtype, device=x.device)[:, None]


def expand_to_points(rows: Tensor, sizes: Size) -> Tensor:
    """Repeat a sample's row at its points: (packs, samples or 1, c) -> (packs, points, c)."""
    samples = rows.expand(-1, len(sizes), -1)
    return samples.index_select(1, sample_index(sizes, rows.device))


def segment_max(x: Tensor, sizes: Size) -> Tensor:
    """Maximise over the points of each sample: (packs, points, c) -> (packs, samples, c)."""
    lowest = x.new_full((len(x), len(sizes), x.shape[-1]), -torch.inf)
    index = sample_index(sizes, x.device)[None, :, None].expand_as(x)
    return lowest.scatter_reduce(1, index, x, "amax")
