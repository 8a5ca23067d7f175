"""`open_dataset`: one door for every kind of data file, which it knows by its content.

What comes in: a path as the user wrote it. What goes out: `Fields`. A file is untrusted: opening
it runs no code, reads no other file and makes nothing larger than it stores.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from opdsl.data.bind.samples import Fields
from opdsl.data.bind.suspects import suspects
from opdsl.data.derive.coarsen import Resolution
from opdsl.data.io import mesh_set, pairs, points, well
from opdsl.data.io.file_fields import Raw
from opdsl.data.io.meshes import FORMATS, natural
from opdsl.data.io.safe_h5 import opened
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.nn.points.batch import Values, all_values, concat_samples, split_samples
from opdsl.nn.points.geometry import Geometries
from opdsl.nn.points.packed import Packed

SPLITS = ("train", "valid", "test")
SUFFIXES = (".h5", ".hdf5")
HDF5 = b"\x89HDF\r\n\x1a\n"
HDF5_STARTS = (0, 512, 1024, 2048)  # a user block of a power of two may come first
PEEK = HDF5_STARTS[-1] + len(HDF5)

Read = Callable[[Path, str, Resolution | None, int | None], Raw]


def open_dataset(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    resolution: Resolution | None = None,
    samples: int | None = None,
    alone: int | None = None,
) -> Fields:
    """The fields of a data set.

    Args:
        path: a file (The Well's HDF5; ours for points, see `points`; a dictionary with `x` and
            `y` in .pt or .npz; a list of dictionaries in .pt; a mesh, which is one sample), a
            folder of meshes, or a folder `NAME` with `NAME/data/{train,valid,test}/*.hdf5`.
        split: which part of a folder, `train` if not given; a single file has no parts.
        resolution: keep every k-th point only; one integer stands for all axes.
        samples: keep the first ones only.
        alone: where outputs need not be there, the axes of the grid of inputs: nothing else tells
            channels from axes in a .pt or .npz.

    Raises:
        OpError: OP0604 less than one sample; OP0610 nothing readable, or fewer samples than asked
            for; OP0614 no such resolution; OP0615 the file points outside itself.
    """
    source = str(path)
    if samples is not None and samples < 1:
        raise fault("OP0604", f"{samples} samples were asked for; at least one is needed")
    files = _files(Path(path), split, source)
    raws = _read_all(files, source, resolution, samples, alone)
    first = raws[0]
    places = {k: _whereabouts(raws, k) for k in first.places}
    values = {k: _together(raws, k, places) for k in first.values}
    grid = next(
        (x.shape[2:] for k, x in values.items() if isinstance(x, Tensor) and k not in first.homes),
        (),
    )
    return Fields(
        name=first.name,
        values=values,
        roles=dict(first.roles),
        axes=first.axes,
        resolution=tuple(grid),
        suspects=suspects(values, first.roles),
        source=source,
        fingerprint=fingerprint(values, places),
        layout=first.layout,
        places=places,
        homes=first.homes,
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """A data set of which some samples are in memory at a time.

    Attributes:
        count: all samples.
        pieces: so many of them at a time, once; without fingerprint and suspects.
    """

    count: int
    pieces: Iterator[Fields]


def stream_dataset(
    path: str | PathLike[str], *, split: str | None = None, size: int, alone: int | None = None
) -> Stream:
    """The fields of a data set, `size` samples at a time.

    HDF5 as The Well lays it out, .npz and .pt are read piece by piece; what has points, a list of
    dictionaries and a .pt of the old format is one piece.

    Args:
        path: as for `open_dataset`.
        split: the same.
        size: samples at a time; fewer at the end of each file.
        alone: as for `open_dataset`.

    Raises:
        OpError: as `open_dataset`, for what is in a piece when it is taken.
    """
    source = str(path)
    files = _files(Path(path), split, source)
    names = [source if len(files) == 1 else str(x) for x in files]
    parts = [_stream(x, name, size, alone) for x, name in zip(files, names, strict=True)]
    found = [x for x in parts if x is not None]
    if len(found) < len(parts) or not any(count for count, _ in found):
        whole = open_dataset(path, split=split, alone=alone)
        return Stream(len(next(iter(whole.values.values()), ())), iter((whole,)))
    return Stream(sum(count for count, _ in found), _pieces(found, names, source))


def _stream(path: Path, name: str, size: int, alone: int | None) -> pairs.Pieces | None:
    """The samples of one file, if it can be read piece by piece."""
    read = _reader(path, name)
    if read is _read_h5:
        return _stream_h5(path, name, size)
    if read is pairs.read_pt:
        return pairs.stream_pt(path, name, size, alone)
    return pairs.stream_npz(path, name, size, alone) if read is pairs.read_npz else None


def _stream_h5(path: Path, name: str, size: int) -> pairs.Pieces | None:
    with opened(path, source=name) as inside:
        if points.marked(inside):
            return None
        count = well.count(inside)

    def pieces() -> Iterator[Raw]:
        with opened(path, source=name) as inside:
            for first in range(0, count, size):
                yield well.read(inside, path.stem, None, size, first)

    return count, pieces()


def _pieces(parts: Sequence[pairs.Pieces], names: Sequence[str], source: str) -> Iterator[Fields]:
    """The pieces of all files, each like the first."""
    first: Raw | None = None
    start = 0
    for (_, raws), name in zip(parts, names, strict=True):
        for raw in raws:
            first = first or raw
            _same(first, raw, name)
            yield _piece(raw, source, start)
            start += len(raw)


def _piece(raw: Raw, source: str, start: int) -> Fields:
    grid = next((all_values(x).shape[2:] for x in raw.values.values()), ())
    return Fields(
        name=raw.name,
        values=dict(raw.values),
        roles=dict(raw.roles),
        axes=raw.axes,
        resolution=tuple(grid),
        suspects=(),
        source=source,
        fingerprint="",
        layout=raw.layout,
        start=start,
    )


def fingerprint(
    values: Mapping[str, Values], places: Mapping[str, Geometries] | None = None
) -> str:
    """SHA-256 of the names, number formats, shapes and bytes of fields, whatever their order.

    Where there are points, of their coordinates too, and of how many each sample has.
    """
    digest = hashlib.sha256()
    for name in sorted(values):
        x = values[name]
        if isinstance(x, Packed):
            digest.update(f"{x.sizes}|".encode())
            x = x.values
        x = x.contiguous()
        digest.update(f"{name}|{x.dtype}|{tuple(x.shape)}|".encode())
        digest.update(x.reshape(-1).view(torch.uint8).numpy().data)
    for name, placed in sorted((places or {}).items()):
        digest.update(name.encode() + b"".join(x.key for x in placed))
    return digest.hexdigest()


def _read_all(
    files: Sequence[Path],
    source: str,
    resolution: Resolution | None,
    samples: int | None,
    alone: int | None,
) -> list[Raw]:
    """As many files as the samples need, each like the first."""
    raws: list[Raw] = []
    got = 0
    for file in files:
        name = source if len(files) == 1 else str(file)
        left = None if samples is None else samples - got
        read = _reader(file, name)
        if read in {pairs.read_pt, pairs.read_npz}:
            read = partial(read, alone=alone)
        raws.append(read(file, name, resolution, left))
        _same(raws[0], raws[-1], name)
        got += len(raws[-1])
        if samples is not None and got >= samples:
            return raws
    if samples is not None or not got:
        asked = f"{samples} were asked for" if samples else "at least one is needed"
        raise fault("OP0610", f"the data hold {got} samples, {asked}", file=source)
    return raws


def _same(first: Raw, other: Raw, source: str) -> None:
    """Files of one set have the same fields on the same grid."""
    for what, a, b in (
        ("fields", _shapes(first), _shapes(other)),
        ("roles", first.roles, other.roles),
        ("axes", first.axes, other.axes),
        ("points", _points(first), _points(other)),
    ):
        if a != b:
            raise fault(
                "OP0610",
                f"the {what} differ from those of the first file of the set",
                notes=(f"here {b}, there {a}",),
                file=source,
            )


def _shapes(raw: Raw) -> dict[str, tuple[int, ...]]:
    """Channels and grid of each field; channels alone where it is on points."""
    return {
        k: tuple(x.shape[1:]) if isinstance(x, Tensor) and k not in raw.homes else (_channels(x),)
        for k, x in raw.values.items()
    }


def _channels(x: Values) -> int:
    return x.channels if isinstance(x, Packed) else x.shape[1]


def _points(raw: Raw) -> tuple[dict[str, int], dict[str, str]]:
    """In how many dimensions the points of each set lie, and which fields are on it."""
    return {k: x[0].points.shape[1] for k, x in raw.places.items()}, dict(raw.homes)


def _whereabouts(raws: Sequence[Raw], name: str) -> Geometries:
    """The points of all samples; one geometry if the files agree on one for all of theirs."""
    first = raws[0].places[name]
    shared = all(len(x.places[name]) == 1 and x.places[name][0].key == first[0].key for x in raws)
    if shared and not any(isinstance(x, Packed) for r in raws for x in _on(r, name)):
        return first
    return tuple(
        y for r in raws for y in r.places[name] * (len(r) if len(r.places[name]) == 1 else 1)
    )


def _on(raw: Raw, name: str) -> Iterator[Values]:
    """The functions on a set of points."""
    return (x for k, x in raw.values.items() if raw.homes.get(k) == name)


def _together(raws: Sequence[Raw], name: str, places: Mapping[str, Geometries]) -> Values:
    """One field of all files; packed where each sample has points of its own."""
    parts = [x.values[name] for x in raws]
    home = raws[0].homes.get(name)
    if home is not None and len(places[home]) > 1:
        return Packed.of(y for x in parts for y in split_samples(x))
    return concat_samples(parts)


def _files(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    """The files that make up a data set, in the order of their names."""
    try:
        if path.is_dir():
            return _in_folder(path, split, source)
        kind = "file" if path.is_file() else "special file" if path.exists() else None
    except OSError as error:
        raise _unopened(error, source) from error
    if kind is None:
        raise _nothing_there(path, source)
    if kind != "file":
        raise _unreadable("it is neither a file nor a folder", source)
    if split is not None:
        raise _unreadable(
            f"a single file has no part `{split}`", source, "name the file of that part itself"
        )
    return (path,)


def _in_folder(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    own = _held(path)
    if own and split is None:
        return own
    for home in (path / "data", path):
        there = {s: files for s in SPLITS if (files := _held(home / s))}
        if there and (wanted := split or next(iter(there))) in there:
            return there[wanted]
        if there:
            raise _unreadable(
                f"the folder has no part `{wanted}`, only {', '.join(there)}",
                source,
                *did_you_mean(wanted, there),
            )
    raise _unreadable(
        "no data in this folder",
        source,
        "expected NAME/data/train/*.hdf5 (and valid, test), or the path of one file",
    )


def _held(folder: Path) -> tuple[Path, ...]:
    """The HDF5 files in a folder; if there are none, its meshes."""
    if not folder.is_dir():
        return ()
    files = [f for f in folder.iterdir() if f.is_file()]
    meshes = sorted((f for f in files if f.suffix.lower() in FORMATS), key=natural)
    return tuple(sorted(f for f in files if f.suffix in SUFFIXES) or meshes)


def _reader(path: Path, source: str) -> Read:
    """Which reader a file needs, by its first bytes; meshes have none in common, but endings."""
    try:
        with path.open("rb") as file:
            head = file.read(PEEK)
        if any(head[i : i + len(HDF5)] == HDF5 for i in HDF5_STARTS):
            return _read_h5
        if head.startswith(b"PK\x03\x04"):
            return _zipped(path, source)
    except OSError as error:
        raise _unopened(error, source) from error
    if head.startswith((b"\x80\x02", b"\x80\x04", b"\x80\x05")):
        return pairs.read_pt
    if path.suffix.lower() in FORMATS:
        return mesh_set.read
    raise _unreadable(_met(head), source)


def _read_h5(path: Path, source: str, resolution: Resolution | None, samples: int | None) -> Raw:
    """HDF5, as it says that it is laid out."""
    with opened(path, source=source) as inside:
        read = points.read if points.marked(inside) else well.read
        return read(inside, path.stem, resolution, samples)


def _zipped(path: Path, source: str) -> Read:
    try:
        with zipfile.ZipFile(path) as held:
            names = held.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _unreadable("the file is damaged or incomplete", source) from error
    if any(n.endswith("data.pkl") for n in names):
        return pairs.read_pt
    if names and all(n.endswith(".npy") for n in names):
        return pairs.read_npz
    raise _unreadable("it is a zip archive without tensors or arrays", source)


def _met(head: bytes) -> str:
    """What a file that we cannot read seems to be."""
    known = {
        b"": "the file is empty",
        b"\x93NUMPY": "it is a single NumPy array: save input and output with numpy.savez(x=, y=)",
        b"MATLAB 5.0": "it is a MATLAB file: save its arrays with numpy.savez(x=, y=)",
        b"CDF\x01": "it is a NetCDF 3 file",
        b"CDF\x02": "it is a NetCDF 3 file",
        b"\x1f\x8b": "it is compressed with gzip: unpack it first",
    }
    if not head:
        return known[b""]
    found = (text for magic, text in known.items() if magic and head.startswith(magic))
    return next(found, f"the format is unknown (it begins with {head[:8]!r})")


def _nothing_there(path: Path, source: str) -> OpError:
    near: tuple[str, ...] = ()
    if path.parent.is_dir():
        near = did_you_mean(path.name, (f.name for f in path.parent.iterdir()))
    return fault("OP0610", "there is no such file or folder", helps=near or _READABLE, file=source)


_READABLE = (
    "HDF5 as The Well lays it out (.hdf5, .h5, or a folder of them) can be read",
    "HDF5 with functions on points, as `opdsl.data.io.points` lays it out, can be read",
    "a dictionary with `x` and `y` saved by torch (.pt) or numpy.savez (.npz) can be read",
    f"a mesh ({', '.join(FORMATS)}) can be read, or a folder of them",
)


def _unopened(error: OSError, source: str) -> OpError:
    return _unreadable(f"it cannot be opened: {error.strerror or error}", source)


def _unreadable(message: str, source: str, *helps: str) -> OpError:
    return fault("OP0610", message, helps=helps or _READABLE, file=source)
