"""The block `series`: a trained Fourier series on a domain."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeInt

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Bound, Cost, Refusal
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import bounds, each_axis
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.regrid import transform
from opdsl.ir.spaces import KINDS, Domain, Space
from opdsl.sampling import points_of
from opdsl.spectrum import Bands, frequencies

if TYPE_CHECKING:
    from torch import nn


class Series(Block):
    """w(x) = sum_k c_k exp(2 pi i k x), |k| <= m: a trained real function of the coordinates alone.

    The result is w : domain -> R^out on a grid with 2 m + 1 points on each axis. It tells a model
    where it is, or which of several variables it processes. It is one function for every
    resolution, where `position` has a value for each point of one grid. The period is the domain,
    so an axis with two ends has one value at both. It begins as a smooth random function, E|c_k|^2
    proportional to (1 + |k|^2)^-3, with variance one at every point.

    ```op
    edition 2026

    model Marked {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input a : D -> R^1
      output w : D -> R^9

      w = concat(a, series(D, out = 8, modes = 8))
    }
    ```

    `layout = neuralop` has k = 0 ... m on every axis, also where negative ones belong: the
    functions that neuraloperator can learn as positional encoding of a CoDA-NO. It divides them by
    the number of points, so that they differ at every resolution; `faults = neuralop_93d3f06` (its
    newest commit) reproduces this for weights that were trained with it, and a warning says so.

    Attributes:
        domain: a grid; given without a name.
        out: number of channels.
        modes: m, the greatest frequency, in periods per box; one number for all axes or one for
            each.
        layout: which frequencies `modes` means: symmetric or neuralop.
        faults: none, or the release of neuraloperator whose faults are reproduced.

    Source: Rahman et al. 2024, arXiv:2403.12553, sec. 4 (positional encoding of a variable).
    """

    positional = ("domain",)
    sized = True
    samples = (
        {"inputs": (), "domain": "D", "out": 3, "modes": 2},
        {"inputs": (), "domain": "D/2", "out": 1, "modes": 0},
        {"inputs": (), "domain": "D", "out": 2, "modes": 2, "layout": "neuralop"},
        {"inputs": (), "domain": "D", "out": 2, "modes": 2, "faults": "neuralop_93d3f06"},
    )

    domain: Domain = Field(description="the grid")
    out: PositiveCount = Field(description="channels of the result")
    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency, one number or one for each axis"
    )
    layout: Literal["symmetric", "neuralop"] = Field(
        default="symmetric", description="which frequencies `modes` means"
    )
    faults: Literal["none", "neuralop_93d3f06"] = Field(
        default="none", description="of which release it has the faults"
    )

    def infer(self) -> Space:
        """Return the domain with `out` channels."""
        if not self.domain.regular:
            raise Refusal(
                "OP0301",
                "`series` is defined on grids only",
                f"`{self.domain}` is {KINDS[self.domain.kind]}",
                at="domain",
            )
        space = Space(domain=self.domain, channels=self.out)
        each_axis(self.modes, space)
        return space

    def _bands(self) -> Bands:
        modes = each_axis(self.modes, self.infer())
        if self.layout == "neuralop":
            return tuple(range(m + 1) for m in modes)
        return frequencies(modes)

    def bounds(self) -> tuple[Bound, ...]:
        """Require points that resolve the frequencies; an axis with two ends needs one more."""
        periodic = bounds(self.infer().domain, self._bands(), self.modes)
        ends = (points_of(sampling, 0) for sampling in self.domain.samplings)
        return tuple(_more(self._fewer(y), n) for y, n in zip(periodic, ends, strict=True))

    def _fewer(self, bound: Bound) -> Bound:
        """Lower the bound of layout `neuralop`: n frequencies from 0 on need n points.

        The last axis, of which half is stored, keeps its bound.
        """
        if self.layout == "symmetric" or bound.axis == self.domain.dims - 1:
            return bound
        points = len(self._bands()[bound.axis])
        return dataclasses.replace(
            bound,
            points=points,
            keeps=f"0 <= k < {points}",
            note=f"layout `neuralop` takes {points} samples for {points} frequencies",
            cure=lambda there: f"modes = {there - 1}",
        )

    def diverges(self) -> str | None:
        """Return the reason if a fault is chosen: the values tend to zero."""
        if self.faults == "none":
            return None
        return "is divided by the number of points, a fault of neuraloperator"

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...]) -> Behaviour:
        """Return that a series is smooth where a periodic axis closes."""
        return ends.free(self.domain)

    def convergence_order(self, _inputs: tuple[Behaviour, ...]) -> Order:
        """Return that waves are evaluated exactly."""
        return EXACT

    def cost(self) -> Cost:
        """Count a complex number for each frequency and an inverse fast transform."""
        out = self.infer()
        params = 2 * self.out * math.prod(map(len, self._bands()))
        return Cost(decided(params), transform(out), out.numbers() * BYTES)

    def complex_weights(self) -> int:
        """Count all weights."""
        return self.cost().params // 2

    def lower(self) -> nn.Module:
        """See `opdsl.nn.spectral.series.Series`."""
        from opdsl.nn.spectral import series

        modes = each_axis(self.modes, self.infer())
        options = {"positive": True} if self.layout == "neuralop" else {}
        options |= {"divided": True} if self.faults != "none" else {}
        if placed := self.domain.declared_samplings:
            return series.Series(
                decided(self.out), modes, self.domain.periodic, **options, samplings=placed
            )
        return series.Series(decided(self.out), modes, self.domain.periodic, **options)


def _more(bound: Bound, points: int) -> Bound:
    """Raise a bound by a number of points, which may be negative."""
    if not points:
        return bound
    end = f", and {points} for the other end" if points > 0 else ""
    return dataclasses.replace(
        bound,
        points=bound.points + points,
        note=f"{bound.note}{end}",
        cure=lambda there: bound.cure(there - points),
    )
