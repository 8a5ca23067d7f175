"""Combine meshes of one kind into one data set, which the format `points` can store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from opdsl.data.bind.samples import Role
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.meshes import Mesh
from opdsl.diagnostics import did_you_mean, fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed


def as_fields(
    meshes: Sequence[Mesh],
    *,
    name: str,
    domain: str = "P",
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    shared: bool = True,
) -> FileFields:
    """Combine meshes into fields of float32; points too are float32 if that is exact.

    Where all meshes have the same points and cells, the samples share one geometry.

    Args:
        name: name of the data set.
        domain: name of the point set of the fields.
        inputs, outputs: names of the fields with these roles.
        shared: whether equal meshes become one geometry.

    Raises:
        OpError: OP0611, a field that is named is not there, or has two roles.
    """
    _known(meshes[0], inputs, outputs)
    named_roles: tuple[tuple[Role, Iterable[str]], ...] = (
        ("unknown", meshes[0].fields),
        ("input", inputs),
        ("output", outputs),
    )
    roles: dict[str, Role] = {k: role for role, names in named_roles for k in names}
    same = shared and _same(meshes)
    values = {k: _values([x.fields[k] for x in meshes], same=same) for k in roles}
    homes = dict.fromkeys(roles, domain)
    places = {domain: _placed(meshes[:1] if same else meshes)}
    return FileFields(name, values, roles, (), "periodic", places, homes)


def _known(first: Mesh, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for k in (*inputs, *outputs):
        if k not in first.fields:
            available = ", ".join(f"`{x}`" for x in first.fields) or "none"
            helps = did_you_mean(k, first.fields)
            message = f"no field `{k}`; the files have {available}"
            raise fault("OP0611", message, helps=helps, file=first.source)
    if both := set(inputs) & set(outputs):
        message = f"`{min(both)}` cannot be an input and an output"
        raise fault("OP0611", message, file=first.source)


def _same(meshes: Sequence[Mesh]) -> bool:
    first = meshes[0]
    return all(
        np.array_equal(first.points, x.points)
        and (first.cells is None or x.cells is None or np.array_equal(first.cells, x.cells))
        for x in meshes
    )


def _values(parts: Sequence[np.ndarray], *, same: bool) -> Values:
    rows = [torch.from_numpy(x.T.astype(np.float32)) for x in parts]
    return torch.stack(rows) if same else Packed.of(rows)


def _placed(meshes: Sequence[Mesh]) -> Geometries:
    short = all(np.array_equal(x.points, x.points.astype(np.float32)) for x in meshes)
    return tuple(_geometry(x, short=short) for x in meshes)


def _geometry(mesh: Mesh, *, short: bool) -> Geometry:
    points: Tensor = torch.from_numpy(mesh.points)
    cells = None if mesh.cells is None else torch.from_numpy(mesh.cells)
    return Geometry(points.float() if short else points, cells=cells)
