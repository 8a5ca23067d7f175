"""Coordinates of the points of a regular grid, as a function on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.shapes import AxisValues, Size
from opdsl.sampling import GridSampling, offset, samplings_of, spacings


def coords(
    size: Size,
    lo: AxisValues,
    hi: AxisValues,
    periodic: tuple[bool, ...],
    samplings: tuple[GridSampling, ...] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Compute the coordinates of every point of a grid.

    By default a periodic axis has the n points lo + i (hi - lo) / n, since hi is lo again; any
    other has both ends, lo + i (hi - lo) / (n - 1).

    Args:
        size: points on each axis.
        lo: the lower end of each axis, in its unit of length.
        hi: the upper end.
        periodic: whether the axis closes on itself.
        samplings: where the points of each axis are; None: as by default.
        dtype: of the result; it is computed in float64.
        device: of the result.

    Returns:
        (1, *size, axes).
    """
    axes = zip(size, lo, hi, samplings_of(periodic, samplings), strict=True)
    lines = [_line(n, a, b, sampling, device) for n, a, b, sampling in axes]
    return torch.stack(torch.meshgrid(lines, indexing="ij"), -1)[None].to(dtype)


def circle(
    size: Size,
    periodic: tuple[bool, ...],
    where: Tensor,
    samplings: tuple[GridSampling, ...] | None = None,
) -> Tensor:
    """Replace each periodic coordinate x by cos and sin of 2 pi (x - lo) / (hi - lo).

    Args:
        size: points on each axis.
        periodic: whether the axis closes on itself.
        where: (1, *size, axes), the coordinates, which stay on axes that are not periodic.
        samplings: where the points of each axis are; None: as by default.

    Returns:
        (1, *size, axes + periodic axes), in the dtype of `where`.
    """
    zeros, ones = (0.0,) * len(size), (1.0,) * len(size)
    placed = zeros, ones, periodic, samplings
    fractions = coords(size, *placed, dtype=torch.float64, device=where.device)
    angles = 2 * torch.pi * fractions
    result = []
    for axis, closed in enumerate(periodic):
        angle = angles[..., axis]
        result += [angle.cos(), angle.sin()] if closed else [where[..., axis]]
    return torch.stack([x.to(where.dtype) for x in result], -1)


class Coords(nn.Module):
    """`coords` as a module. It has no input, so `like` gives dtype and device."""

    def __init__(
        self,
        lo: AxisValues,
        hi: AxisValues,
        periodic: tuple[bool, ...],
        samplings: tuple[GridSampling, ...] | None = None,
        *,
        circle: bool = False,
    ) -> None:
        super().__init__()
        self.lo, self.hi, self.periodic, self.samplings = lo, hi, periodic, samplings
        self.circle = circle

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return (1, *size, axes), with `circle` one more channel for each periodic axis."""
        placed = self.lo, self.hi, self.periodic, self.samplings
        points = coords(size, *placed, dtype=like.dtype, device=like.device)
        return circle(size, self.periodic, points, self.samplings) if self.circle else points


def _line(
    n: int, lo: float, hi: float, sampling: GridSampling, device: torch.device | str
) -> Tensor:
    steps = torch.arange(n, dtype=torch.float64, device=device)
    if first := offset(sampling):
        steps = steps + first
    return lo + steps * ((hi - lo) / spacings(sampling, n))
