"""Integrals of functions over their domains: (batch, *domain, c) -> (batch, c)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.segments import segment_mean, segment_sum
from opdsl.nn.precision import wide
from opdsl.nn.shapes import RaggedSizes
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import GridSampling, end_weights, samplings_of, spacings


class GridIntegral(nn.Module):
    """Integrate by a rule of second order on each axis; on periodic axes all weights are equal.

    Args:
        lengths: of the axes.
        periodic: whether each axis closes on itself.
        samplings: where the points of each axis are, see `opdsl.sampling.end_weights`; None: at
            both ends of axes that are not periodic, for which this is the trapezoidal rule.
    """

    def __init__(
        self,
        lengths: tuple[float, ...],
        periodic: tuple[bool, ...],
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        super().__init__()
        self.lengths, self.periodic = lengths, periodic
        self.samplings = samplings_of(periodic, samplings)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, c) -> (batch, c)."""
        axes = zip(self.lengths, self.periodic, self.samplings, strict=True)
        for length, periodic, sampling in axes:
            n = x.shape[1]
            if periodic or n == 1 or sampling == "centres":
                x = x.mean(1) * length
            elif sampling == "both":
                ends = (x[:, 0] + x[:, -1]) / 2
                x = (x.sum(1) - ends) * (length / (n - 1))
            else:
                first, last = end_weights(sampling, periodic=periodic)
                ends = (first - 1) * x[:, 0] + (last - 1) * x[:, -1]
                x = (x.sum(1) + ends) * (length / spacings(sampling, n))
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
