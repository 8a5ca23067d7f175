"""Inputs that each call brings beside functions: coordinates, weights and static fields."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.grid.concat import concat
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
        """Return coordinates (batch or 1, points, d); packed, (1, points of all samples, d)."""
        return (
            concat_coordinates(asked[0], like) if any(ragged) else stack_coordinates(asked[0], like)
        )


class PointWeights(nn.Module):
    """Quadrature weights of points, for blocks that sum over them.

    Args:
        measured: how weights are found where the geometry has none.
        period: the length after which space repeats, for each coordinate.
    """

    def __init__(self, measured: WeightRule, period: Period | None) -> None:
        super().__init__()
        self.measure, self.period = measured, period

    # a tracer must not see the cache of weights
    @torch.compiler.disable  # type: ignore[untyped-decorator]  # torch does not type it
    def forward(self, place: Geometries, like: Tensor) -> tuple[Tensor, ...]:
        """Return the weights (n,) of each sample, or once for all, in the dtype of `like`.

        Ones where all points count the same.
        """
        result = (quadrature_weights(x, self.measure, self.period) for x in place)
        alike = (torch.ones(len(x)) for x in place)
        return tuple((a if w is None else w).to(like) for w, a in zip(result, alike, strict=True))


class StaticFields(nn.Module):
    """Fields that are shared by all samples, as channels of one function."""

    def forward(self, *, like: Tensor, asked: tuple[Tensor, ...]) -> Tensor:
        """Stack fields (1, *grid, 1) to channels (1, *grid, fields)."""
        return concat(tuple(x.to(dtype=like.dtype, device=like.device) for x in asked))
