"""The base of `pad` and `crop`: functions on a domain and on its extension."""

from __future__ import annotations

from typing import ClassVar

from opdsl.ir.block import Block, Cost, GridSizes, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.regrid import extension
from opdsl.ir.sharding.rules import CHANNELS, Rule
from opdsl.ir.spaces import Domain, Space
from opdsl.ir.steps import Extend


class BetweenExtensions(Block):
    """w on `to`, where one of `to` and the domain of v extends the other.

    Attributes:
        to: the domain of the result.
        outward: whether `to` is the extension.
    """

    outward: ClassVar[bool]
    kinds = frozenset({"grid"})
    complex = True
    sized = True

    to: Domain

    def infer(self, x: Space) -> Space:
        """Return the channels of v on `to`.

        Raises:
            Refusal: OP0313, neither of both domains extends the other.
        """
        self._steps(x)
        return x.on(self.to)

    def _steps(self, x: Space) -> tuple[Extend | None, ...]:
        """Return the extension on each axis, None where there is none."""
        inner, outer = (x.domain, self.to) if self.outward else (self.to, x.domain)
        return extension(inner, outer, x, self.keyword())

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it is exact at resolutions at which the extension is not rounded."""
        return EXACT

    def sharding(self, axis: int, sizes: GridSizes, x: Space) -> Rule:
        """Move points between neighbours, unless polynomials continue the function."""
        step = next(y for y in self._steps(x) if y)
        if self.outward and step.kind != "zero":
            return CHANNELS
        before = abs(sizes[-1][axis] - sizes[0][axis]) // 2 if step.sides == "both" else 0
        return Rule("shift", before=before if self.outward else -before)

    def cost(self, x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(x).numbers())
