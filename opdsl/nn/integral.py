"""Integrals of functions over their domains: (batch, *domain, c) -> (batch, c)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn import segments
from opdsl.nn.geometry import Placed
from opdsl.nn.grid import Ragged
from opdsl.nn.measure import Measure, weights
from opdsl.nn.nearby import Period
from opdsl.nn.precision import wide
from opdsl.nn.sphere import latitudes


class OverGrid(nn.Module):
    """The trapezoidal rule on each axis; on periodic axes all weights are equal."""

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


class OverSphere(nn.Module):
    """The quadrature of the sampling in latitude, equal weights in longitude; the area is 4 pi."""

    def __init__(self, sampling: str) -> None:
        super().__init__()
        self.sampling = sampling

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nlat, nlon, c) -> (batch, c)."""
        _, weights = latitudes(x.shape[1], self.sampling)
        around = x.mean(2) * (2 * torch.pi)
        return torch.einsum("blc,l->bc", around, weights.to(dtype=x.dtype, device=x.device))


class OverPoints(nn.Module):
    """The sum with the weights of the points.

    Args:
        measure: how they are found, where the geometry brings none.
        period: of the space of the points, for each coordinate.
    """

    def __init__(self, measure: Measure, period: Period | None) -> None:
        super().__init__()
        self.measure, self.period = measure, period

    def forward(self, x: Tensor, asked: tuple[Placed, ...], ragged: Ragged = ()) -> Tensor:
        """(batch, points, c) -> (batch, c); of packed points (1, points, c) -> (samples, c)."""
        found = [weights(y, self.measure, self.period) for y in asked[0]]
        told = [w.to(dtype=wide(x), device=x.device) for w in found if w is not None]
        if ragged and ragged[0]:
            return segments.total(x * torch.cat(told)[:, None], ragged[0])[0].to(x.dtype)
        return (x * torch.stack(told)[..., None]).sum(1).to(x.dtype)


class Mean(nn.Module):
    """The mean over points."""

    def forward(self, x: Tensor, ragged: Ragged = ()) -> Tensor:
        """(batch, points, c) -> (batch, c)."""
        return segments.mean(x, ragged[0])[0] if ragged and ragged[0] else x.mean(1)
