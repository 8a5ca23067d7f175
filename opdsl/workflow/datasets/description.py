"""The content of a data set: fields, shapes, resolution, samples that look corrupt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

from opdsl.data.bind.samples import Fields
from opdsl.data.bind.suspects import suspects_warning
from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io.dataset import open_dataset as read_dataset
from opdsl.diagnostics import Diagnostic
from opdsl.nn.points.batch import all_values


def open_dataset(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    resolution: Resolution | None = None,
    samples: int | None = None,
) -> Fields:
    """Read a data set: a file of any known format, or a folder.

    Args:
        path: The Well's HDF5; ours for points; `.npz` or `.pt` with `x` and `y`; a mesh, which is
            one sample; a folder of meshes, or a folder with `train`, `valid` and `test`.
        split: the part of a folder, `train` if not given.
        resolution: keep every k-th point, so that each axis has so many.
        samples: keep the first ones only.

    Returns:
        The fields by name, (samples, channels, *grid) each; `opdsl.train` takes them as data.

    Raises:
        OpError: OP0604, less than one sample; OP0610, nothing readable, or too few samples; OP0614,
            no such resolution; OP0615, the file points outside itself.

    >>> import numpy as np, opdsl
    >>> np.savez(FOLDER / "waves.npz", x=np.ones((4, 16)), y=np.ones((4, 16)))
    >>> opdsl.open_dataset(FOLDER / "waves.npz").resolution
    (16,)
    """
    return read_dataset(path, split=split, resolution=resolution, samples=samples)


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """One field of a data set; extreme values are None where they are not finite."""

    field: str
    on: str
    role: str
    samples: int
    channels: int
    type: str
    min: float | None
    mean: float | None
    max: float | None

    def to_json(self, *, points: bool) -> dict[str, Any]:
        """Return the row as plain data; `on` only where the data set has points."""
        return {k: x for k, x in asdict(self).items() if k != "on" or points}


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """A data set in words and numbers.

    Attributes:
        fields: a row for each.
        points: a line for each set of points.
        warning: about samples that look corrupt.
        about: name, path, axes, resolution, suspects and fingerprint.
    """

    fields: tuple[FieldDescription, ...]
    points: tuple[str, ...]
    warning: Diagnostic | None
    about: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return the fields as plain data."""
        return [x.to_json(points=bool(self.points)) for x in self.fields]

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain data."""
        return self.about | {"fields": self.rows()}


def describe_dataset(path: str | PathLike[str], split: str | None = None) -> DatasetDescription:
    """Describe a data set.

    Raises:
        OpError: as `open_dataset`.
    """
    fields = read_dataset(path, split=split)
    about = {
        "name": fields.name,
        "path": fields.source,
        "axes": list(fields.axes),
        "resolution": list(fields.resolution),
        "suspects": list(fields.suspects),
        "fingerprint": fields.fingerprint,
    }
    rows = tuple(_field(fields, x) for x in fields.values)
    return DatasetDescription(rows, tuple(_points(fields)), suspects_warning(fields), about)


def _field(fields: Fields, name: str) -> FieldDescription:
    values = all_values(fields.values[name])
    wide = values.double()
    return FieldDescription(
        field=name,
        on=fields.homes.get(name, "grid"),
        role=fields.roles[name],
        samples=len(fields.values[name]),
        channels=values.shape[1],
        type=str(values.dtype).removeprefix("torch."),
        min=_finite(float(wide.min())),
        mean=_finite(float(wide.mean())),
        max=_finite(float(wide.max())),
    )


def _finite(number: float) -> float | None:
    return number if abs(number) < float("inf") else None


def _points(fields: Fields) -> Sequence[str]:
    lines = []
    for name, parts in fields.places.items():
        first, sizes = parts[0], [len(x) for x in parts]
        low, high = min(sizes), max(sizes)
        count = f"{low}" if low == high else f"{low} to {high}"
        whose = "for all samples" if len(parts) == 1 else "for each sample"
        attributes = [k for k in ("weights", "cells", "edges") if getattr(first, k) is not None]
        line = f"{name}  {count} points in R^{first.points.shape[1]}, {whose}"
        lines.append(", ".join((line, *attributes)))
    return lines
