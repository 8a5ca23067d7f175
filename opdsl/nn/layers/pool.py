"""Global pooling of functions: (batch, *domain, c) -> (batch, c)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.layers.integral import PointIntegral, SphereIntegral
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.segments import segment_max
from opdsl.nn.shapes import RaggedSizes


class GlobalMax(nn.Module):
    """The greatest value of each channel; its gradient goes to the points where it is reached."""

    def forward(self, x: Tensor, ragged: RaggedSizes = ()) -> Tensor:
        """(batch, *domain, c) -> (batch, c); of packed points (1, points, c) -> (samples, c)."""
        if ragged and ragged[0]:
            return segment_max(x, ragged[0])[0]
        return x.flatten(1, -2).amax(1)


class SphereMean(SphereIntegral):
    """The mean over a sphere: the integral divided by the area."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, nlat, nlon, c) -> (batch, c)."""
        return super().forward(x) / (4 * torch.pi)


class PointMean(PointIntegral):
    """The mean over points with quadrature weights: their weighted sum over the sum of weights."""

    def forward(
        self, x: Tensor, asked: tuple[Geometries, ...] = (), ragged: RaggedSizes = ()
    ) -> Tensor:
        """(batch, points, c) -> (batch, c); of packed points (1, points, c) -> (samples, c)."""
        result = super().forward(torch.cat((x, torch.ones_like(x[..., :1])), -1), asked, ragged)
        return result[..., :-1] / result[..., -1:]
