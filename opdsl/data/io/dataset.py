"""`open_dataset` and `stream_dataset`: the fields of a data set, whatever its format.

Files are untrusted: opening one runs no code, reads no other file and makes nothing larger than it
stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from torch import Tensor

from opdsl.data.arrays.containers.rows import listing_note
from opdsl.data.arrays.formats import FORMATS as ARRAY_FORMATS
from opdsl.data.arrays.reading import open_arrays
from opdsl.data.bind.samples import Fields
from opdsl.data.bind.suspects import suspects
from opdsl.data.derive.coarsen import Layout, Resolution
from opdsl.data.io.data_file import DataFile, open_data_file
from opdsl.data.io.file_fields import FileFields
from opdsl.data.io.formats import FORMATS, Format, Pieces, ReadOptions
from opdsl.data.io.joining import fingerprint, join_points, join_values, refuse_other_layout
from opdsl.data.io.locate import data_files, unopened, unreadable
from opdsl.data.io.unknown_layout import STATE_FIELDS, UnknownLayoutError, unknown_layout
from opdsl.diagnostics import Help, OpError, fault
from opdsl.nn.points.batch import Values, all_values

NOT_STATED = "which arrays are inputs and outputs is not stated"


def open_dataset(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    resolution: Resolution | None = None,
    samples: int | None = None,
    alone: int | None = None,
    layout: Layout | None = None,
) -> Fields:
    """Read the fields of a data set.

    Args:
        path: a file of any format in `opdsl.data.io.formats`, a folder of meshes, or a folder
            `NAME` with `NAME/data/{train,valid,test}/*.hdf5`.
        split: which part of a folder; the first of train, valid, test if None. A file has no parts.
        resolution: keep every k-th point only; one integer stands for all axes.
        samples: keep the first ones only.
        alone: number of grid axes of inputs, for files that need not have outputs: nothing else
            distinguishes channels from axes in a .pt or .npz.
        layout: where the points are, if a file does not state it; unknown if None.

    Raises:
        OpError: OP0604 less than one sample; OP0610 nothing readable, or fewer samples than asked
            for; OP0614 no such resolution; OP0615 the file points outside itself.
    """
    source = str(path)
    if samples is not None and samples < 1:
        raise fault("OP0604", f"{samples} samples were asked for; at least one is needed")
    files = data_files(Path(path), split, source)
    parts = _read_all(files, source, ReadOptions(resolution, samples, alone, layout))
    first = parts[0]
    places = {k: join_points(parts, k) for k in first.places}
    values = {k: join_values(parts, k, places) for k in first.values}
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
        coordinates=first.coordinates,
        times=first.times,
        orders=first.orders,
    )


@dataclass(frozen=True, slots=True)
class Stream:
    """A data set that is read in pieces of some samples.

    Attributes:
        count: number of all samples.
        pieces: iterator over the pieces, usable once; they have no fingerprint and no suspects.
    """

    count: int
    pieces: Iterator[Fields]


def stream_dataset(
    path: str | PathLike[str], *, split: str | None = None, size: int, alone: int | None = None
) -> Stream:
    """Read the fields of a data set, `size` samples at a time.

    HDF5 as The Well lays it out, .npz and .pt are read piece by piece. Data on points, lists of
    dictionaries and .pt files of the old format are one piece.

    Args:
        path: as for `open_dataset`.
        split: as for `open_dataset`.
        size: samples at a time; fewer at the end of each file.
        alone: as for `open_dataset`.

    Raises:
        OpError: as `open_dataset`; faults of a piece are raised when it is read.
    """
    source = str(path)
    files = data_files(Path(path), split, source)
    names = [source if len(files) == 1 else str(x) for x in files]
    parts = [_stream(x, name, size, alone) for x, name in zip(files, names, strict=True)]
    streams = [x for x in parts if x is not None]
    if len(streams) < len(parts) or not any(count for count, _ in streams):
        whole = open_dataset(path, split=split, alone=alone)
        return Stream(len(next(iter(whole.values.values()), ())), iter((whole,)))
    return Stream(sum(count for count, _ in streams), _pieces(streams, names, source))


def _stream(path: Path, source: str, size: int, alone: int | None) -> Pieces | None:
    """Stream the samples of one file; None if it cannot be read piece by piece."""
    try:
        with open_data_file(path, source) as file:
            form = format_of(file)
            return None if form.stream is None else form.stream(file, size, alone)
    except UnknownLayoutError as error:
        raise _with_listing(error, path, source) from error
    except OSError as error:
        raise unopened(error, source) from error


def _pieces(parts: Sequence[Pieces], names: Sequence[str], source: str) -> Iterator[Fields]:
    """Chain the pieces of all files; their layouts must agree with the first."""
    first: FileFields | None = None
    start = 0
    for (_, pieces), name in zip(parts, names, strict=True):
        for piece in pieces:
            first = first or piece
            refuse_other_layout(first, piece, name)
            yield fields_of(piece, source, start)
            start += len(piece)


def fields_of(
    part: FileFields, source: str, start: int, values: Mapping[str, Values] | None = None
) -> Fields:
    """Return some samples of a file as fields without a fingerprint; or these values of them."""
    values = part.values if values is None else values
    grid = next((all_values(x).shape[2:] for x in values.values()), ())
    return Fields(
        name=part.name,
        values=dict(values),
        roles=dict(part.roles),
        axes=part.axes,
        resolution=tuple(grid),
        suspects=(),
        source=source,
        fingerprint="",
        layout=part.layout,
        start=start,
        coordinates=part.coordinates,
        times=part.times,
        orders=part.orders,
    )


def _read_all(files: Sequence[Path], source: str, options: ReadOptions) -> list[FileFields]:
    """Read files until there are enough samples; their layouts must agree with the first."""
    parts: list[FileFields] = []
    count, samples = 0, options.samples
    for path in files:
        name = source if len(files) == 1 else str(path)
        remaining = None if samples is None else samples - count
        parts.append(_read(path, name, replace(options, samples=remaining)))
        refuse_other_layout(parts[0], parts[-1], name)
        count += len(parts[-1])
        if samples is not None and count >= samples:
            return parts
    if samples is not None or not count:
        expected = f"{samples} were asked for" if samples else "at least one is needed"
        raise fault("OP0610", f"the data hold {count} samples, {expected}", file=source)
    return parts


def _read(path: Path, source: str, options: ReadOptions) -> FileFields:
    try:
        with open_data_file(path, source) as file:
            return format_of(file).read(file, options)
    except UnknownLayoutError as error:
        raise _with_listing(error, path, source) from error
    except OSError as error:
        raise unopened(error, source) from error


def format_of(file: DataFile) -> Format:
    """Return the first format that matches a file.

    Raises:
        OpError: OP0610, it has none.
    """
    for form in FORMATS:
        if form.matches(file):
            return form
    # for other HDF5 files, the reader of The Well says what they lack
    well = FORMATS.find("well") if file.container == "hdf5" else None
    if well is not None:
        return well
    if any(x.matches(file) for x in ARRAY_FORMATS):
        raise unknown_layout(NOT_STATED, file.source)
    raise unreadable(_seeming(file), file.source)


def _with_listing(error: UnknownLayoutError, path: Path, source: str) -> OpError:
    """Add what the file holds to the error, and how to say which arrays are inputs and outputs."""
    (one,) = error.diagnostics
    try:
        with open_arrays(path, source) as arrays:
            notes = (*one.notes, listing_note(arrays))
    except OpError as other:  # it is damaged, as whoever read it has said, if anyone did
        return other if one.message == NOT_STATED else error
    return UnknownLayoutError(replace(one, notes=notes, helps=(Help(STATE_FIELDS), *one.helps)))


def _seeming(file: DataFile) -> str:
    """Describe what a file of unknown format seems to be, for the message."""
    if file.container == "zip":
        return "it is a zip archive without tensors or arrays"
    if not file.head:
        return "the file is empty"
    hints = {
        b"MATLAB 5.0": "it is a MATLAB file: save its arrays with numpy.savez(x=, y=)",
        b"CDF\x01": "it is a NetCDF 3 file",
        b"CDF\x02": "it is a NetCDF 3 file",
        b"\x1f\x8b": "it is compressed with gzip: unpack it first",
    }
    matches = (text for magic, text in hints.items() if file.head.startswith(magic))
    return next(matches, f"the format is unknown (it begins with {file.head[:8]!r})")
