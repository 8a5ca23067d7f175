"""Where the points of each axis of a grid are, for statistics that vary along it.

Statistics of each point are interpolated linearly between grids, and means over a sample are
integrals by the quadrature rule of its grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import PLACES, SAMPLINGS, end_weights

LATITUDES = ("gauss_legendre", "lobatto", "equiangular", "centres")
LATITUDE_CODE = len(SAMPLINGS)  # codes from here on are those of latitudes


@dataclass(frozen=True, slots=True)
class AxisRule:
    """Where the points of an axis are.

    Attributes:
        sampling: a word of `opdsl.sampling`, or the rule of latitudes.
        periodic: whether the last point neighbours the first.
        latitudes: whether the points are latitudes of a sphere.
    """

    sampling: str
    periodic: bool = False
    latitudes: bool = False

    @property
    def code(self) -> tuple[int, int]:
        """The rule as two integers, for checkpoints."""
        words: Sequence[str] = LATITUDES if self.latitudes else SAMPLINGS
        first = LATITUDE_CODE if self.latitudes else 0
        return first + words.index(self.sampling), int(self.periodic)

    @classmethod
    def of_code(cls, code: int, periodic: int) -> AxisRule:
        """Rebuild a rule from its code.

        Raises:
            ValueError: there is no such code.
        """
        words = (*SAMPLINGS, *LATITUDES)
        if not 0 <= code < len(words) or periodic not in (0, 1):
            raise ValueError(f"{code}, {periodic} are no rule of an axis")
        return cls(words[code], bool(periodic), latitudes=code >= LATITUDE_CODE)

    def weights(self, n: int, like: Tensor) -> Tensor | None:
        """Return quadrature weights of n points, (n,), up to a factor; None if all are equal.

        Without a branch on n, which would bind an exported program to one resolution; those of
        latitudes are tables.
        """
        if self.latitudes:
            return latitudes(n, self.sampling)[1].to(like.device, like.dtype)
        first, last = end_weights(self.sampling, periodic=self.periodic)  # type: ignore[arg-type]  # not of latitudes
        if first == last == 1:
            return None
        j = torch.arange(n, device=like.device)
        inner = torch.where(j == n - 1, last, 1.0)
        return torch.where(j == 0, first, inner).to(like.dtype)

    def interpolated(self, values: Tensor, axis: int, size: int) -> Tensor:
        """Interpolate linearly from the points of one grid to those of another.

        Beyond the outermost points of an axis that is not periodic the outermost value continues.
        On the grid of the values they are exact.

        Args:
            values: on n points of `axis`.
            axis: counted from the first.
            size: points that are wanted.
        """
        n = values.shape[axis]
        place = self._latitude_places(n, size) if self.latitudes else self._places(n, size)
        place = place.to(values.device)
        if not self.periodic:
            place = place.clamp(0, n - 1)
        below = place.floor() if self.periodic else place.floor().clamp(0, max(n - 2, 0))
        shape = [1] * values.dim()
        shape[axis] = -1
        part = (place - below).to(values.dtype).reshape(shape)
        lower = below.long() % n
        upper = (below.long() + 1) % n
        return (
            values.index_select(axis, lower) * (1 - part) + values.index_select(axis, upper) * part
        )

    def _places(self, n: int, size: int) -> Tensor:
        """Return where `size` equispaced points lie among n, as fractional indices, float64."""
        first, extra = PLACES[self.sampling]
        have, want = max(n + extra, 1), size + extra
        if self.sampling == "both" and isinstance(size, int):
            want = max(want, 1)
        j = torch.arange(size, dtype=torch.float64) + first
        # a product before the quotient: exact indices where both grids are equal
        return j * have / want - first

    def _latitude_places(self, n: int, size: int) -> Tensor:
        """Return where `size` latitudes lie among n, linearly in the angle."""
        mine = latitudes(n, self.sampling)[0].clamp(-1, 1).acos()
        other = latitudes(size, self.sampling)[0].clamp(-1, 1).acos()
        below = torch.searchsorted(mine, other, right=True).sub(1).clamp(0, max(n - 2, 0))
        above = (below + 1).clamp(max=n - 1)
        gap = mine[above] - mine[below]
        part = (other - mine[below]) / torch.where(gap > 0, gap, 1.0)
        return below + part.clamp(0, 1)


def grid_quadrature(rules: Sequence[AxisRule], size: Sequence[int], like: Tensor) -> Tensor | None:
    """Return quadrature weights of a grid, (1, 1, *size), up to a factor; None if all are equal.

    Args:
        rules: of each axis; points without rules count alike.
        size: points on each axis.
        like: dtype and device of the weights.
    """
    result: Tensor | None = None
    for axis, (rule, n) in enumerate(zip(rules, size, strict=False)):
        row = rule.weights(n, like)
        if row is not None:
            shape = [1] * (len(size) + 2)
            shape[axis + 2] = -1
            row = row.reshape(shape)
            result = row if result is None else result * row
    return result
