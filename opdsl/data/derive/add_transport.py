"""Add the optimal transport of each sample's points to a torus as fields of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from opdsl.data.bind.samples import Fields, Role
from opdsl.data.derive.derived_fields import (
    choose_points,
    refuse_other_grid,
    refuse_taken_names,
    sample_count,
    with_fields,
)
from opdsl.data.derive.transport import (
    Transport,
    normals_of,
    side,
    torus_normals,
    torus_points,
    transport,
)
from opdsl.data.io.file_fields import FileFields
from opdsl.data.progress import ProgressCallback
from opdsl.diagnostics import did_you_mean, fault
from opdsl.nn.points.batch import Values, split_samples
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

ANGLES = ("theta", "phi")
ROLES: dict[str, Role] = {
    "trans": "input",
    "source": "input",
    "nor_s": "unknown",
    "cross": "input",
    "ind_enc": "unknown",
    "ind_dec": "input",
    "latent": "unknown",
}
ON_POINTS = ("ind_dec", "latent")


def add_transport(
    fields: Fields,
    *,
    domain: str | None = None,
    normals: str | None = None,
    size: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[FileFields, list[Transport]]:
    """Add the optimal transport of each sample's points to a torus of one size for all samples.

    On the grid (theta, phi), named as in the data that neuraloperator publishes:

        trans     input    the point of the surface that a grid point stands for (3 channels)
        source    input    the point of the torus (3)
        nor_s     unknown  the normal of the torus there, inwards (3)
        cross     input    the cross product of both normals (3), if the surface has some
        ind_enc   unknown  the number of the point of the surface

    and on the points

        ind_dec   input    the number of the grid point that each has
        latent    unknown  where that is on the grid, 0 to 1 (2)

    Args:
        domain: the set of points; the only one if None.
        normals: the field that has normals; else those of the triangles, if there are some.
        size: points of the grid on each axis; enough for the largest sample if None.
        progress: is called with the samples done and all samples.

    Raises:
        OpError: OP0611 no such set or field, or a name is taken; OP0613 a grid is there already;
            OP0618 the points are not in space; and what `transport` raises.
    """
    geometries, where = choose_points(fields, domain)
    refuse_taken_names(fields, tuple(ROLES))
    size = size or side(max(len(x) for x in geometries))
    refuse_other_grid(fields, ANGLES, (size, size))
    surface_normals = _normals(fields, geometries, where, normals)
    transports = []
    for i, x in enumerate(geometries):
        sample_name = f"{fields.source}, sample {i} of `{where}`"
        transports.append(transport(x.points.double().numpy(), size=size, source=sample_name))
        if progress:
            progress(i + 1, len(geometries))
    rows = [_rows(*x) for x in zip(transports, geometries, surface_normals, strict=True)]
    if len(geometries) == 1:
        rows *= sample_count(fields)
    new_fields = {k: _given(fields, k, [x[k] for x in rows], where) for k in rows[0]}
    return with_fields(fields, new_fields, ANGLES), transports


def _normals(
    fields: Fields, placed: Geometries, where: str, name: str | None
) -> Sequence[np.ndarray | None]:
    """Normals (p, 3) of each sample, from the field `name` or from the triangles, if any."""
    if name is None:
        return [_turned(x) for x in placed]
    values = fields.values.get(name)
    if values is None:
        helps = did_you_mean(name, fields.homes)
        raise fault("OP0611", f"no field `{name}`", helps=helps, file=fields.source)
    if fields.homes.get(name) != where or _channels(values) != 3:
        message = f"`{name}` is no field of 3 channels on `{where}`"
        helps = ("leave `--normals` out: those of the triangles are taken",)
        raise fault("OP0611", message, helps=helps, file=fields.source)
    return [x.double().numpy().T for x in split_samples(values)][: len(placed)]


def _turned(x: Geometry) -> np.ndarray | None:
    if x.cells is None or x.cells.shape[1] != 3 or x.points.shape[1] != 3:
        return None
    return normals_of(x.points.double().numpy(), x.cells.numpy())


def _rows(found: Transport, x: Geometry, normals: np.ndarray | None) -> dict[str, Tensor]:
    """Compute the new fields of one sample: (channels, *grid) or (channels, points)."""
    n, points = found.size, x.points.double().numpy()
    grid_normals = torus_normals(n)
    rows = {
        "trans": points[found.encode].reshape(n, n, 3),
        "source": torus_points(n),
        "nor_s": grid_normals,
        "latent": found.latent,
    }
    if normals is not None:
        rows["cross"] = np.cross(normals[found.encode].reshape(n, n, 3), grid_normals)
    tensors = {k: torch.from_numpy(x).movedim(-1, 0).float().contiguous() for k, x in rows.items()}
    tensors["ind_enc"] = torch.from_numpy(found.encode).int().reshape(1, n, n)
    tensors["ind_dec"] = torch.from_numpy(found.decode).int()[None]
    return tensors


def _given(
    fields: Fields, name: str, rows: list[Tensor], where: str
) -> tuple[Values, Role, str | None]:
    """Return the values of all samples, the role, and the set of points (None for the grid)."""
    on_points = name in ON_POINTS
    values = _alike(fields, rows) if on_points else torch.stack(rows)
    return values, ROLES[name], where if on_points else None


def _alike(fields: Fields, rows: list[Tensor]) -> Values:
    """Stack or pack functions on points, as the other fields of the file are."""
    packed = any(isinstance(fields.values[k], Packed) for k in fields.homes)
    same = len({x.shape for x in rows}) == 1
    return torch.stack(rows) if same and not packed else Packed.of(rows)


def _channels(x: Values) -> int:
    return x.channels if isinstance(x, Packed) else x.shape[1]
