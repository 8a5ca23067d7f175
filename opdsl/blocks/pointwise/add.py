"""The block `add`: the sum of two functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opdsl.blocks.pointwise._arithmetic import Arithmetic
from opdsl.ir import ends
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Add(Arithmetic):
    """w = u + v at each point and channel; written `a + b`.

    u, v : D -> R^n give w : D -> R^n, and u, v : D -> C^n give w : D -> C^n, on any one domain D.

    ```op
    edition 2026

    model Adds {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input a : D -> R^3
      input b : D -> R^3
      output w : D -> R^3

      w = a + b
    }
    ```

    Source: pointwise arithmetic; nothing to cite.
    """

    verb: ClassVar[str] = "add"
    commutative = True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _u: Space, _v: Space) -> Behaviour:
        """Return what both functions have in common."""
        return ends.join(*inputs)

    def band_preserving(self) -> bool:
        """Return True: it is linear and acts on every point alike."""
        return True

    def label(self) -> str:
        """Return the sign."""
        return "+"

    def lower(self, _u: Space, _v: Space) -> nn.Module:
        """See `opdsl.nn.layers.arithmetic.Add`."""
        from opdsl.nn.layers import arithmetic

        return arithmetic.Add()
