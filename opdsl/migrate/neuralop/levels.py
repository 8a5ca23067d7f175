"""The grids between the layers of a model that changes its resolution.

One declaration stands for the finest grid, and each layer has a domain derived from it: `D`,
`D / 2`, `D / 4`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

from opdsl.migrate.neuralop.draft import not_importable
from opdsl.migrate.neuralop.writing import AXES, value

if TYPE_CHECKING:
    from opdsl.migrate.neuralop.layer import Layer

Ends = tuple[tuple[float, float], ...] | None


@dataclass(frozen=True, slots=True)
class Levels:
    """`coarser[i]` is the ratio of points on an axis of the finest grid and that before layer i."""

    coarser: tuple[int, ...]
    axes: int

    @property
    def any(self) -> bool:
        """Whether some layer changes the resolution."""
        return len(set(self.coarser)) > 1

    def changes(self, layer: int) -> bool:
        """Whether layer `layer` changes the resolution."""
        return self.coarser[layer] != self.coarser[layer + 1]

    def domain(self, level: int, name: str = "D") -> str:
        """Name of the grid before layer `level`: `D` or `D / 2`."""
        k = self.coarser[level]
        return name if k == 1 else f"{name} / {k}"

    def least(self, layers: Sequence[Layer]) -> str:
        """Number of points on each axis of the finest grid that the layers need, as a setting."""
        least = [1] * self.axes
        for i, layer in enumerate(layers):
            k = max(self.coarser[i], self.coarser[i + 1])
            grows = layer.wrong and self.coarser[i] > self.coarser[i + 1]
            for axis, n in enumerate(layer.modes):
                # the Nyquist frequency of an even number of points is another one on a finer grid
                extra = grows and axis == self.axes - 1 and n % 2 == 0
                stencil = layer.stencil if layer.fno_skip == "linear" else 1
                local = layer.local.least if layer.local else 1
                least[axis] = max(least[axis], k * max(n + extra, stencil, local))
        return value(least[0]) if len(set(least)) == 1 else value(least)

    def declaration(
        self, layers: Sequence[Layer], ends: Ends, padding: tuple[float, ...]
    ) -> list[str]:
        """Write the lines that declare the domains."""
        multiple = lcm(*self.coarser)
        step = f", multiple_of = {multiple}" if multiple > 1 else ""
        if layers[0].spherical:
            from opdsl.migrate.neuralop.sphere import declaration

            return [declaration(layers)]
        pairs = ends or ((0.0, 1.0),) * self.axes
        axes = ", ".join(
            f"{name}: {_number(lo)}..{_number(hi)}"
            for name, (lo, hi) in zip(AXES, pairs, strict=False)
        )
        minimum = self.least(layers)
        lines = [f"domain D = grid({axes}, boundary = periodic, min = {minimum}{step})"]
        if any(padding):
            lines.append(extension(padding))
        return lines


def extension(padding: Sequence[float]) -> str:
    """Declare E: D extended on both sides by these fractions, rounded as neuraloperator does."""
    parts = tuple(2 * x for x in padding)
    longer = value(parts[0] if len(set(parts)) == 1 else parts)
    return f"domain E = extend(D, fraction = {longer}, sides = both, rounding = nearest)"


def levels_of(name: str, scalings: Sequence[Sequence[float]], *, axes: int) -> Levels:
    """Compute the levels from the scaling factors of each layer and axis.

    Raises:
        OpError: OP0641, axes change differently, or a grid is no whole part of the finest.
    """
    sizes = [Fraction(1)]
    for layer in scalings:
        if len(set(layer)) != 1:
            raise not_importable(name, f"the scaling {value(tuple(layer))}, another for each axis")
        sizes.append(sizes[-1] * Fraction(layer[0]).limit_denominator(64))
    finest = max(sizes)
    coarser = [finest / x for x in sizes]
    if any(x.denominator != 1 for x in coarser):
        raise not_importable(
            name, f"scalings whose grids do not divide each other: {list(map(str, sizes))}"
        )
    return Levels(tuple(int(x) for x in coarser), axes)


def _number(x: float) -> str:
    return str(int(x)) if x == int(x) else repr(x)
