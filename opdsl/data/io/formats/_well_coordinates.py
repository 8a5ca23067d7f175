"""Coordinates and boundary conditions in files of The Well.

Source: Ohana et al. 2024, arXiv:2412.00568; the layout is described in the documentation of
PolymathicAI/the_well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.bind.coordinates import AxisCoordinates, EndKind, EndKinds
from opdsl.data.io.hdf5.hdf5_survey import Hdf5Array
from opdsl.data.io.hdf5.safe_h5 import NUMBERS, Hdf5File

CONDITIONS: Mapping[str, EndKind] = {"PERIODIC": "periodic", "WALL": "wall", "OPEN": "open"}
MOST_NUMBERS = 1 << 24  # of one array of coordinates or of one mask; larger ones are not read


def coordinates_of(inside: Hdf5File, axes: Sequence[str]) -> dict[str, AxisCoordinates]:
    """Read the coordinates of the axes, and the boundary conditions at their ends.

    Axes whose coordinates are no numbers are left out.

    Raises:
        OpError: OP0610, the file is damaged.
    """
    ends = _ends(inside, axes)
    found: dict[str, AxisCoordinates] = {}
    for axis in axes:
        stored = inside.arrays[f"dimensions/{axis}"]
        if _readable(stored) and stored.shape[-1]:
            # one row, or one for each sample or time
            rows = np.asarray(inside.span(f"dimensions/{axis}"), np.float64)
            rows = rows.reshape(-1, stored.shape[-1])
            unit = stored.attrs.get("units")
            found[axis] = AxisCoordinates(
                values=np.ascontiguousarray(rows[0]),
                boundary=ends[axis],
                unit=unit if isinstance(unit, str) else "",
                varying=not np.array_equal(rows, np.broadcast_to(rows[:1], rows.shape)),
            )
    return found


def _readable(stored: Hdf5Array) -> bool:
    return stored.dtype.kind in NUMBERS and 0 < prod(stored.shape) <= MOST_NUMBERS


def _ends(inside: Hdf5File, axes: Sequence[str]) -> dict[str, EndKinds]:
    """Return for each axis the kinds of its two ends; None where no condition names them."""
    kinds: dict[str, list[EndKind | None]] = {x: [None, None] for x in axes}
    for path, attrs in inside.groups.items():
        kind = CONDITIONS.get(str(attrs.get("bc_type")))
        if path.startswith("boundary_conditions/") and kind is not None:
            for axis, end in _named_ends(inside, path, attrs, kind):
                if axis in kinds:
                    kinds[axis][end] = kind
    return {k: (x[0], x[1]) for k, x in kinds.items()}


def _named_ends(
    inside: Hdf5File, path: str, attrs: Mapping[str, Any], kind: EndKind
) -> Iterator[tuple[str, int]]:
    """Yield the ends (0: the first, 1: the last) of the axes that a condition is about."""
    named = attrs.get("associated_dims", [])
    dims = [str(x) for x in (named if isinstance(named, list) else [named])]
    mask = _mask(inside, f"{path}/mask", len(dims))
    for i, axis in enumerate(dims):
        if kind == "periodic":
            yield from ((axis, 0), (axis, 1))
        elif mask is not None and mask.any():
            # a part of a face is an obstacle inside of the domain, not its end
            yield from ((axis, j) for j in (0, 1) if mask.take(-j, axis=i).all())
        elif mask is not None and mask.ndim == 1:
            # no point lies on the boundary, as with cell centres
            yield from ((axis, 0), (axis, 1))


def _mask(inside: Hdf5File, path: str, dims: int) -> NDArray[np.bool_] | None:
    """Read which points lie on the boundary, an axis for each dimension; None if it varies."""
    stored = inside.arrays.get(path)
    if stored is None or len(stored.shape) != dims or not _readable(stored):
        return None
    return np.asarray(inside.span(path)).astype(np.bool_)
