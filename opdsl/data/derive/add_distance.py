"""Add the distance from the surface of each sample, on a grid, as a field of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.derived_fields import (
    choose_points,
    refuse_other_grid,
    refuse_taken_names,
    sample_count,
    with_fields,
)
from opdsl.data.derive.distance import distance, signed_distance
from opdsl.data.io.file_fields import FileFields
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import fault
from opdsl.nn.points.geometry import Geometries, Geometry

Box = tuple[tuple[float, float], ...]  # the ends of each axis

AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class Sign:
    """Whether a distance is signed, and whether surfaces with holes are allowed."""

    signed: bool = True
    holes: bool = False


def add_distance(
    fields: Fields,
    *,
    grid: Sequence[int],
    box: Box | None = None,
    domain: str | None = None,
    name: str = "distance",
    sign: Sign | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[FileFields, Box]:
    """Add the distance from the surface of each sample at the points of a grid, as an input.

    Args:
        grid: points on each axis, both ends included.
        box: the ends of each axis; the bounding box of all samples if None.
        domain: the set of points that bounds the surface; the only one if None.
        name: of the new field.
        sign: kind of distance; a signed one from closed surfaces if None.
        progress: is called with the samples done and all samples.

    Returns:
        The data set with one field more, and the box.

    Raises:
        OpError: OP0611 no such set, or the name is taken; OP0613 a grid of another size is there
            already, or other axes; OP0618 a surface that has no inside.
    """
    geometries, where = choose_points(fields, domain)
    refuse_taken_names(fields, (name,))
    sign = sign or Sign()
    d = geometries[0].points.shape[1]
    refuse_other_grid(fields, AXES[:d], grid)
    box = box or _around(geometries)
    if len(box) != d:
        message = f"the box has {len(box)} axes, the points have {d}"
        raise fault("OP0613", message, file=fields.source)
    nodes = _nodes(grid, box)
    rows = []
    for i, x in enumerate(geometries):
        sample_name = f"{fields.source}, sample {i} of `{where}`"
        rows.append(_distance(x, nodes, sign, sample_name).reshape(1, *grid).float())
        if progress:
            progress(i + 1, len(geometries))
    values = torch.stack(rows).expand(sample_count(fields), *rows[0].shape)
    return with_fields(fields, {name: (values, "input", None)}, AXES[:d]), box


def _around(placed: Geometries) -> Box:
    low = torch.stack([x.points.double().min(0).values for x in placed]).min(0).values
    high = torch.stack([x.points.double().max(0).values for x in placed]).max(0).values
    return tuple(zip(low.tolist(), high.tolist(), strict=True))


def _nodes(grid: Sequence[int], box: Box) -> Tensor:
    """Coordinates of the points of the grid, the last axis running fastest; (points, d)."""
    lines = [
        torch.linspace(a, b, n, dtype=torch.float64) for n, (a, b) in zip(grid, box, strict=True)
    ]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(grid))


def _distance(x: Geometry, nodes: Tensor, sign: Sign, source: str) -> Tensor:
    if sign.signed:
        return signed_distance(x, nodes, holes=sign.holes, source=source)
    return distance(x, nodes, source=source)
