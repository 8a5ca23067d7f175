"""What is given for points with each call: coordinates and static fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.points.geometry import Geometries, concat_coordinates, stack_coordinates
from opdsl.nn.points.measure import WeightRule, quadrature_weights
from opdsl.nn.points.neighbours.pairs import Period
from opdsl.nn.shapes import RaggedSizes, Size


class PointCoordinates(nn.Module):
    """The coordinates of points as a function on them."""

    def forward(
        self,
        *,
        size: Size,  # noqa: ARG002  points have their own size
        like: Tensor,
        asked: tuple[Geometries, ...],
        ragged: RaggedSizes = (),
    ) -> Tensor:
        """-> (batch or 1, points, d), or (1, points of all samples, d) where they are packed."""
        return (
            concat_coordinates(asked[0], like) if any(ragged) else stack_coordinates(asked[0], like)
        )


class PointWeights(nn.Module):
    """What each point stands for in an integral: weights that its geometry brings, else found.

    Args:
        measured: how they are found, as the domain declares it.
        period: as the domain declares it.
    """

    def __init__(self, measured: WeightRule, period: Period | None) -> None:
        super().__init__()
        self.measure, self.period = measured, period

    # weights that have been found are remembered, which is no part of a graph
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def forward(self, place: Geometries, like: Tensor) -> tuple[Tensor, ...]:
        """Of each sample, or once for all, (n,), in the format of `like`."""
        found = (quadrature_weights(x, self.measure, self.period) for x in place)
        alike = (torch.ones(len(x)) for x in place)
        return tuple((a if w is None else w).to(like) for w, a in zip(found, alike, strict=True))


class StaticFields(nn.Module):
    """Fields that are the same for all samples, side by side."""

    def forward(self, *, like: Tensor, asked: tuple[Tensor, ...]) -> Tensor:
        """(1, *grid, 1) each -> (1, *grid, fields)."""
        from opdsl.nn.grid.concat import concat

        return concat(tuple(x.to(dtype=like.dtype, device=like.device) for x in asked))
