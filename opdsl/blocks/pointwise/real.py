"""The block `real`: the real part of a complex function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.blocks.pointwise._complex_part import ComplexPart
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Real(ComplexPart):
    """w(x) = Re v(x): the real part, number by number.

    v : D -> C^n gives w : D -> R^n, on any domain D.

    ```op
    edition 2026

    model RealPart {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input v : D -> C^2
      output w : D -> R^2

      w = real(v)
    }
    ```

    Source: number by number; nothing to cite.
    """

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.complex_parts.Real`."""
        from opdsl.nn.layers import complex_parts

        return complex_parts.Real()
