"""Meshes as data sets, and fields that are derived from them."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opdsl.data import open_dataset
from opdsl.data.derive.add_distance import Box, Sign
from opdsl.data.derive.add_distance import add_distance as with_distance
from opdsl.data.derive.add_transport import add_transport as with_transport
from opdsl.data.derive.derived_fields import select_fields
from opdsl.data.io.formats import points
from opdsl.data.io.locate import HDF5_SUFFIXES
from opdsl.data.io.mesh_set import as_fields
from opdsl.data.io.meshes import MESH_READERS, cell_kind, read_meshes
from opdsl.data.progress import ProgressCallback
from opdsl.nn.points.batch import all_values


@dataclass(frozen=True, slots=True)
class MeshConversion:
    """Mesh files that have become one data set.

    Attributes:
        path: the file.
        samples: one for each mesh.
        points: the fewest and the most points of a mesh.
        dimensions: of space.
        cells: the kind of cells in words.
        fields: channels of each field.
        averaged: fields on cells, moved to points.
        left_out: points that no cell uses.
        labels: whole numbers on cells, left out.
    """

    path: Path
    samples: int
    points: tuple[int, int]
    dimensions: int
    cells: str
    fields: dict[str, int]
    averaged: tuple[str, ...]
    left_out: int
    labels: tuple[str, ...]


def names_meshes(paths: Sequence[str]) -> bool:
    """Whether paths name meshes rather than one data set: by their number or by their endings.

    A folder is one of meshes if it holds some and no HDF5 file, as for `open_dataset`.
    """
    if len(paths) != 1:
        return True
    path = Path(paths[0])
    try:
        if path.is_dir():
            endings = {x.suffix.lower() for x in path.iterdir()}
            return not endings.isdisjoint(MESH_READERS) and endings.isdisjoint(HDF5_SUFFIXES)
        pattern = glob.has_magic(str(path)) and not path.exists()
    except OSError:  # the reader says what is wrong
        return False
    return pattern or path.suffix.lower() in MESH_READERS


def convert_meshes(
    paths: Sequence[str],
    out: Path,
    *,
    name: str | None = None,
    domain: str = "P",
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    progress: ProgressCallback,
) -> MeshConversion:
    """Write mesh files as one data set, a sample each.

    Args:
        paths: files, folders or patterns.
        out: the `.h5` file to make.
        name: of the data set.
        domain: the name of the set of points.
        inputs: fields that models take.
        outputs: fields that models return.
        progress: is called after each mesh.

    Raises:
        OpError: OP0610 to OP0613, a mesh cannot be read or differs; OP0625, the file cannot be
            written.
    """
    meshes = read_meshes(paths, progress)
    raw = as_fields(meshes, name=name or out.stem, domain=domain, inputs=inputs, outputs=outputs)
    points.write(out, raw)
    counts = [len(x.points) for x in meshes]
    first = meshes[0]
    return MeshConversion(
        path=out,
        samples=len(meshes),
        points=(min(counts), max(counts)),
        dimensions=first.points.shape[1],
        cells=cell_kind(first),
        fields={k: x.shape[1] for k, x in first.fields.items()},
        averaged=tuple(first.averaged),
        left_out=sum(x.left_out for x in meshes),
        labels=tuple(first.labels),
    )


@dataclass(frozen=True, slots=True)
class DistanceField:
    """A data set with a new field of distances.

    Attributes:
        samples: how many.
        grid: points on each axis.
        box: the ends of each axis.
    """

    samples: int
    grid: tuple[int, ...]
    box: Box


def add_distance(
    data: str,
    out: Path,
    *,
    grid: Sequence[int],
    box: Box | None,
    domain: str | None,
    keep: Sequence[str],
    name: str,
    signed: bool,
    holes: bool,
    box_text: Callable[[Box], str],
    progress: ProgressCallback,
) -> DistanceField:
    """Add the distance from the surface of each sample, on a grid, and write a new file.

    Args:
        data: a data set with points.
        out: the `.h5` file to make.
        grid: points on each axis; one number stands for all axes.
        box: the ends of each axis; around all samples if None.
        domain: which set of points, where there are several.
        keep: fields to take over; all if empty.
        name: of the new field.
        signed: whether the distance is negative inside.
        holes: whether to give a sign also where a surface has small holes.
        box_text: how the box is written into the file.
        progress: is called after each sample.

    Raises:
        OpError: OP0604, OP0610 to OP0613, the data do not fit; OP0625, the file cannot be written.
    """
    fields = select_fields(open_dataset(data), keep)
    axes = max((x[0].points.shape[1] for x in fields.places.values()), default=1)
    raw, ends = with_distance(
        fields,
        grid=tuple(grid) * axes if len(grid) == 1 else tuple(grid),
        box=box,
        domain=domain,
        name=name,
        sign=Sign(signed, holes),
        progress=progress,
    )
    points.write(out, raw, parameters={f"{name}_box": box_text(ends)})
    return DistanceField(len(raw), tuple(all_values(raw.values[name]).shape[2:]), ends)


@dataclass(frozen=True, slots=True)
class TransportedData:
    """A data set whose points are carried to a torus.

    Attributes:
        samples: how many.
        size: points of the grid on each axis.
        normals: whether the data have normals.
        costs: mean squared distance of each sample.
        missed: points of each sample without a grid point.
    """

    samples: int
    size: int
    normals: bool
    costs: tuple[float, ...]
    missed: tuple[int, ...]


def add_transport(
    data: str,
    out: Path,
    *,
    domain: str | None,
    keep: Sequence[str],
    normals: str | None,
    size: int | None,
    progress: ProgressCallback,
) -> TransportedData:
    """Carry the points of each sample to a periodic grid by optimal transport.

    Args:
        data: a data set with points.
        out: the `.h5` file to make.
        domain: which set of points, where there are several.
        keep: fields to take over; all if empty.
        normals: the field of normals; those of the triangles if None.
        size: points of the grid on each axis.
        progress: is called after each sample.

    Raises:
        OpError: OP0610 to OP0613, the data do not fit; OP0625, the file cannot be written; OP0645,
            the package POT is missing.
    """
    fields = select_fields(open_dataset(data), keep)
    raw, plans = with_transport(
        fields, domain=domain, normals=normals, size=size, progress=progress
    )
    points.write(out, raw)
    return TransportedData(
        samples=len(raw),
        size=plans[0].size,
        normals="cross" in raw.values,
        costs=tuple(x.cost for x in plans),
        missed=tuple(x.missed for x in plans),
    )
