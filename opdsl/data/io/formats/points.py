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
from opdsl.data.io.hdf5_writing import new_hdf5, write_errors
from opdsl.data.io.safe_h5 import Hdf5Array, Hdf5File
from opdsl.diagnostics import OpError, fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries, Geometry
from opdsl.nn.points.packed import Packed

AXES = ("x", "y", "z", "t")
MARK, VERSION = "opdsl_points", 1
ROLE = "opdsl_role"
PLACES, FIELDS = "geometry", "fields"
WHOLE = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
LISTS = {"cells": "cell_offsets", "edges": "edge_offsets"}  # what is counted apart from the points


def write(
    path: Path, raw: FileFields, *, parameters: Mapping[str, str | int | float] | None = None
) -> None:
    """A file that `read` reads as `raw`; it appears whole or not at all.

    Args:
        raw: its fields on points have a home, which has a place.
        parameters: what the samples were made with; one attribute of the root for each.

    Raises:
        OpError: OP0625, the file cannot be written; OP0613, some samples have cells or edges and
            others have none.
    """
    told = {k: _arrays(raw, k, path) for k in raw.places}
    with new_hdf5(path) as file, write_errors(path):
        file.attrs.update({MARK: VERSION, "dataset_name": raw.name, **(parameters or {})})
        file.create_group(FIELDS)
        for name, arrays in told.items():
            group = file.create_group(f"{PLACES}/{name}")
            for key, values in arrays.items():
                group[key] = values
        for name, x in raw.values.items():
            made = file[FIELDS].create_dataset(name, data=_array(x, on_points=name in raw.homes))
            made.attrs.update(_attributes(raw, name, x))


def _matches(file: DataFile) -> bool:
    return file.container == "hdf5" and MARK in file.hdf5.groups[""]


def read(file: DataFile, options: ReadOptions) -> FileFields:
    """The point sets and fields of a file; its name is that of the set if it tells none.

    Raises:
        OpError: OP0610, OP0613 a sample without points, OP0614 a resolution is asked for.
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
    return FileFields(
        name=str(inside.groups[""].get("dataset_name") or file.path.stem),
        values=values,
        roles={x.name: _role(x.stored) for x in entries},
        axes=next(grids, ()),
        layout="periodic",
        places={k: _placed(inside, x, rows) for k, x in places.items()},
        homes={x.name: x.place.name for x in entries if x.place is not None},
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A set of points in the file.

    Attributes:
        path: of its group.
        starts: `points`, `cells`, `edges`, as far as there are some -> where each sample begins;
            None where the samples share them.
    """

    name: str
    path: str
    starts: Mapping[str, NDArray[np.int64] | None]

    @property
    def points(self) -> NDArray[np.int64] | None:
        """Where the points of each sample begin."""
        return self.starts["points"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A field in the file: on a place, or on a grid of these axes."""

    name: str
    stored: Hdf5Array
    place: _Place | None
    axes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{FIELDS}/{self.name}"


# --------------------------------------------------------------------------------------- reading


def _refuse(inside: Hdf5File, resolution: Resolution | None) -> None:
    version = inside.groups[""][MARK]
    if version != VERSION:
        helps = ("it may be of a newer version of this program",)
        raise _damaged(inside, f"its layout is `{MARK}` = {version}, not {VERSION}", *helps)
    refuse_on_points(resolution, inside.source)


def _count(inside: Hdf5File, fields: Mapping[str, Hdf5Array]) -> int:
    """How many samples there are, by the first that tells."""
    offsets = (x for k, x in inside.arrays.items() if k.endswith("/offsets"))
    told = next(offsets, None)
    if told is not None and told.shape:
        return told.shape[0] - 1
    return next((x.shape[0] for x in fields.values() if x.shape), 1)


def _places(inside: Hdf5File) -> Iterator[_Place]:
    for path in sorted(inside.groups):
        folder, _, name = path.rpartition("/")
        if folder == PLACES:
            yield _Place(name, path, dict(_starts(inside, path)))


def _starts(inside: Hdf5File, path: str) -> Iterator[tuple[str, NDArray[np.int64] | None]]:
    """What a place has, and where each sample begins in it."""
    held = inside.below(path)
    if "points" not in held or len(held["points"].shape) != 2:
        raise _damaged(inside, f"`{path}/points` is not there, or not (points, d)")
    each = "offsets" in held
    yield "points", _offsets(inside, f"{path}/offsets", held["points"], 1) if each else None
    for key, name in LISTS.items():
        if key in held and each and name not in held:
            raise _damaged(inside, f"`{path}/{key}` has no `{name}`")
        if key in held:
            yield key, _offsets(inside, f"{path}/{name}", held[key], 0) if each else None


def _offsets(inside: Hdf5File, path: str, of: Hdf5Array, least: int) -> NDArray[np.int64]:
    """Numbers that rise from 0 to all entries, in each sample by `least` at least."""
    found = inside.span(path)
    if found.ndim != 1 or found.dtype.kind not in "iu" or len(found) < 2:
        raise _damaged(inside, f"`{path}` is no row of whole numbers")
    offsets = found.astype(np.int64)
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
    """A field whose shape is what its attributes promise."""
    domain, axes = stored.attrs.get("domain"), stored.attrs.get("axes")
    if isinstance(domain, str) and domain in places:
        found = _Entry(name, stored, places[domain])
        wanted = _on_points(inside, places[domain], count)
    elif domain is None and isinstance(axes, list):
        found = _Entry(name, stored, None, tuple(str(x) for x in axes))
        wanted = (count, *[None] * (1 + len(axes)))
    else:
        message = f"`{FIELDS}/{name}` tells neither a `domain` of the file nor its `axes`"
        raise _damaged(inside, message, f"the places are {', '.join(places) or 'none'}")
    _agree(inside, found, wanted)
    return found


def _on_points(inside: Hdf5File, place: _Place, count: int) -> tuple[int | None, ...]:
    """The shape of a field on a place; None: any number."""
    total = inside.arrays[f"{place.path}/points"].shape[0]
    starts = place.points
    if starts is not None and len(starts) - 1 != count:
        message = f"`{place.path}` has {len(starts) - 1} samples, and other parts {count}"
        raise fault("OP0613", message, file=inside.source)
    return (count, total, None) if starts is None else (total, None)


def _agree(inside: Hdf5File, x: _Entry, wanted: Sequence[int | None]) -> None:
    met = x.stored.shape
    fits = len(met) == len(wanted) and all(n in (None, m) for n, m in zip(wanted, met, strict=True))
    if not fits:
        told = ", ".join("any" if n is None else str(n) for n in wanted)
        message = f"`{x.path}` has the shape {met}, and ({told}) is expected"
        raise fault("OP0613", message, file=inside.source)


def _values(inside: Hdf5File, x: _Entry, rows: int) -> Values:
    """(samples, channels, *grid), (samples, channels, points), or packed."""
    if x.place is None:
        return torch.from_numpy(inside.read(x.path, rows))
    starts = x.place.points
    if starts is None:
        return torch.from_numpy(inside.read(x.path, rows)).movedim(1, -1).contiguous()
    flat = torch.from_numpy(inside.span(x.path, 0, int(starts[rows])))
    return Packed(flat.T.contiguous()[None], tuple(np.diff(starts[: rows + 1]).tolist()))


def _placed(inside: Hdf5File, place: _Place, rows: int) -> Geometries:
    """Where the points of the first samples are."""
    held = inside.below(place.path)
    starts = {"points": place.points} | {k: s for k, s in place.starts.items() if k in LISTS}
    starts |= {"weights": place.points} if "weights" in held else {}
    parts = {k: _split(inside, f"{place.path}/{k}", s, rows) for k, s in starts.items()}
    try:
        made = [dict(zip(parts, x, strict=True)) for x in zip(*parts.values(), strict=True)]
        return tuple(Geometry(**x) for x in made)
    except OpError as error:
        raise _damaged(inside, error.diagnostics[0].message) from error


def _split(
    inside: Hdf5File, path: str, starts: NDArray[np.int64] | None, rows: int
) -> Sequence[Tensor]:
    """The part of each sample, or the only one."""
    found = torch.from_numpy(inside.span(path, 0, None if starts is None else int(starts[rows])))
    found = found.long() if found.dtype in WHOLE else found
    return (found,) if starts is None else torch.split(found, np.diff(starts[: rows + 1]).tolist())


def _role(stored: Hdf5Array) -> Role:
    told = stored.attrs.get(ROLE)
    return cast("Role", told) if told in ("input", "output") else "unknown"


def _damaged(inside: Hdf5File, message: str, *helps: str) -> OpError:
    told = helps or ("`opdsl.data.io.formats.points` describes the layout and writes it",)
    return fault(
        "OP0610", f"the file of points is damaged: {message}", helps=told, file=inside.source
    )


# --------------------------------------------------------------------------------------- writing


def _arrays(raw: FileFields, name: str, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a place by their names."""
    placed, shared = raw.places[name], _shared(raw, name)
    if not shared and len(placed) == 1:
        placed = placed * len(raw)
    made = {"points": torch.cat([x.points for x in placed])}
    starts = {} if shared else {"offsets": [len(x) for x in placed]}
    for key in ("weights", *LISTS):
        parts = [getattr(x, key) for x in placed]
        if any(x is None for x in parts):
            _all_lack(name, key, parts, path)
            continue
        made[key] = torch.cat(parts)
        if key in LISTS and not shared:
            starts[LISTS[key]] = [len(x) for x in parts]
    arrays = {k: x.detach().cpu().numpy() for k, x in made.items()}
    return arrays | {k: np.concatenate(([0], np.cumsum(x))) for k, x in starts.items()}


def _shared(raw: FileFields, name: str) -> bool:
    """Whether all samples have the points of a place."""
    on_it = [x for k, x in raw.values.items() if raw.homes.get(k) == name]
    return len(raw.places[name]) == 1 and not any(isinstance(x, Packed) for x in on_it)


def _all_lack(name: str, key: str, parts: Sequence[Tensor | None], path: Path) -> None:
    if any(x is not None for x in parts):
        first = next(i for i, x in enumerate(parts) if x is None)
        message = f"sample {first} has no `{key}` on `{name}`, and others have"
        raise fault("OP0613", message, helps=("give them for all or for none",), file=str(path))


def _array(x: Values, *, on_points: bool) -> NDArray[Any]:
    """A field as it is stored, the channels last on points."""
    if isinstance(x, Packed):
        x = x.values[0].T
    elif on_points:
        x = x.movedim(1, -1)
    found: NDArray[Any] = x.detach().cpu().contiguous().numpy()
    return found


def _attributes(raw: FileFields, name: str, x: Values) -> dict[str, Any]:
    role = {} if raw.roles[name] == "unknown" else {ROLE: raw.roles[name]}
    if name in raw.homes:
        return role | {"domain": raw.homes[name]}
    assert isinstance(x, Tensor)
    count = x.ndim - 2
    axes = raw.axes if len(raw.axes) == count else AXES[:count]
    return role | {"axes": list(axes)}


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
                        either: `opdsl_role` = "input" or "output"
    """,
    _matches,
    read,
)
