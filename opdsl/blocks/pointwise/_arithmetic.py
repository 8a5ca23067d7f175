"""The base of `add`, `sub` and `mul`: operations on two functions, number by number."""

from __future__ import annotations

from typing import ClassVar

from opdsl.ir.block import BYTES, Block, Cost
from opdsl.ir.combine_rules import common_components, same_channels, same_domain, same_field
from opdsl.ir.spaces import Space


class Arithmetic(Block):
    """w = u op v at each point and channel; both functions have one domain and equal channels.

    Attributes:
        verb: the operation in diagnostics: "cannot {verb} functions on different grids".
    """

    verb: ClassVar[str]
    complex = True
    ragged = "pointwise"
    samples = ({"inputs": (3, 3)}, {"inputs": (1, 1)})

    def infer(self, u: Space, v: Space) -> Space:
        """Return the space of both; the channels keep the names on which both agree.

        Raises:
            Refusal: OP0303, OP0304 or OP0312, channels, domains or fields differ.
        """
        same_domain(self.verb, (u, v))
        same_field(self.verb, (u, v))
        same_channels(self.verb, (u, v))
        return u.model_copy(update={"components": common_components((u, v))})

    def cost(self, u: Space, _v: Space) -> Cost:
        """Count one operation for each number."""
        return Cost(0, u.numbers(), u.numbers() * BYTES)
