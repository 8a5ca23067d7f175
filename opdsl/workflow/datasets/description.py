"""The content of a data set: arrays, fields, shapes, resolution, samples that look corrupt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from opdsl.data.arrays.containers.rows import ArrayRow, attributes_text, plain, rows
from opdsl.data.arrays.reading import open_arrays
from opdsl.data.bind.samples import Fields
from opdsl.data.bind.suspects import suspects_warning
from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io.dataset import open_dataset as read_dataset
from opdsl.data.io.memory_budget import TooLargeError
from opdsl.data.io.unknown_layout import UnknownLayoutError
from opdsl.diagnostics import Diagnostic, OpError
from opdsl.nn.points.batch import all_values

LONGEST = 160  # characters of the attributes of a file
UNSTATED = (
    "which arrays are inputs and outputs is not stated: give them by "
    'data { fields { NAME = "ARRAY" } }'
)


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
class ArrayListing:
    """The arrays of a file, without their values.

    Attributes:
        format: the format in words.
        count: number of arrays.
        rows: a row for each, or for many with numbered names.
        attributes: those of the file.
    """

    format: str
    count: int
    rows: tuple[ArrayRow, ...]
    attributes: dict[str, Any]

    @property
    def about(self) -> str:
        """The attributes of the file as a short text."""
        return attributes_text(self.attributes, LONGEST)


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """A data set in words and numbers.

    Attributes:
        arrays: what the file holds; None for a folder of files, and where arrays cannot be listed.
        note: why there are no fields; empty if there are.
        fields: a row for each.
        points: a line for each set of points.
        warning: about samples that look corrupt.
        about: name, path, axes, resolution, suspects and fingerprint.
    """

    arrays: ArrayListing | None
    note: str
    fields: tuple[FieldDescription, ...]
    points: tuple[str, ...]
    warning: Diagnostic | None
    about: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return the fields as plain data."""
        return [x.to_json(points=bool(self.points)) for x in self.fields]

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain data."""
        described = self.about | {"fields": self.rows()}
        if self.arrays is not None:
            described |= {
                "format": self.arrays.format,
                "arrays": [x.to_json() for x in self.arrays.rows],
                "attributes": {k: plain(x) for k, x in self.arrays.attributes.items()},
            }
        return described | ({"note": self.note} if self.note else {})


def describe_dataset(path: str | PathLike[str], split: str | None = None) -> DatasetDescription:
    """Describe a data set: the arrays of a file, and fields where its layout is known.

    The values of arrays are read for the table of fields only.

    Raises:
        OpError: as `open_dataset`; not for a file whose arrays can be listed and whose layout is
            unknown, or which is too large to be read whole.
    """
    arrays = _arrays(Path(path)) if split is None else None
    note = UNSTATED
    if arrays is None or Path(path).is_file():  # no reader of fields knows a store of arrays
        try:
            return _with_fields(read_dataset(path, split=split), arrays)
        except (UnknownLayoutError, TooLargeError) as error:
            if arrays is None:
                raise
            note = _reason(error, arrays)
    about = {"name": Path(path).stem, "path": str(path)}
    empty = {"axes": [], "resolution": [], "suspects": [], "fingerprint": ""}
    return DatasetDescription(arrays, note, (), (), None, about | empty)


def _arrays(path: Path) -> ArrayListing | None:
    """List the arrays of a file or a store; None where arrays cannot be listed."""
    try:
        if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
            return None
        with open_arrays(path, str(path)) as file:
            return ArrayListing(file.format, len(file.arrays), rows(file), dict(file.attributes))
    except OpError:  # the reader of fields says what is wrong
        return None


def _reason(error: OpError, arrays: ArrayListing) -> str:
    """Say why there are no fields."""
    message = error.diagnostics[0].message
    if isinstance(error, TooLargeError):
        return f"no table of values: {message}"
    pair = {"x", "y"} <= {x.name for x in arrays.rows}
    return f"{message}\n{UNSTATED}" if pair else UNSTATED


def _with_fields(fields: Fields, arrays: ArrayListing | None) -> DatasetDescription:
    about = {
        "name": fields.name,
        "path": fields.source,
        "axes": list(fields.axes),
        "resolution": list(fields.resolution),
        "suspects": list(fields.suspects),
        "fingerprint": fields.fingerprint,
    }
    table = tuple(_field(fields, x) for x in fields.values)
    points = tuple(_points(fields))
    return DatasetDescription(arrays, "", table, points, suspects_warning(fields), about)


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
