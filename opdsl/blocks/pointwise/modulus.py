"""The block `modulus`: the absolute value of a complex function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.blocks.pointwise._complex_part import ComplexPart
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Modulus(ComplexPart):
    """w(x) = |v(x)|: the absolute value, number by number.

    v : D -> C^n gives w : D -> R^n, on any domain D.

    ```op
    edition 2026

    model AbsoluteValue {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input v : D -> C^2
      output w : D -> R^2

      w = modulus(v)
    }
    ```

    Source: number by number; nothing to cite. The derivative at zero is taken as zero.
    """

    def cost(self, x: Space) -> Cost:
        """Count two squares, a sum and a root for each number."""
        numbers = self.infer(x).numbers()
        return Cost(0, numbers * 4, numbers * BYTES)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Keep zeros; the modulus has a kink where v vanishes."""
        return ends.activation(inputs[0], zero=True, odd=False, smoothness=2)

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.complex_parts.Modulus`."""
        from opdsl.nn.layers import complex_parts

        return complex_parts.Modulus()
