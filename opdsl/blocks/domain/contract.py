"""The block `contract`: a vector against a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal
from opdsl.ir.combine_rules import count
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.sharding.rules import LOCAL, Rule
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Contract(Block):
    """w_j(x) = sum over i of b_ji t_i(x): a vector b weights the functions t_i.

    b : R^(out n) and t : D -> R^n give w : D -> R^out on any domain D. Branch and trunk of a
    DeepONet meet here. The entries of b that belong to w_1 come first. It converges under
    refinement.

    ```op
    edition 2026

    model Expand {
      domain Q = grid(y: 0..1, min = 8)
      input b : R^16
      input t : Q -> R^16
      output w : Q -> R^1

      w = contract(b, t)
    }
    ```

    Attributes:
        out: number of channels of the result.

    Source: Lu et al. 2021, arXiv:1910.03193, eq. (2).
    """

    ragged = "own"
    samples = (
        {"inputs": ("R^3", 3)},
        {"inputs": ("R^4", 2), "out": 2},
    )

    out: PositiveInt = Field(default=1, description="channels of the result")

    def infer(self, branch: Space, trunk: Space) -> Space:
        """Return the domain of the function with `out` channels."""
        if branch.domain.kind != "vector":
            raise Refusal(
                "OP0301",
                "`contract` takes a vector first, then a function",
                f"this is `{branch}`",
                at=0,
                helps=(
                    "turn them round: `contract(b, t)`"
                    if trunk.domain.kind == "vector"
                    else "make a vector of it: `flatten()` or `integrate()`",
                ),
            )
        if branch.channels != self.out * trunk.channels:
            raise Refusal(
                "OP0303",
                f"cannot contract {count(branch.channels)} with {count(trunk.channels)}",
                "channel counts differ" if self.out == 1 else f"`out = {self.out}` times as many",
                inputs={i: f"this is `{y}`" for i, y in enumerate((branch, trunk))},
                helps=(f"give the vector {count(self.out * trunk.channels)}",),
            )
        return trunk.with_channels(self.out)

    def behaviour_at_ends(
        self, inputs: tuple[Behaviour, ...], _branch: Space, _trunk: Space
    ) -> Behaviour:
        """Return the facts about the trunk, which is combined linearly."""
        return inputs[1]

    def convergence_order(
        self, _inputs: tuple[Behaviour, ...], _branch: Space, _trunk: Space
    ) -> Order:
        """Return that it acts at each point alone."""
        return EXACT

    def sharding(self, _axis: int, _sizes: GridSizes, _branch: Space, _trunk: Space) -> Rule:
        """Return that it acts on each point of t alone."""
        return LOCAL

    def cost(self, branch: Space, trunk: Space) -> Cost:
        """Count a product and a sum for each channel of the function and of the result."""
        volume = trunk.domain.volume()
        return Cost(0, volume * (2 * branch.channels), volume * (self.out * BYTES))

    def saves_inputs(self, _branch: Space, _trunk: Space) -> bool:
        """Return True: the derivative to each factor is the other one."""
        return True

    def lower(self, _branch: Space, _trunk: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Contract`."""
        from opdsl.nn.layers import modulate

        return modulate.Contract(self.out)
