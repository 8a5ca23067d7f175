"""Attention among slices, to which points are softly assigned by their features.

Nothing here is quadratic in the number of points.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.layers.pointwise import Linear
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import RaggedSizes, Size

INITIAL_TEMPERATURE = 0.5  # the initial temperature of every head
SHARE_EPSILON = (
    1e-8  # added to the share of points in a slice, so that the mean of an empty one is zero
)


class SliceAttention(nn.Module):
    """Points to slices, attention among the slices of each head, slices to points.

    Args:
        channels: of the function.
        slices: in each head.
        heads: number of parts that the channels are split into.
        measure: makes quadrature weights, a `points.inputs.PointWeights`; None: all points count
            the same.

    Attributes:
        assigned: makes the features by which slices are chosen.
        carried: makes the features of which slices are means.
        slice: from the channels of a head to its slices, shared by all heads.
        temperature: (heads,), of the softmax over slices.
        query, key, value: among slices, shared by all heads.
        out: at each point, at the end.

    Source: Wu et al. 2024, arXiv:2402.02366, sec. 3.1.
    """

    def __init__(
        self, channels: int, slices: int, heads: int, measure: nn.Module | None = None
    ) -> None:
        super().__init__()
        head_channels = channels // heads
        self.heads, self.measure = heads, measure
        self.assigned, self.carried = Linear(channels, channels), Linear(channels, channels)
        self.slice = Linear(head_channels, slices)
        nn.init.orthogonal_(self.slice.weight)  # so that slices differ from the first step on
        self.temperature = nn.Parameter(torch.full((heads,), INITIAL_TEMPERATURE))
        self.query, self.key, self.value = (
            Linear(head_channels, head_channels, bias=False) for _ in range(3)
        )
        self.out = Linear(channels, channels)

    def forward(
        self, x: Tensor, asked: tuple[Geometries, ...] = (), ragged: RaggedSizes = ()
    ) -> Tensor:
        """(batch, *grid, c) -> (batch, *grid, c)."""
        points = x.reshape(len(x), -1, x.shape[-1])
        parts, values = self._parts(points), self._heads(self.carried(points))
        weights = () if self.measure is None else self.measure(asked[0], points)
        sizes = ragged[0] if ragged else None
        if sizes:
            samples = _split_samples(parts, values, weights, sizes)
            w = torch.cat([self._sliced(*sample) for sample in samples], 1)
        else:
            w = self._sliced(parts, values, torch.stack(weights) if weights else None)
        result: Tensor = self.out(w.flatten(2).reshape(x.shape))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        """Split into heads: (batch, points, c) -> (batch, points, heads, c / heads)."""
        return x.reshape(*x.shape[:-1], self.heads, -1)

    def _parts(self, x: Tensor) -> Tensor:
        """Compute the share of each point in each slice, (batch, points, heads, slices)."""
        scores = self.slice(self._heads(self.assigned(x)))
        with no_autocast(x):
            temperature = self.temperature.to(wide(scores))[:, None]
            parts: Tensor = (scores.to(wide(scores)) / temperature).softmax(-1).to(x.dtype)
            return parts

    def _sliced(self, parts: Tensor, carried: Tensor, weights: Tensor | None) -> Tensor:
        """Average over slices, attend among them, and distribute to points again.

        Args:
            parts: (batch, points, heads, slices), the share of each point in each slice.
            carried: (batch, points, heads, c / heads).
            weights: (batch or 1, points), quadrature weights.

        Returns:
            (batch, points, heads, c / heads).
        """
        weighted = parts
        if weights is not None:
            weighted = parts * (weights / weights.mean(1, keepdim=True))[..., None, None]
        share, n = weighted.mean(1)[..., None], parts.shape[1]
        z = torch.einsum("bnhs,bnhc->bhsc", weighted, carried) / n / (share + SHARE_EPSILON)
        z = functional.scaled_dot_product_attention(self.query(z), self.key(z), self.value(z))
        return torch.einsum("bnhs,bhsc->bnhc", parts, z)


def _split_samples(
    parts: Tensor, carried: Tensor, weights: tuple[Tensor, ...], sizes: Size
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Split a packed batch into its samples, each a batch of one."""
    per_sample: list[Tensor | None] = [w[None] for w in weights]
    per_sample = per_sample or [None] * len(sizes)
    split = (torch.split(x, list(sizes), 1) for x in (parts, carried))
    return zip(*split, per_sample, strict=True)
