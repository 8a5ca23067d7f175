"""The block `coords`: the coordinates of the points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from opdsl.ir.block import Block, Cost, Refusal, free
from opdsl.ir.spaces import KINDS, Domain, Extend, Space

if TYPE_CHECKING:
    from torch import nn


class Coords(Block):
    """w(x) = x: one channel for each axis, in the program's unit of length.

    A periodic axis of n points has them at lo + i (hi - lo) / n, since `hi` is `lo` again; any
    other axis includes both ends, lo + i (hi - lo) / (n - 1). Nothing adds coordinates silently:
    a model has them where its program says so.

    ```op
    edition 2026

    model Where {
      domain D = grid(x: 0..1, y: -1..1, boundary = periodic, min = 16)
      input a : D -> R^1
      output w : D -> R^3

      w = concat(a, coords(D))
    }
    ```

    Attributes:
        domain: the grid.

    Source: Li et al. 2021, arXiv:2010.08895, section 5.
    """

    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    positional: ClassVar[tuple[str, ...]] = ("domain",)
    sized: ClassVar[bool] = True
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (), "domain": "D"},
        {"inputs": (), "domain": "D/2"},
    )

    domain: Domain = Field(description="the grid")

    def infer(self, *x: Space) -> Space:  # noqa: ARG002  it has no inputs
        """As many channels as axes, with their names."""
        self._check_grid()
        names = tuple(a.name for a in self.domain.axes)
        return Space(domain=self.domain, channels=self.domain.dims, components=names)

    def _check_grid(self) -> None:
        if self.domain.kind != "grid":
            raise Refusal(
                "OP0301",
                f"`coords` is defined on {KINDS['grid']} only",
                f"`{self.domain}` is {KINDS[self.domain.kind]}",
                at="domain",
            )
        if any(isinstance(x, Extend) for x in self.domain.steps):
            raise Refusal(
                "OP0301",
                "`coords` is defined on a grid itself, not on an extension of one",
                f"`{self.domain}` extends `{self.domain.name}`",
                at="domain",
                notes=(
                    "the added points close the domain to a ring and have no place of their own",
                ),
                helps=(
                    f"take them before: `coords({self.domain.name}) |> pad(to = {self.domain})`",
                ),
            )

    def cost(self, *x: Space) -> Cost:
        """No arithmetic to speak of."""
        return free(self.infer(*x).numbers())

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  it has no inputs
        """See `opdsl.nn.grid.coords`."""
        from opdsl.nn import grid

        axes = self.domain.axes
        return grid.Coords(
            tuple(a.lo for a in axes), tuple(a.hi for a in axes), self.domain.periodic
        )
