"""The base of `real`, `imag` and `modulus`: real numbers from complex ones."""

from __future__ import annotations

from opdsl.ir.block import Block, Cost, copy_cost
from opdsl.ir.complex_parts import needs_complex, real_part_of
from opdsl.ir.ends import Behaviour
from opdsl.ir.spaces import Space


class ComplexPart(Block):
    """w(x) = f(v(x)), number by number, with f from complex to real numbers."""

    complex = True
    ragged = "pointwise"
    samples = (
        {"inputs": ("D -> C^3",)},
        {"inputs": ("K -> C^1",)},
    )

    def infer(self, x: Space) -> Space:
        """Return the domain with as many channels of real numbers.

        Raises:
            Refusal: OP0312, the input is real.
        """
        needs_complex(self.keyword(), x)
        return real_part_of(x)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], _x: Space) -> Behaviour:
        """Return the facts about v."""
        return inputs[0]

    def cost(self, x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(x).numbers())
