"""Structured grids of VTK as arrays on named axes, with their coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.containers.loaded import Loaded

Array = NDArray[Any]
CARTESIAN, INDICES = ("x", "y", "z"), ("i", "j", "k")
CELL = "cell_"  # prefix of an axis of cells
COORDINATES = tuple(f"axis{i}" for i in range(3))


def grid_arrays(header: Mapping[str, Any], values: Mapping[str, Array]) -> dict[str, Loaded]:
    """Return the arrays of a grid by name; an axis with a single point is dropped.

    `point_data/NAME` is (x, y[, z][, channel]) and `cell_data/NAME` (cell_x, cell_y[, ...]), with
    the coordinates `x`, `y`, `z`, and `cell_x`, ... of the centres. Where the grid is curved or
    turned its axes are i, j, k, and `points` (i, j[, k], coordinate) holds the places, if the file
    has them.

    Args:
        header: of the answer of `vtk_reader`.
        values: its arrays, the first axis of the grid running fastest.

    Raises:
        ValueError: an array has another number of entries than the grid.
    """
    dims = tuple(int(n) for n in header["dims"])
    if len(dims) != len(CARTESIAN) or min(dims) < 1:
        raise ValueError(f"the grid has the dimensions {dims}")
    lines = _lines(header, values, dims)
    names = CARTESIAN if lines else INDICES
    result: dict[str, Loaded] = {}
    for i, line in enumerate(lines or ()):
        if dims[i] > 1:
            result[names[i]] = Loaded(line, (names[i],))
    if not lines and "points" in values:
        result["points"] = _on_grid("points", values["points"], dims, names, "coordinate")
    cells = tuple(max(n - 1, 1) for n in dims)
    for name, x in values.items():
        if name.startswith("point_data/"):
            result[name] = _on_grid(name, x, dims, names, "channel")
        elif name.startswith("cell_data/"):
            flat = tuple(n if d > 1 else 1 for n, d in zip(cells, dims, strict=True))
            keep = tuple(d > 1 for d in dims)
            own = tuple(f"{CELL}{k}" for k in names)
            result[name] = _on_grid(name, x, flat, own, "channel", keep)
            for i, line in enumerate(lines or ()):
                if keep[i]:
                    result[own[i]] = Loaded((line[:-1] + line[1:]) / 2, (own[i],))
    return result


def _on_grid(
    name: str,
    x: Array,
    dims: Sequence[int],
    names: Sequence[str],
    last: str,
    keep: Sequence[bool] | None = None,
) -> Loaded:
    """Bring entries to the axes of the grid, the first one outermost.

    Raises:
        ValueError: there are more or fewer of them.
    """
    if not x.ndim or len(x) != prod(dims):
        raise ValueError(f"`{name}` has the shape {x.shape} on a grid of {tuple(dims)}")
    keep = [n > 1 for n in dims] if keep is None else keep
    inner = x.shape[1:]
    grid = np.moveaxis(x.reshape(*dims[::-1], *inner), (2, 1, 0), (0, 1, 2))
    kept = tuple(k for k, there in zip(names, keep, strict=True) if there)
    shape = tuple(n for n, there in zip(dims, keep, strict=True) if there)
    return Loaded(grid.reshape(*shape, *inner), (*kept, *(last,) * len(inner)))


def _lines(
    header: Mapping[str, Any], values: Mapping[str, Array], dims: tuple[int, ...]
) -> list[Array] | None:
    """Return the coordinates on each axis; None if they depend on more than one index."""
    if "lines" in header:
        steps = zip(header["lines"], dims, strict=True)
        return None if header["turned"] else [a + h * np.arange(n) for (a, h), n in steps]
    if all(k in values for k in COORDINATES):
        lines = [values[k] for k in COORDINATES]
        if [x.shape for x in lines] != [(n,) for n in dims]:
            raise ValueError("the coordinates are more or fewer than the points on each axis")
        return lines
    if "points" not in values or values["points"].shape != (prod(dims), len(CARTESIAN)):
        raise ValueError("the points are more or fewer than those of the grid")
    grid = np.moveaxis(values["points"].reshape(*dims[::-1], 3), (2, 1, 0), (0, 1, 2))
    first = [grid[:, 0, 0, 0], grid[0, :, 0, 1], grid[0, 0, :, 2]]
    meshed = np.meshgrid(*first, indexing="ij", sparse=True)
    straight = all(
        np.array_equal(grid[..., i], np.broadcast_to(x, dims)) for i, x in enumerate(meshed)
    )
    return first if straight else None
