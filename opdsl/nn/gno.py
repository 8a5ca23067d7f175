"""A kernel integral between the points of two domains.

What comes in: a function on points or a grid, channels-last, and coordinates of points that no grid
gives. What goes out: a function on the other domain. Sums run over edges, pairs of a query and a
neighbour; no loop in Python runs over points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opdsl.nn.grid import Size
from opdsl.nn.neighbours import Pairs, within
from opdsl.nn.pointwise import Linear
from opdsl.nn.vector import mlp

KEPT = 8  # grids whose coordinates are remembered

Asked = tuple[Tensor, ...]


class Gno(nn.Module):
    """w(x) = mean (or sum) over neighbours y of k(x, y) v(y), k a network of x, y and maybe v(y).

    The first layer of k is split, W [x; y; v] = Wx x + Wy y + Wv v, and applied to points before
    they are paired.

    Attributes:
        first: the first layer of k.
        rest: the layers behind it.
    """

    def __init__(
        self,
        here: nn.Module | None,
        there: nn.Module | None,
        widths: Size,
        radius: float,
        *,
        act: str,
        sees: bool,
        mean: bool,
        nearest: bool,
    ) -> None:
        super().__init__()
        self.here, self.there = here, there
        self.radius, self.sees, self.mean, self.nearest = radius, sees, mean, nearest
        whole = mlp(widths, act)
        first = whole[0]
        assert isinstance(first, Linear)
        self.first, self.rest = first, whole[1:]
        self.grids: dict[tuple[object, ...], Tensor] = {}
        self.known: tuple[tuple[object, ...], tuple[Tensor, Tensor], Pairs] | None = None

    def forward(self, x: Tensor, size: Size, asked: Asked = ()) -> Tensor:
        """(batch, *grid, c) -> (batch, *size, c).

        Args:
            x: the function.
            size: the grid of the result.
            asked: coordinates (batch or 1, n, d) of points, first those of x.
        """
        given = list(asked)
        points = self._at(self.here, tuple(x.shape[1:-1]), x, given)
        queries = self._at(self.there, size, x, given)
        batch = max(x.shape[0], points.shape[0], queries.shape[0])
        values = x.reshape(x.shape[0], -1, x.shape[-1]).expand(batch, -1, -1)
        if points.shape[0] == queries.shape[0] == 1:
            w = self._integral(points[0], queries[0], values, self._pairs(points[0], queries[0]))
        else:
            w = torch.cat(
                [
                    self._integral(p, q, v[None], self._near(p, q))
                    for p, q, v in zip(
                        points.expand(batch, -1, -1),
                        queries.expand(batch, -1, -1),
                        values,
                        strict=True,
                    )
                ]
            )
        return w.reshape(batch, *size, -1)

    def _at(self, place: nn.Module | None, size: Size, like: Tensor, given: list[Tensor]) -> Tensor:
        """The coordinates, (batch or 1, points, d)."""
        if place is None:
            return given.pop(0).to(dtype=like.dtype, device=like.device)
        key = (place, size, like.dtype, like.device)
        if key not in self.grids:
            if len(self.grids) >= KEPT:
                self.grids.clear()
            found: Tensor = place(size=size, like=like)
            self.grids[key] = found.reshape(1, -1, found.shape[-1])
        return self.grids[key]

    def _pairs(self, points: Tensor, queries: Tensor) -> Pairs:
        """The neighbours, searched once for the same coordinates."""
        both = (points, queries)
        key = tuple((x.data_ptr(), x.shape, x._version) for x in both)  # noqa: SLF001  how often it was written to
        if self.known is None or self.known[0] != key:
            # the tensors are kept, so that their memory is not taken by others
            self.known = key, both, self._near(points, queries)
        return self.known[2]

    def _near(self, points: Tensor, queries: Tensor) -> Pairs:
        return within(points, queries, self.radius, nearest=self.nearest)

    def _integral(self, points: Tensor, queries: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
        """(n, d), (m, d), (batch, n, c) -> (batch, m, c)."""
        kernel: Tensor = self.rest(self._first(points, queries, values, pairs))
        terms = kernel * values[:, pairs.points]
        batch, _, c = terms.shape
        total: Tensor = terms.new_zeros(batch, len(queries), c).index_add(1, pairs.queries, terms)
        return total / pairs.counts[:, None] if self.mean else total

    def _first(self, points: Tensor, queries: Tensor, values: Tensor, pairs: Pairs) -> Tensor:
        """The first layer at every edge: (batch or 1, edges, width)."""
        d = points.shape[-1]
        weight = self.first.weight
        at_queries = queries @ weight[:, :d].T + self.first.bias
        at_points = (points @ weight[:, d : 2 * d].T)[None]
        if self.sees:
            at_points = at_points + values @ weight[:, 2 * d :].T
        return at_queries[pairs.queries] + at_points[:, pairs.points]

    def extra_repr(self) -> str:
        """The radius."""
        return f"radius={self.radius}, {'mean' if self.mean else 'sum'}"
