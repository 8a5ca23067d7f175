"""Integrals of functions over their domains: (batch, *domain, c) -> (batch, c)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.segments import segment_mean, segment_sum
from opdsl.nn.precision import wide
from opdsl.nn.shapes import RaggedSizes
from opdsl.nn.sphere.sampling import latitudes


class GridIntegral(nn.Module):
    """Integrate by the trapezoidal rule on each axis; on periodic axes all weights are equal."""

    def __init__(self, lengths: tuple[float, ...], periodic: tuple[bool, ...]) -> None:
        super().__init__()
        self.lengths, self.periodic = lengths, periodic

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, c)."""
        for length, periodic in zip(self.lengths, self.periodic, strict=True):
            n = x.shape[1]
            if periodic or n == 1:
                x = x.mean(1) * length
            else:
                ends = (x[:, 0] + x[:, -1]) / 2
                x = (x.sum(1) - ends) * (length / (n - 1))
        return x


class SphereIntegral(nn.Module):
    """Integrate by the quadrature of the latitudes and equal weights in longitude; area 4 pi."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nlat, nlon, c) -> (batch, c)."""
        _, weights = latitudes(x.shape[1], self.sampling)
        around = x.mean(2) * (2 * torch.pi)
        return torch.einsum("blc,l->bc", around, weights.to(dtype=x.dtype, device=x.device))


class PointIntegral(nn.Module):
    """Sum over points with quadrature weights; the mean where all points count the same.

    Args:
        measure: makes the weights, a `points.inputs.PointWeights`, or None.
    """

    def __init__(self, measure: nn.Module | None) -> None:
        super().__init__()
        self.measure = measure

    def forward(
        self, x: Tensor, asked: tuple[Geometries, ...] = (), ragged: RaggedSizes = ()
    ) -> Tensor:
        """(batch, points, c) -> (batch, c)."""
        sizes = ragged[0] if ragged else None
        if self.measure is None:
            return segment_mean(x, sizes)[0] if sizes else x.mean(1)
        weights = self.measure(asked[0], torch.empty(0, dtype=wide(x), device=x.device))
        if sizes:
            return segment_sum(x * torch.cat(weights)[None, :, None], sizes)[0].to(x.dtype)
        return (x * torch.stack(weights)[..., None]).sum(1).to(x.dtype)
