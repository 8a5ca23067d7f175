"""Projection of vector fields on a torus onto those without divergence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import AxisValues, Size
from opdsl.sampling import GridSampling, samplings_of, spacings


def wave_numbers(size: Size, lengths: AxisValues, like: Tensor) -> Tensor:
    """Return frequencies per unit length of a real transform, (*size, axes), half the last axis.

    At even sizes the Nyquist frequency, which is its own negative, is 0, as its derivative must be.
    """
    lines = []
    for axis, (n, length) in enumerate(zip(size, lengths, strict=True)):
        last = axis == len(size) - 1
        k = torch.arange(n // 2 + 1) if last else torch.fft.fftfreq(n, 1 / n)
        lines.append(torch.where(2 * k.abs() == n, 0.0, k / length).to(like.device, like.dtype))
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)


def _period(n: int, length: float, sampling: GridSampling) -> float:
    """Return the length of n spacings of an axis."""
    count = spacings(sampling, n)
    return length if n == count else length * n / count


class DivergenceFree(nn.Module):
    """w_k = v_k - k (k . v_k) / |k|^2 for each frequency k of a field v.

    Attributes:
        lengths: of the axes.
        samplings: where the points of each axis are. An axis that is not periodic is taken to close
            one spacing after its last point.

    Args:
        lengths: of the axes.
        closed: whether each axis is periodic.
        samplings: where the points are; None: at both ends of axes that are not periodic.
    """

    def __init__(
        self,
        lengths: AxisValues,
        closed: tuple[bool, ...],
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        super().__init__()
        self.lengths, self.samplings = lengths, samplings_of(closed, samplings)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, fields * axes) -> (batch, *grid, fields * axes)."""
        with no_autocast(x):
            v = x.to(wide(x))
            size = tuple(v.shape[1:-1])
            axes = list(range(1, 1 + len(size)))
            z = torch.fft.rfftn(v, dim=axes, norm="forward")
            z = z.reshape(*z.shape[:-1], -1, len(size))
            rows = zip(size, self.lengths, self.samplings, strict=True)
            periods = tuple(_period(n, x, sampling) for n, x, sampling in rows)
            k = wave_numbers(size, periods, v)[..., None, :]
            square = k.square().sum(-1, keepdim=True)
            along = (z * k).sum(-1, keepdim=True) / torch.where(square > 0, square, 1.0)
            w = (z - along * k).flatten(-2)
            y: Tensor = torch.fft.irfftn(w, s=size, dim=axes, norm="forward")
            return y.to(x.dtype)
