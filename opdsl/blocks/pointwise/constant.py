"""The block `constant`: trained numbers as a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Constant(Block):
    """w(x) = b at every point, with trained numbers b that begin at zero.

    The result is w : domain -> R^out. The block `bias` adds such a constant; as a function of its
    own it can stand in several places of a program, such as the first state of a recurrence, which
    is added to the input and subtracted from the output. It converges under refinement.

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
        domain: the domain of the function; given without a name.
        out: number of channels.
        alike: whether one number serves all channels.

    Source: Lu et al. 2021, arXiv:1910.03193, eq. (2), the term b_0; shared like the biases of
        Liu-Schiaffini et al. 2023, arXiv:2308.08794, sec. 4.
    """

    positional = ("domain",)
    sized = True
    ragged = "pointwise"
    samples = (
        {"inputs": (), "domain": "D", "out": 3},
        {"inputs": (), "domain": "D/2", "out": 2, "alike": True},
    )

    domain: Domain = Field(description="where the function lives")
    out: PositiveCount = Field(description="channels of the result")
    alike: bool = Field(default=False, description="whether one number serves all channels")

    def infer(self) -> Space:
        """Return the domain with `out` channels."""
        return Space(domain=self.domain, channels=self.out)

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...]) -> Behaviour:
        """Return the facts about a constant."""
        return ends.constant(self.domain)

    def convergence_order(self, _inputs: tuple[Behaviour, ...]) -> Order:
        """Return that it is exact."""
        return EXACT

    def cost(self) -> Cost:
        """Count a parameter for each channel, or one."""
        return Cost(decided(1 if self.alike else self.out), Poly(), self.infer().numbers() * BYTES)

    def uniform(self, _inputs: tuple[bool, ...]) -> bool:
        """Return True."""
        return True

    def lower(self) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Constant`."""
        from opdsl.nn.layers import modulate

        return modulate.Constant(decided(self.out), alike=self.alike)
