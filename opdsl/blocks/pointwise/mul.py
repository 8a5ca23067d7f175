"""The block `mul`: the product of two functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opdsl.blocks.pointwise._arithmetic import Arithmetic
from opdsl.ir import ends
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Mul(Arithmetic):
    """w = u v at each point and channel; written `a * b`.

    u, v : D -> R^n give w : D -> R^n, and u, v : D -> C^n give w : D -> C^n, on any one domain D.

    ```op
    edition 2026

    model Muls {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input a : D -> R^3
      input b : D -> R^3
      output w : D -> R^3

      w = a * b
    }
    ```

    Source: pointwise arithmetic; nothing to cite.
    """

    verb: ClassVar[str] = "multiply"
    commutative = True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _u: Space, _v: Space) -> Behaviour:
        """Return the rule of products: two odd functions have an even one."""
        return ends.product(*inputs)

    def saves_inputs(self, _u: Space, _v: Space) -> bool:
        """Return True: the derivative to each factor is the other one."""
        return True

    def lower(self, _u: Space, _v: Space) -> nn.Module:
        """See `opdsl.nn.layers.arithmetic.Mul`."""
        from opdsl.nn.layers import arithmetic

        return arithmetic.Mul()
