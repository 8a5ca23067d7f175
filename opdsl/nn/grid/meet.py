"""Functions that satisfy conditions at the ends of their axes exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from opdsl.bases import EndConditions, family_of
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis
from opdsl.nn.spectral.transforms import apply_along_axis
from opdsl.sampling import GridSampling, offset, spacings

AxisRule = Callable[[Tensor, int], Tensor]  # a function and the axis, counted in the tensor


class Meet(nn.Module):
    """w = v, changed so that it satisfies the conditions at the ends; with g, w = g + meet(v - g).

    Args:
        conditions: of each axis; None leaves the axis as it is.
        sampling: where the points of each axis are.
        by: `factor` or `lifting` for values at the ends, or `basis`; slopes are always lifted.
        modes: number of functions on each axis, for `basis`.
    """

    def __init__(
        self,
        conditions: Sequence[EndConditions | None],
        sampling: Sequence[GridSampling],
        by: str,
        modes: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.rules: list[tuple[int, AxisRule]] = []
        for i, (ends, places) in enumerate(zip(conditions, sampling, strict=True)):
            if ends is not None:
                rule = _Projection(ends, places, modes[i]) if by == "basis" else None
                self.rules.append((i + 1, rule or _Correction(ends, places, by)))

    def forward(self, x: Tensor, values: Tensor | None = None) -> Tensor:
        """Map (batch, *grid, c) to the same shape.

        Args:
            x: v.
            values: g, (batch or 1, *grid, c), whose values or slopes the result has at the ends.
        """
        with no_autocast(x):
            v = x.to(wide(x))
            if values is None:
                return self._met(v).to(x.dtype)
            g = values.to(v.dtype)
            return (g + self._met(v - g)).to(x.dtype)

    def _met(self, v: Tensor) -> Tensor:
        for axis, rule in self.rules:
            v = rule(v, axis)
        return v


class _Projection:
    """The part of a function in the first functions of a basis, along one axis."""

    def __init__(self, ends: EndConditions, sampling: GridSampling, modes: int) -> None:
        self.family = family_of(ends)
        self.sampling, self.modes = sampling, modes

    def __call__(self, v: Tensor, axis: int) -> Tensor:
        n = v.shape[axis]
        like = torch.empty(0, dtype=v.dtype, device=v.device)
        down = analysis(self.family, self.sampling, n, self.modes, like)
        up = synthesis(self.family, self.sampling, n, self.modes, like)
        return apply_along_axis(v, axis, up @ down)


class _Correction:
    """Multiplication by a wave that vanishes at Dirichlet ends, or subtraction of a polynomial.

    A slope is that of the parabola through the three points next to the end; after the subtraction
    it is zero.
    """

    def __init__(self, ends: EndConditions, sampling: GridSampling, by: str) -> None:
        self.ends, self.sampling, self.by = ends, sampling, by

    def __call__(self, v: Tensor, axis: int) -> Tensor:
        shape = [-1 if i == axis else 1 for i in range(v.ndim)]
        below, above = (x.to(v.dtype).reshape(shape) for x in self._distances(v, axis))
        if "dirichlet" in self.ends and self.by == "factor":
            v = v * self._factor(below, above)
        elif "dirichlet" in self.ends:
            v = self._lifted(v, axis, below, above)
        lower, upper = self.ends
        if lower == "neumann":
            # slope 1 at the lower end and 0 at the upper one, and a value of 0 at a Dirichlet end
            q = -above.square() / 2 if upper == "dirichlet" else below - below.square() / 2
            v = v - q * self._slope(v, axis, upper=False)
        if upper == "neumann":
            v = v - below.square() / 2 * self._slope(v, axis, upper=True)
        return v

    def _distances(self, v: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Return the distances from the lower and the upper end as fractions, exact at both."""
        n, first = v.shape[axis], offset(self.sampling)
        index = torch.arange(n, dtype=torch.float64, device=v.device)
        count = spacings(self.sampling, n)
        return (index + first) / count, (count - first - index) / count

    def _factor(self, below: Tensor, above: Tensor) -> Tensor:
        """Return a wave that is odd at Dirichlet ends and even at the other one."""
        lower, upper = (x == "dirichlet" for x in self.ends)
        if lower and upper:
            return torch.sin(torch.pi * torch.minimum(below, above))
        return torch.sin(torch.pi / 2 * (below if lower else above))

    def _lifted(self, v: Tensor, axis: int, below: Tensor, above: Tensor) -> Tensor:
        """Subtract the line between the values at both ends, or the constant value at one."""
        lower, upper = (x == "dirichlet" for x in self.ends)
        first, last = v.narrow(axis, 0, 1), v.narrow(axis, v.shape[axis] - 1, 1)
        if lower and upper:
            return v - above * first - below * last
        return v - (first if lower else last)

    def _slope(self, v: Tensor, axis: int, *, upper: bool) -> Tensor:
        """Return the slope at an end, per length of the axis."""
        n, first = v.shape[axis], offset(self.sampling)
        count = spacings(self.sampling, n)
        near = count - first - (n - 1) if upper else first  # spacings from the end to a point
        points = [near, near + 1, near + 2]
        total = torch.zeros_like(v.narrow(axis, 0, 1))
        for i, s in enumerate(points):
            a, b = (x for j, x in enumerate(points) if j != i)
            weight = -(a + b) / ((s - a) * (s - b))
            total = total + weight * v.narrow(axis, n - 1 - i if upper else i, 1)
        return total * (-count if upper else count)
