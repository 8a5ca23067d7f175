"""`Geometry`: coordinates, weights, cells and edges of the points of one sample.

A batch has a tuple of geometries, one for each sample, or a single one that all samples share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from opdsl.diagnostics import fault
from opdsl.nn.points.digest import digest


@dataclass(frozen=True, eq=False)
class Geometry:
    """The points of one domain for one sample.

    Attributes:
        points: (n, d), in the program's unit of length.
        weights: (n,), quadrature weights: the length, area or volume of each point.
        cells: (m, k), point indices of the corners of each cell: segments, triangles, tetrahedra.
        edges: (e, 2), point indices, from and to.
        shares: (n,), weights in a mean over points without quadrature weights; None: all equal.

    Raises:
        OpError: OP0904, one of them is not a tensor; OP0907, one has another shape.
    """

    points: Tensor
    weights: Tensor | None = None
    cells: Tensor | None = None
    edges: Tensor | None = None
    shares: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("points", "weights", "cells", "edges"):
            _tensor(name, getattr(self, name))
        for name, x, shape in self._shapes():
            if x is not None and not _fits(x, shape):
                expected = ", ".join(str(n or "any") for n in shape)
                message = f"`{name}` of a geometry has the shape {tuple(x.shape)}"
                raise fault("OP0907", message, helps=(f"expected ({expected})",), file="geometry")

    def _shapes(self) -> tuple[tuple[str, Tensor | None, tuple[int, ...]], ...]:
        n = self.points.shape[0] if self.points.ndim else 0
        return (
            ("points", self.points, (0, 0)),
            ("weights", self.weights, (n,)),
            ("cells", self.cells, (0, 0)),
            ("edges", self.edges, (0, 2)),
            ("shares", self.shares, (n,)),
        )

    def __len__(self) -> int:
        return len(self.points)

    @cached_property
    def key(self) -> bytes:
        """A digest of the coordinates alone, for caches of searches."""
        return digest(self.points)

    @cached_property
    def measure_key(self) -> bytes:
        """A digest of coordinates, weights and cells, for caches of quadrature weights."""
        parts = (self.weights, self.cells)
        return b"".join((self.key, *(b"-" if x is None else digest(x) for x in parts)))

    def to(self, device: torch.device | str) -> Geometry:
        """Move to a device; digests that are known stay known."""
        if self.points.device == torch.device(device):
            return self
        names = ("points", "weights", "cells", "edges", "shares")
        fields = {k: getattr(self, k) for k in names}
        tensors = {k: x.to(device, non_blocking=True) for k, x in fields.items() if x is not None}
        result = replace(self, **tensors)
        vars(result).update({k: vars(self)[k] for k in ("key", "measure_key") if k in vars(self)})
        return result


Geometries = tuple[Geometry, ...]  # of each sample, or one for all


def stack_coordinates(placed: Geometries, like: Tensor) -> Tensor:
    """Stack coordinates to (samples or 1, n, d), in the dtype and on the device of `like`.

    All samples must have equally many points.
    """
    result = [x.points.to(dtype=like.dtype, device=like.device) for x in placed]
    return result[0][None] if len(result) == 1 else torch.stack(result)


def concat_coordinates(placed: Geometries, like: Tensor) -> Tensor:
    """Concatenate coordinates of all samples to (1, total, d), the layout of `Packed` values."""
    result = [x.points.to(dtype=like.dtype, device=like.device) for x in placed]
    return torch.cat(result)[None]


def point_counts(placed: Geometries) -> tuple[int, ...]:
    """Return the number of points of each sample."""
    return tuple(len(x) for x in placed)


def as_geometries(given: Tensor | Geometry | Sequence[Tensor | Geometry]) -> Geometries:
    """Convert what a user passes for the points of a domain.

    Args:
        given: (n, d) for all samples, (samples, n, d), a geometry, or a list with (n, d) or a
            geometry for each sample.
    """
    if isinstance(given, Geometry):
        return (given,)
    if isinstance(given, Tensor):
        return tuple(Geometry(x) for x in (given if given.ndim == 3 else given[None]))
    return tuple(x if isinstance(x, Geometry) else Geometry(x) for x in given)


def _tensor(name: str, x: object) -> None:
    if isinstance(x, Tensor) or (x is None and name != "points"):
        return
    message = f"`{name}` of a geometry is not a tensor but {type(x).__name__}"
    helps = (f"`torch.as_tensor({name})` makes one of numbers",)
    raise fault("OP0904", message, helps=helps, file="geometry")


def _fits(x: Tensor, wanted: tuple[int, ...]) -> bool:
    pairs = zip(x.shape, wanted, strict=False)
    return x.ndim == len(wanted) and all(n in (0, met) for met, n in pairs)
