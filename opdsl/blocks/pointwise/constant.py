"""The block `constant`: trained numbers as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import Poly, PositiveCount
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Constant(Block):
    """w(x) = b at every point: trained numbers, which begin at zero.

    It is what `bias` adds, as a function of its own: where one constant stands in two places, as
    the first state of a recurrence that is added to what comes in and taken from what goes out.

    ```op
    edition 2026

    model Recurrence {
      domain D = grid(x: 0..1, boundary = periodic, min = 8)
      input u : D -> R^4
      input state : D -> R^4
      output new : D -> R^4
      feedback new -> state

      first = constant(D, out = 4, alike = true)
      new = tanh(u + (state + first)) - first
    }
    ```

    Attributes:
        domain: where the function lives.
        out: channels.
        alike: whether one number serves all channels.

    Source: Lu et al. 2021, arXiv:1910.03193, eq. (2), the term b_0; shared as the biases of
    Liu-Schiaffini et al. 2023, arXiv:2308.08794, sec. 4.
    """

    arity: ClassVar[tuple[int, int | None]] = (0, 0)
    positional: ClassVar[tuple[str, ...]] = ("domain",)
    sized: ClassVar[bool] = True
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "pointwise"
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (), "domain": "D", "out": 3},
        {"inputs": (), "domain": "D/2", "out": 2, "alike": True},
    )

    domain: Domain = Field(description="where the function lives")
    out: PositiveCount = Field(description="channels of the result")
    alike: bool = Field(default=False, description="whether one number serves all channels")

    def infer(self, *x: Space) -> Space:  # noqa: ARG002  it has no inputs
        """`out` channels on the domain."""
        return Space(domain=self.domain, channels=self.out)

    def cost(self, *x: Space) -> Cost:
        """A number for each channel, or one."""
        return Cost(1 if self.alike else self.out, Poly(), self.infer(*x).numbers() * BYTES)

    def uniform(self, given: tuple[bool, ...], *x: Space) -> bool:  # noqa: ARG002  it has no inputs
        """It is a constant."""
        return True

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  it has no inputs
        """See `opdsl.nn.layers.modulate.Constant`."""
        from opdsl.nn.layers import modulate

        return modulate.Constant(self.out, alike=self.alike)
