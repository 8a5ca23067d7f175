"""What is given for points with each call: coordinates and static fields."""

from __future__ import annotations

from torch import Tensor, nn

from opdsl.nn.geometry import Placed, joined_places, stacked
from opdsl.nn.grid import Ragged, Size


class Given(nn.Module):
    """The coordinates of points as a function on them."""

    def forward(
        self,
        *,
        size: Size,  # noqa: ARG002  points have their own size
        like: Tensor,
        asked: tuple[Placed, ...],
        ragged: Ragged = (),
    ) -> Tensor:
        """-> (batch or 1, points, d), or (1, points of all samples, d) where they are packed."""
        return joined_places(asked[0], like) if any(ragged) else stacked(asked[0], like)


class Static(nn.Module):
    """Fields that are the same for all samples, side by side."""

    def forward(self, *, like: Tensor, asked: tuple[Tensor, ...]) -> Tensor:
        """(1, *grid, 1) each -> (1, *grid, fields)."""
        from opdsl.nn.grid import concat

        return concat(tuple(x.to(dtype=like.dtype, device=like.device) for x in asked))
