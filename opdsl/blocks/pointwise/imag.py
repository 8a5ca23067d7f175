"""The block `imag`: the imaginary part of a complex function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from opdsl.ir.block import Block, Cost, free
from opdsl.ir.complex_parts import needs_complex, real_part_of
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class Imag(Block):
    """w(x) = Im v(x): the imaginary part, number by number.

    ```op
    edition 2026

    model ImaginaryPart {
      domain D = grid(x: 0..1, boundary = periodic, min = 16)
      input v : D -> C^2
      output w : D -> R^2

      w = imag(v)
    }
    ```

    Source: number by number; nothing to cite.
    """

    complex: ClassVar[bool] = True
    ragged: ClassVar[Literal["each", "pointwise", "own"]] = "pointwise"
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": ("D -> C^3",)},
        {"inputs": ("K -> C^1",)},
    )

    def infer(self, *x: Space) -> Space:
        """Real values of as many channels."""
        needs_complex(self.keyword(), x[0])
        return real_part_of(x[0])

    def cost(self, *x: Space) -> Cost:
        """Nothing is computed."""
        return free(self.infer(*x).numbers())

    def lower(self, *x: Space) -> nn.Module:  # noqa: ARG002  the same for every space
        """See `opdsl.nn.layers.complex_parts.Imag`."""
        from opdsl.nn.layers import complex_parts

        return complex_parts.Imag()
