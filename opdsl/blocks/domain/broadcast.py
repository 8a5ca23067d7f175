"""The block `broadcast`: a constant function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import Block, Cost, GridSizes, Refusal, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import KINDS, Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Broadcast(Block):
    """w(x) = v at every point: the constant function with the value of a vector.

    v : R^n gives w : to -> R^n, and v : C^n likewise. It is the same function at every resolution.

    ```op
    edition 2026

    model Told {
      domain D = grid(x: 0..1, min = 8)
      input a : D -> R^1
      input nu : R^1
      output w : D -> R^2

      w = concat(a, broadcast(nu, to = D))
    }
    ```

    Attributes:
        to: the domain of the function.

    Source: nothing to cite.
    """

    complex = True
    sized = True
    ragged = "own"
    samples = ({"inputs": ("R^3",), "to": "D"},)

    to: Domain = Field(description="the domain of the function")

    def infer(self, x: Space) -> Space:
        """Return `to` with the channels of the vector."""
        if x.domain.kind != "vector":
            raise Refusal(
                "OP0301",
                f"`broadcast` is defined on {KINDS['vector']}",
                f"this is `{x}`",
                at=0,
                helps=("make a vector of it: `integrate()`",),
            )
        return x.on(self.to)

    def receptive_field(self, sizes: GridSizes, _x: Space) -> tuple[int, ...]:
        """Return 0: the vector is the same at every point."""
        return (0,) * len(sizes[-1])

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about a constant."""
        return ends.constant(self.to)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it is exact."""
        return EXACT

    def cost(self, x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(x).numbers())

    def uniform(self, inputs: tuple[bool, ...], x: Space) -> bool:
        """Return True for a vector."""
        return all(inputs) or x.domain.kind == "vector"

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Broadcast`."""
        from opdsl.nn.layers import modulate

        return modulate.Broadcast()
