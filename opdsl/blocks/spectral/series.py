"""The block `series`: a trained Fourier series on a domain."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt

from opdsl.bases import Bases, points_needed
from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Bound, Cost, Refusal
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.interpolants import is_plain, terms_of
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

    With a `basis` the series follows the boundary. `auto` has waves on periodic axes, cosines
    between Neumann ends, and elsewhere two sums: of functions that vanish at the ends (or are even,
    at a Neumann end) and of cosines. `sine`, `cosine`, `quarter_sine` and `quarter_cosine` have one
    sum of these. `modes` is then the number of half waves on an axis with two ends; the
    coefficients are real, and the mean of the variance over the domain is one.

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
        basis: fourier, auto, sine, cosine, quarter_sine, quarter_cosine or sine_cosine; one word
            for all axes or one for each.

    Source: Rahman et al. 2024, arXiv:2403.12553, sec. 4 (positional encoding of a variable).
    """

    positional = ("domain",)
    sized = True
    samples = (
        {"inputs": (), "domain": "D", "out": 3, "modes": 2},
        {"inputs": (), "domain": "D/2", "out": 1, "modes": 0},
        {"inputs": (), "domain": "D", "out": 2, "modes": 2, "layout": "neuralop"},
        {"inputs": (), "domain": "D", "out": 2, "modes": 2, "faults": "neuralop_93d3f06"},
        {"inputs": (), "domain": "D", "out": 2, "modes": 2, "basis": "auto"},
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
    basis: Bases = Field(default="fourier", description="the functions that are summed")

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
        modes = each_axis(self.modes, space)
        if not is_plain(self.basis):
            self._check_basis(modes)
        return space

    def _check_basis(self, modes: tuple[int, ...]) -> None:
        if self.layout != "symmetric" or self.faults != "none":
            raise Refusal(
                "OP0208",
                "layouts and faults of neuraloperator are those of Fourier series",
                "this basis is another one",
                at="basis",
                helps=("leave `basis` out",),
            )
        for term in terms_of(self.basis, self.domain):
            for m, family in zip(modes, term, strict=True):
                if m == 0 and family != "fourier":
                    raise Refusal(
                        "OP0208",
                        "a series of half waves needs at least one",
                        "there are none",
                        at="modes",
                        helps=("write `modes = 1`",),
                    )

    def _bands(self) -> Bands:
        modes = each_axis(self.modes, self.infer())
        if self.layout == "neuralop":
            return tuple(range(m + 1) for m in modes)
        return frequencies(modes)

    def bounds(self) -> tuple[Bound, ...]:
        """Require points that resolve the frequencies; an axis with two ends needs one more."""
        if not is_plain(self.basis):
            return self._half_wave_bounds()
        periodic = bounds(self.infer().domain, self._bands(), self.modes)
        ends = (points_of(sampling, 0) for sampling in self.domain.samplings)
        return tuple(_more(self._fewer(y), n) for y, n in zip(periodic, ends, strict=True))

    def _half_wave_bounds(self) -> tuple[Bound, ...]:
        """Require points that determine the functions of each axis."""
        modes, samplings = each_axis(self.modes, self.infer()), self.domain.samplings
        result = []
        for axis, families in enumerate(zip(*terms_of(self.basis, self.domain), strict=True)):
            m = modes[axis]
            needed = {x: points_needed(x, samplings[axis], m) for x in families}
            family = max(needed, key=needed.__getitem__)
            points, step = needed[family], 2 if family == "fourier" else 1
            result.append(
                Bound(
                    self.domain,
                    axis,
                    points,
                    keeps=f"{m} modes of the basis `{family}`",
                    note=f"{points} points with sampling `{samplings[axis]}` determine so many",
                    cure=_fewer_modes(modes, axis, points, step),
                )
            )
        return tuple(result)

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
        """Return that waves are smooth where a periodic axis closes, and the parity of others."""
        if is_plain(self.basis):
            return ends.free(self.domain)
        return ends.waves(self.domain, *terms_of(self.basis, self.domain))

    def convergence_order(self, _inputs: tuple[Behaviour, ...]) -> Order:
        """Return that waves are evaluated exactly."""
        return EXACT

    def cost(self) -> Cost:
        """Count a complex number for each frequency and an inverse fast transform."""
        out = self.infer()
        params = self.out * self._coefficients()
        return Cost(decided(params), transform(out), out.numbers() * BYTES)

    def complex_weights(self) -> int:
        """Count all weights of a Fourier series; half waves have real ones."""
        return self.cost().params // 2 if is_plain(self.basis) else 0

    def _coefficients(self) -> int:
        """Count the real coefficients of one channel."""
        if is_plain(self.basis):
            return 2 * math.prod(map(len, self._bands()))
        modes, terms = each_axis(self.modes, self.infer()), terms_of(self.basis, self.domain)
        pairs = zip(terms[0], modes, strict=True)
        return len(terms) * math.prod(2 * m + 1 if x == "fourier" else m for x, m in pairs)

    def lower(self) -> nn.Module:
        """See `opdsl.nn.spectral.series.Series`."""
        from opdsl.nn.spectral import series

        modes = each_axis(self.modes, self.infer())
        if not is_plain(self.basis):
            from opdsl.nn.spectral.half_waves import series as half_wave_series

            families = tuple(" ".join(x) for x in terms_of(self.basis, self.domain))
            return half_wave_series.HalfWaveSeries(
                decided(self.out), modes, families, self.domain.samplings
            )
        options: dict[str, Any] = {"positive": True} if self.layout == "neuralop" else {}
        options |= {"divided": True} if self.faults != "none" else {}
        if placed := self.domain.declared_samplings:
            make = partial(series.Series, samplings=placed)
            return make(decided(self.out), modes, self.domain.periodic, **options)
        return series.Series(decided(self.out), modes, self.domain.periodic, **options)


def _fewer_modes(modes: tuple[int, ...], axis: int, points: int, step: int) -> Callable[[int], str]:
    """Return how to write fewer modes for an axis with fewer points than `points`."""

    def cure(there: int) -> str:
        fits = max(modes[axis] - -(-(points - there) // step), 0)
        if len(set(modes)) == 1:
            return f"modes = {fits}"
        entries = (str(fits if i == axis else m) for i, m in enumerate(modes))
        return f"modes = ({', '.join(entries)})"

    return cure


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
