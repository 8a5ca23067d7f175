"""Convolution with differences: a small stencil that tends to a derivative under refinement."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import AxisValues, Size
from opdsl.sampling import GridSampling, points_of, samplings_of

EDGES = ("wrap", "replicate", "reflect", "zeros")


def with_halo(
    x: Tensor, axis: int, width: int, edges: str, sampling: GridSampling = "both"
) -> Tensor:
    """Add `width` points at both ends of an axis, filled by one of `EDGES`.

    Args:
        x: (batch, *grid, c).
        axis: counted in `x`, so 1 is the first axis of the grid.
        width: points at each end.
        edges: `wrap` around a periodic axis, `replicate` the end, `reflect` at it, or `zeros`.
        sampling: where the points of the axis are: `reflect` repeats the outermost point of
            `centres`, which lies half a cell from the end, and no point that lies at the end.
    """
    if width == 0:
        return x
    n = x.shape[axis]
    if edges == "wrap":
        before, after = x.narrow(axis, n - width, width), x.narrow(axis, 0, width)
    elif edges == "reflect":
        skipped = 0 if sampling == "centres" else 1
        before = x.narrow(axis, skipped, width).flip(axis)
        after = x.narrow(axis, n - skipped - width, width).flip(axis)
    else:
        shape = list(x.shape)
        shape[axis] = width
        before, after = x.narrow(axis, 0, 1).expand(shape), x.narrow(axis, n - 1, 1).expand(shape)
        if edges == "zeros":
            before, after = torch.zeros_like(before), torch.zeros_like(after)
    return torch.cat((before, x, after), axis)


class DifferenceConv(nn.Module):
    """w(x) = sum_j W_j (v(x + j h) - v(x)) width / h, |j| <= kernel // 2 on each axis.

    The difference is taken along one axis after the other, each divided by its own spacing, so the
    limit sum_j W_j (j . grad v) width does not depend on how much finer one axis is than another.
    Where all spacings are equal this is one stencil.

    Attributes:
        weight: W, (out, in / groups, kernel, ..., kernel).
    """

    def __init__(  # noqa: PLR0913  one for each parameter of the block
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        lengths: AxisValues,
        widths: AxisValues,
        closed: tuple[bool, ...],
        edges: tuple[str, ...],
        groups: int = 1,
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        """Make a layer with fresh weights.

        Args:
            in_channels: of v.
            out_channels: of w.
            kernel: points of the stencil on each axis, odd.
            lengths: of the axes.
            widths: for each axis the spacing at which nothing is scaled.
            closed: whether each axis is periodic.
            edges: of `EDGES`, for each axis.
            groups: into how many groups the channels are split, which do not meet.
            samplings: where the points of each axis are; None: at both ends of axes that are not
                periodic.
        """
        super().__init__()
        self.kernel, self.groups = kernel, groups
        self.lengths, self.widths, self.edges = lengths, widths, edges
        self.samplings = samplings_of(closed, samplings)
        per_group = in_channels // groups
        bound = 1 / math.sqrt(per_group * kernel ** len(lengths))  # as torch's own convolutions
        shape = (out_channels, per_group, *(kernel,) * len(lengths))
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out)."""
        with no_autocast(
            x
        ):  # in low precision a difference is mostly noise, and 1 / h amplifies it
            return self._differences(x.to(wide(x))).to(x.dtype)

    def _differences(self, x: Tensor) -> Tensor:
        scales = self._scales(tuple(x.shape[1:-1]))
        axes, half = len(scales), self.kernel // 2
        v = x
        for axis, edges in enumerate(self.edges, start=1):
            v = with_halo(v, axis, half, edges, self.samplings[axis - 1])
        v, weight = v.movedim(-1, 1), self.weight.to(x.dtype)
        # each round sums the stencil over one more axis, on which offsets are zero from then on
        total = self._convolved(v, weight) * scales[0]
        for axis in range(axes):
            weight = weight.sum(2 + axis, keepdim=True)
            v = v.narrow(2 + axis, half, x.shape[1 + axis])
            result = self._convolved(v, weight)
            next_scale = scales[axis + 1] if axis + 1 < axes else 0.0
            total = total - result * (scales[axis] - next_scale)
        return total.movedim(1, -1)

    def _scales(self, size: Size) -> list[float]:
        rows = zip(size, self.lengths, self.widths, self.samplings, strict=True)
        # one point with both ends has no spacings, and no differences
        return [width * (n - points_of(x, 0)) / length for n, length, width, x in rows]

    def _convolved(self, v: Tensor, weight: Tensor) -> Tensor:
        convolve = (functional.conv1d, functional.conv2d, functional.conv3d)[v.ndim - 3]
        return convolve(v, weight, groups=self.groups)

    def extra_repr(self) -> str:
        """Describe the stencil and the spacings."""
        return f"kernel={self.kernel}, widths={self.widths}, edges={self.edges}"
