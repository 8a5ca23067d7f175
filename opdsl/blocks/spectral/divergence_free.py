"""The block `divergence_free`: the part of a vector field that has no divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Cost, GridSizes, Refusal
from opdsl.ir.dims import Poly, decided
from opdsl.ir.ends import AxisBehaviour, Behaviour
from opdsl.ir.orders import Order
from opdsl.ir.regrid import transform
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Space

if TYPE_CHECKING:
    from torch import nn


class DivergenceFree(Block):
    """w = v - grad Laplace^-1 div v: the Leray projection onto fields without divergence.

    v : D -> R^(d m) gives w : D -> R^(d m) on a grid D of d axes. The channels are the components
    of one vector field along the axes, in their order, or of m fields one after the other. It is
    exact for the frequencies of the grid, at odd and even sizes; the frequency that an even grid
    cannot distinguish from its negative counts as constant, as in the derivative. The mean of the
    field is unchanged. Every axis is treated as periodic, whatever the
    boundary: it has no other basis, as `spectral_conv(basis = auto)` has; an axis with two ends
    closes one spacing behind the last point.

    ```op
    edition 2026

    model Flow {
      domain D = grid(x: 0..1, y: 0..2, boundary = periodic, min = 16)
      input u : D -> R^{ux, uy}
      output w : D -> R^{wx, wy}

      w = u |> linear(out = 16) |> gelu() |> linear(out = 2) |> divergence_free()
    }
    ```

    Source: Temam 2001, doi:10.1090/chel/343, chapter I, section 1.4; on a torus by Fourier modes.
    """

    kinds = frozenset({"grid"})
    samples = ({"inputs": (6,)},)
    assumes_periodic = True

    def infer(self, x: Space) -> Space:
        """Return the space of the input."""
        axes = x.domain.dims
        channels: object = x.channels
        if not isinstance(channels, Poly) and x.channels % axes:
            raise Refusal(
                "OP0303",
                f"{x.channels} channels are no vector fields on {axes} axes",
                f"a field has {axes} components",
                at=0,
                helps=(f"make them so before: `linear(out = {axes})`",),
            )
        return x

    def band_preserving(self) -> bool:
        """Return True: it acts on each frequency by itself."""
        return True

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that nothing is known at ends; on periodic axes breaks stay."""
        axes = zip(inputs[0].axes, ends.free(x.domain).axes, strict=True)
        return Behaviour(
            tuple(AxisBehaviour(b.lower, b.upper, a.seam) for a, b in axes), inputs[0].smoothness
        )

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order:
        """Return the order of the Fourier coefficients."""
        return orders.coefficients(x.domain, inputs[0])

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Return that it acts on each vector field alone."""
        return Rule("channels", group=x.domain.dims)

    def cost(self, x: Space) -> Cost:
        """Count the transforms in both directions, and a product with the frequencies."""
        flops = transform(x) + transform(x) + x.numbers() * (4 * x.domain.dims)
        return Cost(0, flops, x.numbers() * BYTES)

    def saved_per_point(self, x: Space) -> int:
        """Count a copy of v."""
        return decided(x.channels)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.divergence_free.DivergenceFree`."""
        from opdsl.nn.spectral import divergence_free

        domain = x.domain
        return divergence_free.DivergenceFree(
            tuple(a.hi - a.lo for a in domain.axes), domain.periodic, domain.declared_samplings
        )
