"""The block `complex`: a complex function of its two parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opdsl.ir.block import Block, Cost, free
from opdsl.ir.combine_rules import same_channels, same_domain
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Complex(Block):
    """w(x) = u(x) + i v(x); w = u where v is left out: a complex function of real ones.

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

    arity: ClassVar[tuple[int, int | None]] = (1, 2)
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "pointwise"
    samples: ClassVar[tuple[dict[str, Any], ...]] = ({"inputs": (3, 3)}, {"inputs": (1,)})

    def infer(self, *x: Space) -> Space:
        """Complex values on the domain of the parts."""
        same_domain("put together", x)
        same_channels("put together", x)
        return Space(domain=x[0].domain, channels=x[0].channels, field="C")

    def cost(self, *x: Space) -> Cost:
        """A copy."""
        return free(self.infer(*x).numbers())

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  the same for every space
        """See `opdsl.nn.layers.complex_parts.Complex`."""
        from opdsl.nn.layers import complex_parts

        return complex_parts.Complex()
