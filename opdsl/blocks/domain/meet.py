"""The block `meet`: a function that satisfies the conditions at the ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from pydantic import Field, PositiveInt

from opdsl.bases import EndConditions, carried, family_of
from opdsl.bases import points_needed as points_of_modes
from opdsl.ir import ends, orders
from opdsl.ir.axes import Axis
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal
from opdsl.ir.combine_rules import same_channels, same_domain
from opdsl.ir.ends import AxisBehaviour, Behaviour, End
from opdsl.ir.modes import each_axis
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.sharding.rules import CHANNELS, Rule
from opdsl.ir.spaces import KINDS, Domain, Space
from opdsl.sampling import points_at_ends

if TYPE_CHECKING:
    from torch import nn


# `boundary` is what the axis declares; a pair is a condition for each end
MeetCondition = Literal[
    "boundary",
    "dirichlet",
    "neumann",
    "none",
    "periodic",
    "dirichlet..neumann",
    "dirichlet..none",
    "neumann..dirichlet",
    "neumann..none",
    "none..dirichlet",
    "none..neumann",
]
SLOPE_POINTS = 3


class Meet(Block):
    """w = v, changed near the ends so that it satisfies the conditions there exactly.

    v : D -> R^n gives w : D -> R^n on a grid D. At a Dirichlet end w vanishes, at a Neumann end its
    slope does. With a second input g : D -> R^n, w = g + meet(v - g) has the values of g at the
    Dirichlet ends and its slopes at the Neumann ends.

    | by      | how                                                                         |
    |---------|-----------------------------------------------------------------------------|
    | factor  | v times the longest wave that vanishes at the Dirichlet ends                |
    | lifting | v minus the line between its values at Dirichlet ends, minus parabolas with |
    |         | its slopes at Neumann ends                                                  |
    | basis   | the first `modes` sines, cosines or quarter-waves of v                      |

    By default Dirichlet ends have a factor, and Neumann ends are lifted. The slope of `lifting` is
    that of the parabola through the three points next to the end: it is zero at every resolution,
    and that of the limit is zero. A result of `basis` is a sum of functions that satisfy the
    conditions. `lifting` needs points at Dirichlet ends. It converges under refinement.

    ```op
    edition 2026

    model Held {
      domain D = grid(x: 0..1, y: 0..1, boundary = dirichlet, min = 16)
      input v : D -> R^3
      output w : D -> R^1, ends = dirichlet

      w = v |> linear(out = 1) |> meet(boundary)
    }
    ```

    Attributes:
        conditions: boundary (what the domain declares), dirichlet, neumann, none, or a pair for the
            lower and the upper end, `dirichlet..neumann`; a tuple has one entry for each axis.
        by: how the conditions are met, see the table; auto: a factor at Dirichlet ends, lifting at
            Neumann ends.
        modes: for `basis`, number of functions on each axis.

    Source: Lagaris et al. 1998, doi:10.1109/72.712178 (factors); Gordon and Hall 1973,
        doi:10.1007/BF01436298 (lifting by transfinite interpolation).
    """

    positional = ("conditions",)
    kinds = frozenset({"grid"})
    samples = (
        {"inputs": ("I -> R^3",), "conditions": "dirichlet"},
        {"inputs": ("I -> R^2", "I -> R^2"), "conditions": "dirichlet..neumann"},
        {"inputs": ("I -> R^2",), "conditions": "neumann", "by": "basis", "modes": 3},
        {"inputs": ("I -> R^2",), "conditions": "dirichlet", "by": "lifting"},
    )

    conditions: MeetCondition | tuple[MeetCondition, ...] = Field(
        default="boundary", description="the conditions at the ends"
    )
    by: Literal["auto", "factor", "lifting", "basis"] = Field(
        default="auto", description="how they are met"
    )
    modes: PositiveInt | tuple[PositiveInt, ...] | None = Field(
        default=None, description="functions on each axis, for `by = basis`"
    )

    def infer(self, v: Space, g: Space | None = None) -> Space:
        """Return the space of v.

        Raises:
            Refusal: OP0303 or OP0304, g has another space; OP0321, there are no conditions; OP0322,
                an end has no point; OP0208, `by` cannot meet the conditions.
        """
        if g is not None:
            same_domain("compare", (v, g))
            same_channels("compare", (v, g))
        if not v.domain.regular:
            raise Refusal(
                "OP0321",
                f"a function on {KINDS[v.domain.kind]} has no ends",
                f"this is `{v}`",
                at=0,
            )
        found = self._conditions(v.domain)
        if not any(found):
            raise Refusal(
                "OP0321",
                "there is no condition to meet",
                f"no end of `{v.domain}` has one",
                at="conditions",
                helps=(
                    f"declare it: `domain {v.domain.name} = grid(..., boundary = dirichlet)`",
                    "or name it: `meet(dirichlet)`",
                ),
            )
        for axis, conditions in zip(v.domain.axes, found, strict=True):
            if conditions:
                self._check_axis(axis, conditions)
        if self.by == "basis":
            self._counts(v)
        return v

    def _conditions(self, domain: Domain) -> tuple[EndConditions | None, ...]:
        """Return the conditions at the ends of each axis, None where there are none."""
        words = self.conditions
        each = words if isinstance(words, tuple) else (words,) * domain.dims
        if len(each) != domain.dims:
            raise Refusal(
                "OP0208",
                f"`conditions` has {len(each)} entries for {domain.dims} axes",
                "one for each axis, or one for all",
                at="conditions",
            )
        pairs = zip(each, domain.axes, domain.periodic, strict=True)
        return tuple(self._pair(word, axis, closed=closed) for word, axis, closed in pairs)

    def _pair(self, word: MeetCondition, axis: Axis, *, closed: bool) -> EndConditions | None:
        if closed:
            if word in {"boundary", "none", "periodic"} or not isinstance(self.conditions, tuple):
                return None
            raise Refusal(
                "OP0321",
                f"the axis `{axis.name}` is periodic and has no ends",
                f"`{word}` is meant for `{axis.name}`",
                at="conditions",
                helps=(f"write `periodic` for `{axis.name}`",),
            )
        if word == "periodic":
            raise Refusal(
                "OP0321",
                f"the axis `{axis.name}` is not periodic",
                "it has two ends",
                at="conditions",
            )
        if word == "boundary":
            pair = axis.ends or ("none", "none")
        else:
            lower, _, upper = word.partition("..")
            pair = cast("EndConditions", (lower, upper or lower))
        return None if pair == ("none", "none") else pair

    def _check_axis(self, axis: Axis, conditions: EndConditions) -> None:
        if self.by == "factor" and "neumann" in conditions:
            raise Refusal(
                "OP0208",
                "a factor cannot satisfy a condition on the slope",
                f"`{axis.name}` has a Neumann end",
                at="by",
                helps=("leave `by` out, or write `by = basis`",),
            )
        if self.by == "basis" and "none" in conditions:
            raise Refusal(
                "OP0208",
                "a basis needs a condition at both ends of an axis",
                f"`{axis.name}` has one at one end only",
                at="by",
                helps=("leave `by` out",),
            )
        if self.by == "basis" and not carried(family_of(conditions), axis.points):
            raise Refusal(
                "OP0322",
                f"the points of `{axis.name}` do not carry `{family_of(conditions)}`",
                f"its sampling is `{axis.points}`",
                at="by",
                helps=("declare `sampling = both` or `sampling = centres`",),
            )
        pairs = zip(conditions, points_at_ends(axis.points), strict=True)
        bare = any(x == "dirichlet" and not point for x, point in pairs)
        if self.by == "lifting" and bare:
            raise Refusal(
                "OP0322",
                f"the value at an end of `{axis.name}` cannot be lifted without a point there",
                f"its sampling is `{axis.points}`",
                at="by",
                helps=("leave `by` out: a factor needs no point",),
            )

    def _counts(self, v: Space) -> tuple[int, ...]:
        if self.modes is None:
            raise Refusal(
                "OP0205",
                "`by = basis` needs `modes`",
                "`modes` is not given",
                helps=("add the number of functions: `modes = 16`",),
            )
        return each_axis(self.modes, v)

    def bounds(self, v: Space, _g: Space | None = None) -> tuple[Bound, ...]:
        """Require points for the modes, or three for a slope."""
        found = self._conditions(v.domain)
        return tuple(
            self._bound(v, i, conditions) for i, conditions in enumerate(found) if conditions
        )

    def _bound(self, v: Space, axis: int, conditions: EndConditions) -> Bound:
        if self.by == "basis":
            family, sampling = family_of(conditions), v.domain.axes[axis].points
            m = self._counts(v)[axis]
            points = points_of_modes(family, sampling, m)
            note = f"`{family}` on points `{sampling}`: {points} for {m} functions"
            spare = points - m
            return Bound(
                v.domain, axis, points, f"{m} modes", note, lambda n: f"modes = {n - spare}"
            )
        points = SLOPE_POINTS if "neumann" in conditions else 2
        note = "a slope needs 3 points" if "neumann" in conditions else "an axis with 2 ends"
        return Bound(v.domain, axis, points, "the ends", note, str, what="points at the ends")

    def behaviour_at_ends(
        self, inputs: tuple[Behaviour, ...], v: Space, _g: Space | None = None
    ) -> Behaviour:
        """Return the conditions, and what the change leaves of other facts."""
        change = ends.join(*inputs)
        rows = zip(change.axes, self._conditions(v.domain), strict=True)
        axes = tuple(self._after(at, x) if x else at for at, x in rows)
        met = Behaviour(axes, change.smoothness)
        return ends.join(met, inputs[1]) if len(inputs) > 1 else met

    def _after(self, at: AxisBehaviour, conditions: EndConditions) -> AxisBehaviour:
        if self.by == "basis":
            known = {"dirichlet": End.ODD, "neumann": End.EVEN}
        elif self.by == "lifting" or "neumann" in conditions:
            known = {"dirichlet": End.VANISHES, "neumann": End.FLAT, "none": End.NOTHING}
        else:
            wave = {"dirichlet": End.ODD, "none": End.EVEN}
            factor = AxisBehaviour(wave[conditions[0]], wave[conditions[1]], at.seam)
            return ends.product(Behaviour((at,)), Behaviour((factor,))).axes[0]
        return AxisBehaviour(known[conditions[0]], known[conditions[1]], at.seam)

    def convergence_order(
        self, inputs: tuple[Behaviour, ...], v: Space, _g: Space | None = None
    ) -> Order:
        """Return 2 for slopes from three points, and the order of the coefficients of a basis."""
        found = [EXACT]
        change = ends.join(*inputs)
        for axis, at, x in zip(v.domain.axes, change.axes, self._conditions(v.domain), strict=True):
            if x and self.by == "basis":
                found.append(orders.half_waves(axis, at, family_of(x)))
            elif x and "neumann" in x:
                found.append(Order(2, f"slopes from three points at the ends of {axis.name}"))
        return min(found, key=lambda y: y.value)

    def sharding(self, _axis: int, _sizes: GridSizes, _v: Space, _g: Space | None = None) -> Rule:
        """Return that it acts on each channel alone."""
        return CHANNELS

    def cost(self, v: Space, _g: Space | None = None) -> Cost:
        """Count a product and a sum for each number and axis, or those of the modes."""
        modes = sum(4 * m for m in self._counts(v)) if self.by == "basis" else 2 * v.domain.dims
        return Cost(0, v.numbers() * modes, v.numbers() * BYTES)

    def lower(self, v: Space, _g: Space | None = None) -> nn.Module:
        """See `opdsl.nn.grid.meet.Meet`."""
        from opdsl.nn.grid import meet

        sampling = tuple(a.points for a in v.domain.axes)
        counts = self._counts(v) if self.by == "basis" else ()
        by = "factor" if self.by == "auto" else self.by
        return meet.Meet(self._conditions(v.domain), sampling, by, counts)
