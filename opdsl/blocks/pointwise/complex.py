"""The block `complex`: a complex function of its two parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends
from opdsl.ir.block import Block, Cost, copy_cost
from opdsl.ir.combine_rules import same_channels, same_domain
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Complex(Block):
    """w(x) = u(x) + i v(x), a complex function from two real ones; w = u if v is left out.

    u, v : D -> R^n give w : D -> C^n on any one domain D. It acts at each point alone and converges
    under refinement. `real` and `imag` are its inverse.

    ```op
    edition 2026

    model Wave {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input u : D -> R^1
      input v : D -> R^1
      output w : D -> C^1

      w = complex(u, v)
    }
    ```

    Source: number by number; nothing to cite.
    """

    ragged = "pointwise"
    samples = ({"inputs": (3, 3)}, {"inputs": (1,)})

    def infer(self, u: Space, v: Space | None = None) -> Space:
        """Return the domain of the parts with complex values."""
        parts = (u,) if v is None else (u, v)
        same_domain("put together", parts)
        same_channels("put together", parts)
        return Space(domain=u.domain, channels=u.channels, field="C")

    def behaviour_at_ends(
        self, inputs: tuple[Behaviour, ...], _u: Space, _v: Space | None = None
    ) -> Behaviour:
        """Return what both parts have in common."""
        return ends.join(*inputs)

    def cost(self, u: Space, v: Space | None = None) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(u, v).numbers())

    def lower(self, _u: Space, _v: Space | None = None) -> nn.Module:
        """See `opdsl.nn.layers.complex_parts.Complex`."""
        from opdsl.nn.layers import complex_parts

        return complex_parts.Complex()
