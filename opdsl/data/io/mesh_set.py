"""Meshes as the samples of one data set.

What comes in: meshes of one kind, names of fields. What goes out: `Raw`, which `points.write` makes
a file of. Where all meshes have the same points and cells, the samples share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Resolution, refuse_on_points
from opdsl.data.io.file_fields import Raw
from opdsl.data.io.meshes import Mesh, read_mesh
from opdsl.diagnostics import did_you_mean, fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed


def read(path: Path, source: str, resolution: Resolution | None, samples: int | None) -> Raw:
    """One file as one sample of the domain `P`, on points of its own; nothing says its roles.

    Raises:
        OpError: OP0610, OP0612; OP0614 a resolution is asked for.
    """
    del samples  # there is one
    refuse_on_points(resolution, source)
    return as_raw([read_mesh(path)], name=path.stem, shared=False)


def as_raw(
    meshes: Sequence[Mesh],
    *,
    name: str,
    domain: str = "P",
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    shared: bool = True,
) -> Raw:
    """The samples; fields are float32, points too if that changes none of them.

    Args:
        name: of the data set.
        domain: on which the fields are.
        inputs, outputs: fields that are marked so.
        shared: whether meshes that are the same become one.

    Raises:
        OpError: OP0611, a field that is named is not there, or has two roles.
    """
    _known(meshes[0], inputs, outputs)
    told: tuple[tuple[Role, Iterable[str]], ...] = (
        ("unknown", meshes[0].fields),
        ("input", inputs),
        ("output", outputs),
    )
    roles: dict[str, Role] = {k: role for role, names in told for k in names}
    same = shared and _same(meshes)
    values = {k: _values([x.fields[k] for x in meshes], same=same) for k in roles}
    homes = dict.fromkeys(roles, domain)
    places = {domain: _placed(meshes[:1] if same else meshes)}
    return Raw(name, values, roles, (), "periodic", places, homes)


def _known(first: Mesh, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    for k in (*inputs, *outputs):
        if k not in first.fields:
            there = ", ".join(f"`{x}`" for x in first.fields) or "none"
            helps = did_you_mean(k, first.fields)
            met = f"no field `{k}`; the files have {there}"
            raise fault("OP0611", met, helps=helps, file=first.source)
    if both := set(inputs) & set(outputs):
        met = f"`{min(both)}` cannot be an input and an output"
        raise fault("OP0611", met, file=first.source)


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
