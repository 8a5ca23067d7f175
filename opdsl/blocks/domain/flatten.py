"""The block `flatten`: the values at all points as one vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from opdsl.ir.block import Block, Cost, GridSizes, Refusal, copy_cost
from opdsl.ir.ends import Behaviour
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import VECTOR, Space

if TYPE_CHECKING:
    from torch import nn


class Flatten(Block):
    """w = (v(x_1), v(x_2), ...): every channel at every point, as one vector.

    v : D -> R^n gives w : R^(n points). The length of the vector is the number of points, so the
    domain must declare one resolution: `fixed = 100`. Domains with points of their own in each
    sample are refused. Only on a spectrum, whose modes do not depend on the resolution, it
    converges.

    ```op
    edition 2026

    model Sensors {
      domain X = points(1, fixed = 100)
      input a : X -> R^1
      output w : R^8

      w = a |> flatten() |> linear(out = 8)
    }
    ```

    Source: Lu et al. 2021, arXiv:1910.03193 (the branch net of DeepONet).
    """

    complex = True
    samples = ({"inputs": (3,)}, {"inputs": ("P -> R^2",)})

    def infer(self, x: Space) -> Space:
        """Return the space of vectors with channels times points entries.

        A domain without a fixed resolution counts as one point; a check reports it.
        """
        domain = x.domain
        if domain.geometry == "per_sample":
            raise Refusal(
                "OP0311",
                "`flatten` needs the same points in every sample",
                f"`{domain}` has points of its own in each",
                notes=("an entry of the vector would stand for another place in every sample",),
                helps=(
                    "declare them as shared: leave out `geometry = per_sample`",
                    "or use an operator for any points: `integrate()`, `cross_attention(...)`",
                ),
            )
        points = math.prod(self._grid(x)) if self._pinned(x) else 1
        return Space(domain=VECTOR, channels=x.channels * points, field=x.field)

    def _grid(self, x: Space) -> tuple[int, ...]:
        least = {d.name: tuple(a.least for a in d.axes) for d in x.domain.declared}
        return x.domain.at(least)

    def _pinned(self, x: Space) -> bool:
        return x.domain.modes is not None or all(a.pinned for a in x.domain.axes)

    def fixed_resolution(self, x: Space) -> str | None:
        """Return the reason: every point is a channel of the result."""
        return None if x.domain.modes is not None else "turns every sample point into a channel"

    def diverges(self, x: Space) -> str | None:
        """Return the reason of `fixed_resolution`."""
        return self.fixed_resolution(x)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], x: Space) -> Order | None:
        """Return that values on a grid that is never refined are exact."""
        return EXACT if self._pinned(x) else None

    def sharding(self, _axis: int, _sizes: GridSizes, _x: Space) -> Rule:
        """Gather v, all values of which are in the vector."""
        return Rule("gather", whole=(0,))

    def cost(self, x: Space) -> Cost:
        """Count a copy."""
        return copy_cost(self.infer(x).numbers())

    def lower(self, _x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.Flatten`."""
        from opdsl.nn.layers import modulate

        return modulate.Flatten()
