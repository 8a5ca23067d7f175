"""Steps that lead from a declared domain to another one: coarsening and extension."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from opdsl.sampling import GridSampling, spacings

Sides = Literal["end", "both"]
Filling = Literal["zero", "legendre", "gram"]
Rounding = Literal["up", "nearest"]
FROZEN = ConfigDict(frozen=True, extra="forbid")


class Coarsen(BaseModel):
    """`D / factor`: n // factor points on each axis."""

    model_config = FROZEN

    op: Literal["coarsen"] = "coarsen"
    factor: int


class Extend(BaseModel):
    """`extend(D, fraction)`: longer by numerator / denominator of its length, and periodic.

    There is one numerator for all axes, or one for each.

    The extension has (1 + fraction) times as many spacings as the axis, rounded up, and closes on
    itself, so as many points (n points are n spacings of a periodic axis, and n - 1 of an axis with
    points at both ends). With
    `rounding = nearest` the number of spacings added at each end is rounded to the nearest whole
    number instead. Where nothing is rounded, the period has the same length at every resolution,
    which Fourier layers on it need in order to converge.

    `name` is the name of the declaration, so that two extensions are different domains; `kind` is
    the rule for the values of a function on the added points.
    """

    model_config = FROZEN

    op: Literal["extend"] = "extend"
    name: str
    numerator: int | tuple[int, ...]
    denominator: int
    sides: Sides = "end"
    kind: Filling = "zero"
    rounding: Rounding = "up"

    def points(self, n: int, sampling: GridSampling, axis: int) -> int:
        """Return the number of points after extending an axis of n points."""
        count, part = spacings(sampling, n), self.numerator_on(axis)
        if self.rounding == "nearest":
            return max(n, count + self.ends * round(self.share(axis) * count))
        return max(n, count - (-count * part // self.denominator))

    def numerator_on(self, axis: int) -> int:
        """Return the numerator that applies to an axis."""
        return self.numerator if isinstance(self.numerator, int) else self.numerator[axis]

    @property
    def ends(self) -> int:
        """The number of ends of an axis at which points are added."""
        return 2 if self.sides == "both" else 1

    def share(self, axis: int) -> float:
        """Return the fraction of an axis' length that is added at each of these ends."""
        return self.numerator_on(axis) / (self.ends * self.denominator)


Step = Annotated[Coarsen | Extend, Field(discriminator="op")]
