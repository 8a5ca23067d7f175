"""The block `fourier_features`: random waves of the values, or of coordinates between two ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, PositiveFloat, PositiveInt

from opdsl.bases import Bases, Term
from opdsl.blocks.pointwise.apply import TRANSCENDENTAL
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Cost, Refusal
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.interpolants import is_plain, terms_of
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.spaces import KINDS, Domain, Space
from opdsl.ir.steps import Extend

if TYPE_CHECKING:
    from torch import nn


class FourierFeatures(Block):
    """w = (sin(2 pi B v), cos(2 pi B v)): random waves of the values, mostly of coordinates.

    v : D -> R^n gives w : D -> R^(2 count) on any domain D. B is drawn once from a normal
    distribution, is not trained, and is saved with the weights. It acts at each point alone and
    converges under refinement.

    ```op
    edition 2026

    model Waves {
      domain D = grid(x: 0..1, y: 0..1, min = 8)
      input a : D -> R^1
      output w : D -> R^17

      w = concat(a, coords(D) |> fourier_features(count = 8))
    }
    ```

    With a `basis` the waves follow the boundary of a grid. v then has the coordinates of its axes,
    `coords(D)`, and a wave is a product of one function for each axis, whose random frequency is
    the next one of the basis: `auto` has whole periods on periodic axes, cosines between Neumann
    ends, and elsewhere both functions that vanish at the ends (or are even, at a Neumann end) and
    cosines. Several periodic axes have the plane waves sin and cos of 2 pi k . t together. The
    result has `count` channels; twice as many if it has waves on a periodic axis, and again if an
    axis has `sine_cosine`: first all sines, then all cosines.

    Attributes:
        count: number of waves; the result has twice as many channels without a `basis`.
        scale: standard deviation of their frequencies, in periods per unit of v.
        basis: fourier, auto, sine, cosine, quarter_sine, quarter_cosine or sine_cosine; one word
            for all axes or one for each. `fourier` on all axes: any real frequencies.

    Source: Tancik et al. 2020, arXiv:2006.10739, eq. (5).
    """

    ragged = "pointwise"
    samples = (
        {"inputs": (2,), "count": 3},
        {"inputs": ("R^1",), "count": 2, "scale": 0.5},
    )

    count: PositiveInt = Field(description="waves; twice as many channels")
    scale: PositiveFloat = Field(default=1.0, description="standard deviation of the frequencies")
    basis: Bases = Field(default="fourier", description="the functions of each axis")

    def infer(self, x: Space) -> Space:
        """Return the domain with the waves as channels.

        Raises:
            Refusal: OP0301, a basis needs a grid; OP0303, v does not have a channel for each axis;
                OP0208 or OP0323, the basis does not fit the axes.
        """
        return x.with_channels(self.count * self._functions(x))

    def _functions(self, x: Space) -> int:
        """Return the number of functions of each wave."""
        if is_plain(self.basis):
            return 2
        terms = self._terms(x)
        return len(terms) * (2 if "fourier" in terms[0] else 1)

    def _terms(self, x: Space) -> tuple[Term, ...]:
        domain = x.domain
        if not domain.regular or _extended(domain):
            what = f"extends `{domain.name}`" if domain.regular else f"is {KINDS[domain.kind]}"
            raise Refusal(
                "OP0301",
                "features follow the boundary of a grid",
                f"`{domain}` {what}",
                at="basis",
                helps=("leave `basis` out",),
            )
        if x.channels != domain.dims:
            raise Refusal(
                "OP0303",
                f"features of {domain.dims} coordinates, and `{x}` has {x.channels} channels",
                "one coordinate for each axis is expected",
                at=0,
                helps=(
                    f"take those of the coordinates: `coords({domain}) |> fourier_features(...)`",
                ),
            )
        return terms_of(self.basis, domain)

    def behaviour_at_ends(self, inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return the facts about a function of the values of v, or those of a basis."""
        if is_plain(self.basis) or not inputs[0].coordinates:
            return ends.add_constant(inputs[0])
        return ends.waves(x.domain, *self._terms(x))

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that it acts at each point alone."""
        return EXACT

    def cost(self, x: Space) -> Cost:
        """Count a matrix product, a sine and a cosine; a basis has a function for each axis."""
        volume, out = x.domain.volume(), self.count * self._functions(x)
        waves = 2 * self.count
        if not is_plain(self.basis):
            waves = out * x.domain.dims
        flops = 2 * x.channels * self.count + TRANSCENDENTAL * waves
        return Cost(0, volume * flops, volume * (out * BYTES))

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.layers.modulate.FourierFeatures` and `half_waves.features`."""
        from opdsl.nn.layers import modulate

        if not is_plain(self.basis):
            from opdsl.nn.spectral.half_waves import features

            intervals = tuple((axis.lo, axis.hi) for axis in x.domain.axes)
            return features.BasisFeatures(self._terms(x), intervals, self.count, self.scale)
        return modulate.FourierFeatures(decided(x.channels), self.count, self.scale)


def _extended(domain: Domain) -> bool:
    return any(isinstance(step, Extend) for part in domain.parts for step in part.steps)
