"""The block `position`: a trained value for each point of a fixed grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir.block import BYTES, Block, Cost, GridSizes
from opdsl.ir.dims import decided
from opdsl.ir.sharding.rules import LOCAL, Rule
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Position(Block):
    """w = v + p, with one trained number p for each point and channel.

    v : D -> R^n gives w : D -> R^n. Such a table exists for one resolution only, so the domain must
    declare it: `grid(x: 0..1, fixed = 64)`. There is no limit under refinement. `coords(D)` with
    `linear` serves the purpose at any resolution, `series` with a trained function.

    ```op
    edition 2026

    model Table {
      domain D = grid(x: 0..1, fixed = 64)
      input v : D -> R^3
      output w : D -> R^3

      w = v |> position()
    }
    ```

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1 (learned position embeddings).
    """

    samples = ({"inputs": (3,)},)

    def infer(self, x: Space) -> Space:
        """Return the space of the input."""
        return x

    def fixed_resolution(self, _x: Space) -> str | None:
        """Return the reason: the table has one entry for each point."""
        return "has a trained value for each sample point"

    def diverges(self, _x: Space) -> str | None:
        """Return the reason: tables of two grids are unrelated."""
        return "has a trained value for each sample point"

    def cost(self, x: Space) -> Cost:
        """Count one parameter and one addition for each point and channel."""
        numbers = x.numbers()
        points = 1
        for i, axis in enumerate(x.domain.axes):
            points *= x.domain.points_on(i, axis.least)
        return Cost(decided(points * x.channels), numbers, numbers * BYTES)

    def sharding(self, _axis: int, _sizes: GridSizes, _x: Space) -> Rule:
        """Return that it acts on each point alone."""
        return LOCAL

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.grid.conv.Position`."""
        from opdsl.nn.grid.conv import Position as Table

        domain = x.domain
        return Table(
            tuple(domain.points_on(i, a.least) for i, a in enumerate(domain.axes)),
            decided(x.channels),
        )
