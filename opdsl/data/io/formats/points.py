"""Our layout of HDF5 for functions on points, graphs and meshes: reading it, writing it whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.samples import Role
from opdsl.data.derive.coarsen import Resolution, refuse_on_points
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import Format, ReadOptions
from opdsl.data.io.hdf5.hdf5_survey import Hdf5Array
from opdsl.data.io.hdf5.hdf5_writing import new_hdf5, write_errors
from opdsl.data.io.hdf5.safe_h5 import Hdf5File
from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

AXES = ("x", "y", "z", "t")
MARK, VERSION = "opdsl_points", 1
ROLE = "opdsl_role"
PLACES, FIELDS = "geometry", "fields"
TIMES, STEPS = "times", "steps"  # an array of the file; how many of them a field has as channels
WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
LISTS = {"cells": "cell_offsets", "edges": "edge_offsets"}  # arrays with offsets of their own


def write(
    path: Path, raw: FileFields, *, parameters: Mapping[str, str | int | float] | None = None
) -> None:
    """Write a file that `read` reads as `raw`, whole or not at all.

    Args:
        raw: the fields; each field on points has a set in `homes`, which is a key of `places`.
        parameters: parameters of the samples; each becomes an attribute of the root.

    Raises:
        OpError: OP0625, the file cannot be written; OP0613, some samples have cells or edges and
            others have none.
    """
    places = {k: _arrays(raw, k, path) for k in raw.places}
    with new_hdf5(path) as file, write_errors(path):
        file.attrs.update({MARK: VERSION, "dataset_name": raw.name, **(parameters or {})})
        file.create_group(FIELDS)
        for name, arrays in places.items():
            group = file.create_group(f"{PLACES}/{name}")
            for key, values in arrays.items():
                group[key] = values
        for times in list(raw.times.values())[:1]:
            file[TIMES] = times
        for name, x in raw.values.items():
            dataset = file[FIELDS].create_dataset(name, data=_array(x, on_points=name in raw.homes))
            dataset.attrs.update(_attributes(raw, name, x))


def _matches(file: DataFile) -> bool:
    return file.container == "hdf5" and MARK in file.hdf5.groups[""]


def read(file: DataFile, options: ReadOptions) -> FileFields:
    """Read the point sets and fields of a file; the file name names a data set without a name.

    Raises:
        OpError: OP0610 the file is damaged; OP0613 a sample has no points, or shapes do not agree;
            OP0614 a resolution is requested.
    """
    inside, samples = file.hdf5, options.samples
    _refuse(inside, options.resolution)
    fields = inside.below(FIELDS)
    count = _count(inside, fields)
    rows = count if samples is None else min(count, samples)
    places = {x.name: x for x in _places(inside)}
    entries = [_entry(inside, k, x, places, count) for k, x in fields.items()]
    values = {x.name: _values(inside, x, rows) for x in entries}
    grids = (x.axes for x in entries if x.place is None)
    times = _times(inside)
    return FileFields(
        name=str(inside.groups[""].get("dataset_name") or file.path.stem),
        values=values,
        roles={x.name: _role(x.stored) for x in entries},
        axes=next(grids, ()),
        layout="periodic",
        places={k: _placed(inside, x, rows) for k, x in places.items()},
        homes={x.name: x.place.name for x in entries if x.place is not None},
        times={x.name: times for x in entries if _timed(x, len(times))},
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A set of points in the file.

    Attributes:
        path: path of its group.
        starts: `points`, `cells`, `edges`, where present -> offsets (samples + 1,) of the samples;
            None if the samples share them.
    """

    name: str
    path: str
    starts: Mapping[str, NDArray[np.int64] | None]

    @property
    def points(self) -> NDArray[np.int64] | None:
        """Offsets (samples + 1,) of the points of each sample; None if all samples share them."""
        return self.starts["points"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field in the file: on a set of points, or on a grid of these axes."""

    name: str
    stored: Hdf5Array
    place: _Place | None
    axes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path of the field in the file."""
        return f"{FIELDS}/{self.name}"


# --------------------------------------------------------------------------------------- reading


def _refuse(inside: Hdf5File, resolution: Resolution | None) -> None:
    version = inside.groups[""][MARK]
    if version != VERSION:
        helps = ("it may be of a newer version of this program",)
        raise _damaged(inside, f"its layout is `{MARK}` = {version}, not {VERSION}", *helps)
    refuse_on_points(resolution, inside.source)


def _count(inside: Hdf5File, fields: Mapping[str, Hdf5Array]) -> int:
    """Number of samples, by the first offsets, or else by the first field with an axis."""
    offsets = (x for k, x in inside.arrays.items() if k.endswith("/offsets"))
    first = next(offsets, None)
    if first is not None and first.shape:
        return first.shape[0] - 1
    return next((x.shape[0] for x in fields.values() if x.shape), 1)


def _times(inside: Hdf5File) -> NDArray[np.float64]:
    """Read the times of fields whose channels are times and components; none if not stated."""
    stored = inside.arrays.get(TIMES)
    if stored is None or len(stored.shape) != 1 or stored.dtype.kind not in "iuf":
        return np.zeros(0)
    return inside.span(TIMES).astype(np.float64)


def _timed(x: _Entry, count: int) -> bool:
    """Whether a file states that the channels of a field are this many times."""
    channels = x.stored.shape[1 if x.place is None else -1]
    return count > 0 and x.stored.attrs.get(STEPS) == count and channels % count == 0


def _places(inside: Hdf5File) -> Iterator[_Place]:
    for path in sorted(inside.groups):
        folder, _, name = path.rpartition("/")
        if folder == PLACES:
            yield _Place(name, path, dict(_starts(inside, path)))


def _starts(inside: Hdf5File, path: str) -> Iterator[tuple[str, NDArray[np.int64] | None]]:
    """Yield each array of a set of points with the offsets of its samples (None if shared)."""
    arrays = inside.below(path)
    if "points" not in arrays or len(arrays["points"].shape) != 2:
        raise _damaged(inside, f"`{path}/points` is not there, or not (points, d)")
    per_sample = "offsets" in arrays
    yield "points", _offsets(inside, f"{path}/offsets", arrays["points"], 1) if per_sample else None
    for key, name in LISTS.items():
        if key in arrays and per_sample and name not in arrays:
            raise _damaged(inside, f"`{path}/{key}` has no `{name}`")
        if key in arrays:
            yield key, _offsets(inside, f"{path}/{name}", arrays[key], 0) if per_sample else None


def _offsets(inside: Hdf5File, path: str, of: Hdf5Array, least: int) -> NDArray[np.int64]:
    """Read offsets that rise from 0 to the length of `of`, by at least `least` for each sample."""
    values = inside.span(path)
    if values.ndim != 1 or values.dtype.kind not in "iu" or len(values) < 2:
        raise _damaged(inside, f"`{path}` is no row of whole numbers")
    offsets = values.astype(np.int64)
    sizes = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != of.shape[0] or sizes.min() < 0:
        raise _damaged(inside, f"`{path}` does not rise from 0 to {of.shape[0]}")
    if sizes.min() < least:
        message = f"sample {int(sizes.argmin())} has no points (`{path}`)"
        helps = ("leave such samples out of the file",)
        raise fault("OP0613", message, helps=helps, file=inside.source)
    return offsets


def _entry(
    inside: Hdf5File, name: str, stored: Hdf5Array, places: Mapping[str, _Place], count: int
) -> _Entry:
    """Make the entry of a field; its shape must agree with its attributes."""
    domain, axes = stored.attrs.get("domain"), stored.attrs.get("axes")
    if isinstance(domain, str) and domain in places:
        entry = _Entry(name, stored, places[domain])
        shape = _on_points(inside, places[domain], count)
    elif domain is None and isinstance(axes, list):
        entry = _Entry(name, stored, None, tuple(str(x) for x in axes))
        shape = (count, *[None] * (1 + len(axes)))
    else:
        message = f"`{FIELDS}/{name}` tells neither a `domain` of the file nor its `axes`"
        raise _damaged(inside, message, f"the places are {', '.join(places) or 'none'}")
    _agree(inside, entry, shape)
    return entry


def _on_points(inside: Hdf5File, place: _Place, count: int) -> tuple[int | None, ...]:
    """Expected shape of a field on a set of points; None stands for any number."""
    total = inside.arrays[f"{place.path}/points"].shape[0]
    starts = place.points
    if starts is not None and len(starts) - 1 != count:
        message = f"`{place.path}` has {len(starts) - 1} samples, and other parts {count}"
        raise fault("OP0613", message, file=inside.source)
    return (count, total, None) if starts is None else (total, None)


def _agree(inside: Hdf5File, x: _Entry, wanted: Sequence[int | None]) -> None:
    have = x.stored.shape
    fits = len(have) == len(wanted) and all(
        n in (None, m) for n, m in zip(wanted, have, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if n is None else str(n) for n in wanted)
        message = f"`{x.path}` has the shape {have}, and ({expected}) is expected"
        raise fault("OP0613", message, file=inside.source)


def _values(inside: Hdf5File, x: _Entry, rows: int) -> Values:
    """Read values as (samples, channels, *grid), (samples, channels, points), or packed."""
    if x.place is None:
        return torch.from_numpy(inside.read(x.path, range(rows)))
    starts = x.place.points
    if starts is None:
        return torch.from_numpy(inside.read(x.path, range(rows))).movedim(1, -1).contiguous()
    flat = torch.from_numpy(inside.span(x.path, 0, int(starts[rows])))
    return Packed(flat.T.contiguous()[None], tuple(np.diff(starts[: rows + 1]).tolist()))


def _placed(inside: Hdf5File, place: _Place, rows: int) -> Geometries:
    """Read the geometries of the first `rows` samples."""
    arrays = inside.below(place.path)
    starts = {"points": place.points} | {k: s for k, s in place.starts.items() if k in LISTS}
    starts |= {"weights": place.points} if "weights" in arrays else {}
    parts = {k: _split(inside, f"{place.path}/{k}", s, rows) for k, s in starts.items()}
    try:
        arguments = [dict(zip(parts, x, strict=True)) for x in zip(*parts.values(), strict=True)]
        return tuple(Geometry(**x) for x in arguments)
    except OpError as error:
        raise _damaged(inside, error.diagnostics[0].message) from error


def _split(
    inside: Hdf5File, path: str, starts: NDArray[np.int64] | None, rows: int
) -> Sequence[Tensor]:
    """Read an array and split it into the parts of the samples, or the one that they share."""
    values = torch.from_numpy(inside.span(path, 0, None if starts is None else int(starts[rows])))
    values = values.long() if values.dtype in WHOLE else values
    return (
        (values,) if starts is None else torch.split(values, np.diff(starts[: rows + 1]).tolist())
    )


def _role(stored: Hdf5Array) -> Role:
    role = stored.attrs.get(ROLE)
    return cast("Role", role) if role in ("input", "output") else "unknown"


def _damaged(inside: Hdf5File, message: str, *helps: str) -> OpError:
    hints = helps or ("`opdsl.data.io.formats.points` describes the layout and writes it",)
    return fault(
        "OP0610", f"the file of points is damaged: {message}", helps=hints, file=inside.source
    )


# --------------------------------------------------------------------------------------- writing


def _arrays(raw: FileFields, name: str, path: Path) -> dict[str, NDArray[Any]]:
    """Collect the arrays of a set of points by name, as they are stored."""
    geometries, shared = raw.places[name], _shared(raw, name)
    if not shared and len(geometries) == 1:
        geometries = geometries * len(raw)
    tensors = {"points": torch.cat([x.points for x in geometries])}
    starts = {} if shared else {"offsets": [len(x) for x in geometries]}
    for key in ("weights", *LISTS):
        parts = [getattr(x, key) for x in geometries]
        if any(x is None for x in parts):
            _all_lack(name, key, parts, path)
            continue
        tensors[key] = torch.cat(parts)
        if key in LISTS and not shared:
            starts[LISTS[key]] = [len(x) for x in parts]
    arrays = {k: x.detach().cpu().numpy() for k, x in tensors.items()}
    return arrays | {k: np.concatenate(([0], np.cumsum(x))) for k, x in starts.items()}


def _shared(raw: FileFields, name: str) -> bool:
    """Whether all samples share the points of a set."""
    on_it = [x for k, x in raw.values.items() if raw.homes.get(k) == name]
    return len(raw.places[name]) == 1 and not any(isinstance(x, Packed) for x in on_it)


def _all_lack(name: str, key: str, parts: Sequence[Tensor | None], path: Path) -> None:
    if any(x is not None for x in parts):
        first = next(i for i, x in enumerate(parts) if x is None)
        message = f"sample {first} has no `{key}` on `{name}`, and others have"
        raise fault("OP0613", message, helps=("give them for all or for none",), file=str(path))


def _array(x: Values, *, on_points: bool) -> NDArray[Any]:
    """Convert a field to its stored layout, with the channels last on points."""
    if isinstance(x, Packed):
        x = x.values[0].T
    elif on_points:
        x = x.movedim(1, -1)
    array: NDArray[Any] = x.detach().cpu().contiguous().numpy()
    return array


def _attributes(raw: FileFields, name: str, x: Values) -> dict[str, Any]:
    known: dict[str, Any] = {} if raw.roles[name] == "unknown" else {ROLE: raw.roles[name]}
    known |= {STEPS: len(raw.times[name])} if name in raw.times else {}
    if name in raw.homes:
        return known | {"domain": raw.homes[name]}
    assert isinstance(x, Tensor)
    count = x.ndim - 2
    axes = raw.axes if len(raw.axes) == count else AXES[:count]
    return known | {"axes": list(axes)}


FORMAT = Format(
    "HDF5 with functions on points, as `opdsl.data.io.formats.points` lays it out, can be read",
    """HDF5 for functions on points, graphs and meshes, and on a grid beside them:

    /                   opdsl_points = 1, dataset_name, and what else the writer wants to tell
    /geometry/P         a group for each set of points, named as the domain
      points            (total, d), the samples one after the other
      offsets           (samples + 1,), from 0 to total: where each sample begins; without it all
                        samples share the points
      weights           (total,), the length, area or volume that each point stands for; optional
      cells             (total cells, k), the corners of each, numbered from 0 in each sample;
      cell_offsets      (samples + 1,), if there are offsets
      edges             (total edges, 2), from point to point, numbered likewise; optional
      edge_offsets      (samples + 1,), if there are offsets
    /fields/f           on points: the attribute `domain` = "P", values (total, channels), or
                        (samples, n, channels) where the samples share n points;
                        on a grid: the attribute `axes` = ["x", "y"], (samples, channels, *grid);
                        either: `opdsl_role` = "input" or "output"; `steps` = T where the
                        channels are T times the components, the times first
    /times              (T,), the times of such fields
    """,
    _matches,
    read,
)
