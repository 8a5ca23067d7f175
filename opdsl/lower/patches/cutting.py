"""Cut patches with their coarser levels out of tensors, and stitch results together.

Tensors are (batch, channels, *grid). Differentiable, without loops over points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from opdsl.ir.patches.layout import AxisPatches, PatchPosition, PatchWindow


def cut_levels(
    x: Tensor, axes: Sequence[AxisPatches], position: PatchPosition, levels: int
) -> Tensor:
    """Cut a patch and the windows of its levels, channels of the patch first.

    Args:
        x: (batch, channels, *grid).
        axes: the patches of each axis.
        position: of the patch.
        levels: coarser levels.

    Returns:
        (batch, (levels + 1) * channels, *width).
    """
    return torch.cat([cut(x, axes, position, level) for level in range(levels + 1)], 1)


def cut(x: Tensor, axes: Sequence[AxisPatches], position: PatchPosition, level: int = 0) -> Tensor:
    """Cut the window of one level, 0 for the patch itself: (batch, channels, *width)."""
    for dim, (axis, number) in enumerate(zip(axes, position, strict=True), start=2):
        x = _cut_axis(x, dim, axis, axis.window(number, level))
    return x


def _cut_axis(x: Tensor, dim: int, axis: AxisPatches, window: PatchWindow) -> Tensor:
    last = window.start + (window.width - 1) * window.stride
    if window.start >= 0 and last < axis.points:
        slices = [slice(None)] * x.ndim
        slices[dim] = slice(window.start, last + 1, window.stride)
        return x[tuple(slices)]
    indices = torch.tensor(list(window.points()), device=x.device)
    if axis.padding == "circular":
        return x.index_select(dim, indices % axis.points)
    result = x.index_select(dim, indices.clamp(0, axis.points - 1))
    if axis.padding == "edge":
        return result
    inside = (indices >= 0) & (indices < axis.points)
    shape = [1] * x.ndim
    shape[dim] = len(indices)
    return torch.where(inside.view(shape), result, 0)


def without_overlap(x: Tensor, axes: Sequence[AxisPatches]) -> Tensor:
    """Cut the overlap off results of patches, (batch, channels, *width)."""
    for dim, axis in enumerate(axes, start=2):
        x = x.narrow(dim, axis.halo, axis.own)
    return x


def stitch(patch: Callable[[PatchPosition], Tensor], axes: Sequence[AxisPatches]) -> Tensor:
    """Stitch results of patches to functions on the whole grid.

    Args:
        patch: returns the result of a patch without overlap, (batch, channels, *own).
        axes: the patches of each axis.

    Returns:
        (batch, channels, *grid).
    """
    return _stitched(patch, axes, ())


def _stitched(
    patch: Callable[[PatchPosition], Tensor], axes: Sequence[AxisPatches], position: PatchPosition
) -> Tensor:
    if len(position) == len(axes):
        return patch(position)
    dim, axis = len(position), axes[len(position)]
    parts = [
        _stitched(patch, axes, (*position, i)).narrow(dim + 2, 0, axis.count(i))
        for i in range(axis.parts)
    ]
    return torch.cat(parts, dim + 2) if len(parts) > 1 else parts[0]
