"""The block `broadcast`: a constant function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from opdsl.ir.block import Block, Cost, Refusal, free
from opdsl.ir.spaces import KINDS, Domain, Space

if TYPE_CHECKING:
    from torch import nn


class Broadcast(Block):
    """w(x) = v at every point: the constant function of a vector.

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

    complex: ClassVar[bool] = True
    sized: ClassVar[bool] = True
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "own"
    samples: ClassVar[tuple[dict[str, Any], ...]] = ({"inputs": ("R^3",), "to": "D"},)

    to: Domain = Field(description="the domain of the function")

    def infer(self, *x: Space) -> Space:
        """The channels of the vector on `to`."""
        if x[0].domain.kind != "vector":
            raise Refusal(
                "OP0301",
                f"`broadcast` is defined on {KINDS['vector']}",
                f"this is `{x[0]}`",
                at=0,
                helps=("make a vector of it: `integrate()`",),
            )
        return x[0].on(self.to)

    def reach(self, sizes: tuple[tuple[int, ...], ...], *x: Space) -> tuple[int, ...]:  # noqa: ARG002  the same for every input
        """The vector is the same at every point."""
        return (0,) * len(sizes[-1])

    def cost(self, *x: Space) -> Cost:
        """A copy."""
        return free(self.infer(*x).numbers())

    def uniform(self, given: tuple[bool, ...], *x: Space) -> bool:
        """A vector is the same at every point."""
        return all(given) or x[0].domain.kind == "vector"

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  the same for every space
        """See `opdsl.nn.layers.modulate.Broadcast`."""
        from opdsl.nn.layers import modulate

        return modulate.Broadcast()
