"""Queries of a file as functions on the points of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.arrays.axes import Target
from opdsl.data.arrays.queries import QueryRows, of_points
from opdsl.nn.points.batch import Values
from opdsl.nn.points.digest import digests
from opdsl.nn.points.geometry import Geometry
from opdsl.nn.points.packed import Packed

Array = NDArray[Any]


def query_arrays(rows: QueryRows, targets: Sequence[Target]) -> dict[str, Any]:
    """Return inputs, outputs and points of samples by name.

    Args:
        rows: of some samples.
        targets: what the arrays are for.

    Returns:
        Inputs (samples, channels, *grid). Outputs packed, and a list of points (queries,
        coordinates) for each sample; where all samples have the same points in the same order,
        outputs (samples, channels, queries), and the points once.
    """
    kinds = {x.name: x for x in targets}
    points = [x for k, x in rows.arrays.items() if kinds[k].kind == "coordinates"]
    shared = _are_shared(points, rows.sizes)
    arrays: dict[str, Any] = {}
    for name, x in rows.arrays.items():
        target = kinds[name]
        if not of_points(target):
            arrays[name] = x
        elif shared:
            some = x.reshape(len(rows.sizes), -1, x.shape[-1])
            arrays[name] = some[0] if target.kind == "coordinates" else np.moveaxis(some, -1, 1)
        elif target.kind == "coordinates":
            arrays[name] = _geometries(_tensor(x), rows.sizes.tolist())
        else:
            arrays[name] = Packed(_tensor(x).T[None].contiguous(), tuple(rows.sizes.tolist()))
    return arrays


def _geometries(points: Tensor, sizes: Sequence[int]) -> list[Geometry]:
    """Return the points of each sample; their digests are computed at once where sizes agree."""
    geometries = [Geometry(x) for x in torch.split(points, list(sizes))]
    if len(set(sizes)) == 1:
        keys = digests(points.reshape(len(sizes), -1, points.shape[-1]))
        for geometry, key in zip(geometries, keys, strict=True):
            vars(geometry)["key"] = key
    return geometries


def _are_shared(points: Sequence[Array], sizes: NDArray[np.int64]) -> bool:
    """Whether all samples, of which there are several, have the same points in the same order."""
    if len(sizes) < 2 or len(set(sizes.tolist())) > 1:
        return False
    some = [x.reshape(len(sizes), -1, x.shape[-1]) for x in points]
    return all(bool((x == x[:1]).all()) for x in some)


def in_rows(outputs: Mapping[str, Values], rows: NDArray[np.int64]) -> dict[str, Values]:
    """Return outputs in the order of the rows of a file, (rows, channels).

    Args:
        outputs: packed, or (samples, channels, queries).
        rows: which row each query is, those of the first sample first.
    """
    back = torch.from_numpy(np.argsort(rows))
    return {k: _by_query(x)[back] for k, x in outputs.items()}


def _by_query(x: Values) -> Tensor:
    return x.values[0].T if isinstance(x, Packed) else x.movedim(1, -1).flatten(0, 1)


def _tensor(x: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x, x.dtype.newbyteorder("=")))
