"""The block `modulate`: scaling and shifting by a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Modulate(Block):
    """w(x) = v(x) (1 + G c) + B c: a vector c scales and shifts every channel of v (FiLM).

    v : D -> R^n and c : R^m give w : D -> R^n on any domain D. G c and B c stand for affine
    functions of c that are zero at the beginning, so that training starts from w = v. It acts at
    each point alone and converges under refinement.

    ```op
    edition 2026

    model Told {
      domain D = grid(x: 0..1, min = 8)
      input v : D -> R^8
      input nu : R^1
      output w : D -> R^8

      w = v |> modulate(nu)
    }
    ```

    Source: Perez et al. 2018, arXiv:1709.07871, eq. (1) and (2).
    """

    ragged = "own"
    samples = (
        {"inputs": (3, "R^2")},
        {"inputs": ("R^3", "R^1")},
    )

    def infer(self, v: Space, c: Space) -> Space:
        """Return the domain of the function with as many channels."""
        if c.domain.kind != "vector":
            raise Refusal(
                "OP0301",
                "`modulate` takes a function, then a vector",
                f"this is `{c}`",
                at=1,
                helps=(
                    "turn them round: `modulate(v, c)`"
                    if v.domain.kind == "vector"
                    else "a function is multiplied point by point: `v * w`",
                ),
            )
        return v.with_channels(v.channels)

    def receptive_field(self, sizes: GridSizes, _v: Space, _c: Space) -> tuple[int, ...]:
        """Return 0: the vector is the same at every point."""
        return (0,) * len(sizes[-1])

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _v: Space, _c: Space) -> Behaviour:
        """Return v's facts that a constant leaves."""
        return ends.add_constant(inputs[0])

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _v: Space, _c: Space) -> Order:
        """Return that it acts at each point alone."""
        return EXACT

    def cost(self, v: Space, c: Space) -> Cost:
        """Count two matrices with biases, and two operations for each number."""
        params = 2 * v.channels * (c.channels + 1)
        return Cost(decided(params), v.numbers() * 2 + 2 * params, v.numbers() * BYTES)

    def lower(self, v: Space, c: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Modulate`."""
        from opdsl.nn.layers import modulate

        return modulate.Modulate(decided(v.channels), decided(c.channels))
