"""The arrays that a reference names: in which files they are, and what their axes are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from posixpath import basename

from opdsl.data.arrays.axes import (
    CHANNEL,
    COORDINATE,
    POINT,
    QUERY,
    SAMPLE,
    TIME,
    AxisNames,
    Target,
    Timing,
    readings,
    stated,
)
from opdsl.data.arrays.faults import (
    ambiguous,
    no_array,
    no_reading,
    unknown_axis,
    wrong_axes,
    wrong_channels,
)
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.arrays.references import ArrayReference, matching, read_reference, sliced_shape


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a data set.

    Attributes:
        paths: in the order of their samples.
        source: the path as the user wrote it.
        arrays: of each file, name -> description.
    """

    paths: tuple[Path, ...]
    source: str
    arrays: Sequence[Mapping[str, ArrayInfo]]


@dataclass(frozen=True, slots=True)
class ArrayPiece:
    """An array in a file.

    Attributes:
        file: which of the files.
        stored: its shape in the file.
        shape: what the index of the reference leaves of it.
        names: names of the axes that are left, where the file states them.
    """

    file: int
    name: str
    stored: tuple[int, ...]
    shape: tuple[int, ...]
    names: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class ArrayPart:
    """The arrays of some channels of an input or output; several arrays are more samples.

    Attributes:
        text: the reference.
        index: as in `ArrayReference`.
        pieces: the arrays, in the order of the samples.
        axes: of each of them, after indexing.
        places: the axes of the target that are neither samples nor times nor channels.
        alone: whether the only array has no axis of samples and is for all samples.
        by_query: whether each sample is a row of its own, with one point.
    """

    text: str
    index: tuple[int | slice, ...]
    pieces: tuple[ArrayPiece, ...]
    axes: AxisNames
    places: tuple[str, ...]
    alone: bool
    by_query: bool = False

    @property
    def samples(self) -> int | None:
        """Number of samples; None if all share the values."""
        return None if self.alone else sum(self.count_of(x) for x in self.pieces)

    def count_of(self, piece: ArrayPiece) -> int:
        """Return the number of samples of an array."""
        return piece.shape[self.axes.index(SAMPLE)] if SAMPLE in self.axes else 1

    def length(self, axis: str) -> int:
        """Return the number of entries on an axis; 1 without it."""
        return self.pieces[0].shape[self.axes.index(axis)] if axis in self.axes else 1


def part_of(
    files: Files,
    target: Target,
    fields: Mapping[str, tuple[str, ...]],
    axes: Mapping[str, AxisNames],
    timing: Timing,
) -> Iterator[ArrayPart]:
    """Yield the arrays of the channels of an input, output or domain, in order.

    Raises:
        OpError: OP0660, there is no such array; OP0661, its axes are unclear or do not fit; OP0613,
            the number of channels differs.
    """
    references = [read_reference(x) for x in fields.get(target.name) or _by_name(files, target)]
    parts = [_part(files, target, x, axes, len(references), timing) for x in references]
    yield from parts
    total = sum(x.length(CHANNEL) for x in parts)
    times = next((x.length(TIME) for x in parts if TIME in x.axes), None)
    want = timing.channels(target, times)
    if total != want:
        moments = "" if times is None else f" at each of {times} times"
        names = ", ".join(f"`{x.text}`" for x in parts)
        why = f"{names} has {total} channel{'s' * (total != 1)}{moments}"
        raise wrong_channels(files, target, why, want)


def _part(
    files: Files,
    target: Target,
    reference: ArrayReference,
    axes: Mapping[str, AxisNames],
    arrays: int,
    timing: Timing,
) -> ArrayPart:
    pieces = tuple(_pieces(files, target, reference))
    meaning = _axes(files, target, reference, pieces[0], axes, arrays, timing)
    by_query, places = QUERY in meaning, target.places
    if by_query:
        meaning = tuple(SAMPLE if x == QUERY else x for x in meaning)
        places = tuple(x for x in places if x != POINT)
    _check(files, target, reference, pieces, meaning, places)
    alone = SAMPLE not in meaning and len(pieces) == 1 and not reference.several
    return ArrayPart(reference.text, reference.index, pieces, meaning, places, alone, by_query)


def _by_name(files: Files, target: Target) -> tuple[str, ...]:
    """Return the arrays that have the name of the target, or those of its components."""
    names = [*files.arrays[0]]
    if matching(target.name, names):
        return (target.name,)
    if target.components and all(matching(x, names) for x in target.components):
        return target.components
    raise no_array(files, target, "none has its name")


def _pieces(files: Files, target: Target, reference: ArrayReference) -> Iterator[ArrayPiece]:
    """Yield the arrays that a reference names."""
    name, found = reference.name, False
    if len(files.paths) > 1:
        for i, path in enumerate(files.paths):
            inner = _inside(name, path.name, list(files.arrays[i]))
            for x in inner:
                found = True
                yield _piece(files, i, x, reference)
    if found:
        return
    for i, arrays in enumerate(files.arrays):
        matches = matching(name, list(arrays))
        if not matches:
            where = "" if len(files.paths) == 1 else f" in `{files.paths[i].name}`"
            raise no_array(files, target, f"`{name}` is no array{where}")
        for x in matches:
            yield _piece(files, i, x, reference)


def _inside(name: str, file: str, arrays: list[str]) -> list[str]:
    """List the arrays of a file that a reference `FILE` or `FILE/ARRAY` names."""
    head, _, rest = name.partition("/")
    if not fnmatchcase(file, head):
        return []
    if rest:
        return matching(rest, arrays)
    return arrays if len(arrays) == 1 else []


def _piece(files: Files, i: int, name: str, reference: ArrayReference) -> ArrayPiece:
    info = files.arrays[i][name]
    if len(reference.index) > len(info.shape):
        raise wrong_axes(files, name, info.shape, f"`{reference.text}` has too many indices")
    for n, x in zip(info.shape, reference.index, strict=False):
        if isinstance(x, int) and not -n <= x < n:
            raise wrong_axes(files, name, info.shape, f"`{reference.text}` is outside of it")
    shape = tuple(sliced_shape(info.shape, reference.index))
    if not prod(shape):
        raise wrong_axes(files, name, info.shape, f"`{reference.text}` leaves nothing of it")
    dropped = [i for i, x in enumerate(reference.index) if isinstance(x, int)]
    names = tuple(x for k, x in enumerate(info.axes) if k not in dropped)
    return ArrayPiece(i, name, info.shape, shape, names)


def _axes(
    files: Files,
    target: Target,
    reference: ArrayReference,
    piece: ArrayPiece,
    axes: Mapping[str, AxisNames],
    arrays: int,
    timing: Timing,
) -> AxisNames:
    """Determine the axes of an array: from the program, from the file, or the only reading."""
    names = (target.name, reference.text, reference.name, piece.name, basename(piece.name))
    given = next((axes[x] for x in names if x in axes), None)
    if given is not None:
        return _given(files, target, reference, piece, given)
    known = stated(piece.names, target)
    if known is not None and len(known) == len(piece.shape):
        return _plain(known, target)
    possible = readings(piece.shape, target, arrays, timing)
    if not possible:
        raise no_reading(files, target, piece)
    if len(possible) > 1:
        raise ambiguous(files, target, piece, possible)
    return possible[0]


def _given(
    files: Files, target: Target, reference: ArrayReference, piece: ArrayPiece, axes: AxisNames
) -> AxisNames:
    """Return the axes that the program gives, without those that the index drops."""
    allowed = {SAMPLE, TIME, CHANNEL, POINT, COORDINATE, QUERY, *target.grid}
    for x in axes:
        if x not in allowed:
            raise unknown_axis(files, target, x, piece)
    if len(axes) == len(piece.stored) != len(piece.shape):
        dropped = [i for i, x in enumerate(reference.index) if isinstance(x, int)]
        axes = tuple(x for i, x in enumerate(axes) if i not in dropped)
    if len(axes) != len(piece.shape):
        why = f"it has {len(piece.shape)} axes after indexing, and {len(axes)} are given"
        raise wrong_axes(files, piece.name, piece.stored, why)
    return _plain(axes, target)


def _plain(axes: AxisNames, target: Target) -> AxisNames:
    """Write the coordinates of points as channels."""
    if target.kind == "coordinates":
        return tuple(CHANNEL if x == COORDINATE else x for x in axes)
    return axes


def _check(
    files: Files,
    target: Target,
    reference: ArrayReference,
    pieces: Sequence[ArrayPiece],
    axes: AxisNames,
    places: tuple[str, ...],
) -> None:
    """Refuse axes that are not those of the target, and arrays that differ."""
    first = pieces[0]
    absent = [x for x in places if x not in axes]
    extra = [x for x in axes if x not in {SAMPLE, TIME, CHANNEL, *places}]
    twice = [x for x in set(axes) if x != POINT and axes.count(x) > 1]
    for some, why in ((absent, "lacks"), (extra, "does not take"), (twice, "has twice")):
        if some:
            reason = f"`{target.name}` {why} the axis `{some[0]}`"
            if why == "lacks":
                reason = f"the axis `{some[0]}` of `{target.name}` is missing"
            raise wrong_axes(files, first.name, first.stored, reason)
    free = {SAMPLE, POINT}
    kept = [i for i, x in enumerate(axes) if x not in free]
    for x in pieces[1:]:
        same = len(x.shape) == len(first.shape) and all(x.shape[i] == first.shape[i] for i in kept)
        if not same:
            why = f"`{first.name}` of `{reference.text}` has the shape {first.stored}"
            raise wrong_axes(files, x.name, x.stored, why)
