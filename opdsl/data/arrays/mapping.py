"""`ArrayMap`: which arrays of which files are the inputs and outputs of a model, and their axes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opdsl.data.arrays.axes import CHANNEL, POINT, SAMPLE, TIME, AxisNames, Target, Timing
from opdsl.data.arrays.faults import disagree, no_window
from opdsl.data.arrays.listing import ArrayFile, in_a_row
from opdsl.data.arrays.parts import ArrayPart, ArrayPiece, Files, part_of
from opdsl.data.arrays.reading import open_arrays
from opdsl.data.io.memory_budget import BY_ROWS, data_budget, too_large_for_memory
from opdsl.data.io.rows.unchanged import Unchanged

Array = NDArray[Any]
MOST_OPEN = 16  # files: systems allow a few hundred to a process
WIDEST = 8  # bytes of a number


@dataclass(frozen=True, slots=True)
class Windows:
    """Parts of trajectories as samples: input at a time t, outputs at the steps after it.

    Attributes:
        first: the first time that is an input, counted from 0.
        steps: steps in time that are outputs; those of `rollout`, or one, if None.
        stride: stored times in a step.
        every: stored times between the inputs of two samples.
        history: times that an input has, as channels, the last of them t.
    """

    first: int = 0
    steps: int | None = None
    stride: int = 1
    every: int = 1
    history: int = 1


@dataclass(frozen=True, slots=True)
class ArrayMap:
    """What a program says about the arrays of its data.

    Attributes:
        fields: input, output or domain of points -> references to arrays, its channels in order.
        axes: name of an array, of a file, or of an input, output or domain -> its axes.
        windows: how trajectories become samples; None: their times become channels.
        steps: steps in time of a rollout; None without one.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    axes: Mapping[str, AxisNames] = field(default_factory=dict)
    windows: Windows | None = None
    steps: int | None = None

    @property
    def timing(self) -> Timing:
        """What axes of times mean."""
        windows, rollout = self.windows, self.steps is not None
        if windows is None:
            return Timing(rollout=rollout, possible=rollout)
        steps = windows.steps or self.steps or 1
        return Timing(windows.history, steps, rollout=rollout, possible=True)


@dataclass(frozen=True, slots=True)
class MappedData:
    """A data set whose arrays are known, and whose values are read when they are asked for.

    Attributes:
        paths: its files.
        source: the path as the user wrote it.
        parts: input, output or domain of points -> the arrays of its channels.
        samples: number of trajectories, or of samples where there are no windows.
        starts: first times of the windows of a trajectory; one without windows.
        windows, steps: as in `ArrayMap`.
        by_rows: whether samples can be read in any order without reading most of the others.
    """

    paths: tuple[Path, ...]
    source: str
    targets: tuple[Target, ...]
    parts: Mapping[str, tuple[ArrayPart, ...]]
    samples: int
    starts: tuple[int, ...]
    windows: Windows | None
    steps: int | None
    by_rows: bool = True

    def __len__(self) -> int:
        """Number of samples: windows of all trajectories."""
        return self.samples * len(self.starts)

    def read(
        self, rows: Sequence[int], names: Collection[str] | None = None, files: Opened | None = None
    ) -> dict[str, Array | list[Array]]:
        """Read samples.

        Args:
            rows: indices of samples.
            names: inputs, outputs and domains to read; all if None.
            files: those of the data set, which stay open; opened for this call if None.

        Returns:
            For each input and output (samples, channels, *grid), the times before the components
            where they are channels; for domains (samples, points, coordinates), or without samples
            where all share them; for masks that all share (1, channels, *grid). A list of samples
            where the numbers of points differ.

        Raises:
            OpError: OP0610, the values are damaged or too many for the memory.
        """
        targets = [x for x in self.targets if names is None or x.name in names]
        size = len(rows) * sum(self.numbers(x) for x in targets) * WIDEST
        if size > (cap := data_budget()):
            helps = () if self.by_rows else (BY_ROWS,)
            raise too_large_for_memory(f"{len(rows)} samples", size, cap, self.source, *helps)
        if files is not None:
            return {x.name: self._values(x, files, rows) for x in targets}
        with Opened(self.paths, self.source) as opened:
            return {x.name: self._values(x, opened, rows) for x in targets}

    def numbers(self, target: Target) -> int:
        """Count the numbers of a sample of a target, by the first of its arrays."""
        total = 0
        for part in self.parts[target.name]:
            piece = part.pieces[0]
            whole = prod(piece.shape) // part.count_of(piece)
            if self.windows is not None and TIME in part.axes:
                moments = len(_times(self.windows, target, 0, self.steps))
                whole = whole // part.length(TIME) * moments
            total += whole
        return total

    def _values(self, target: Target, files: Opened, rows: Sequence[int]) -> Array | list[Array]:
        parts = self.parts[target.name]
        if target.kind == "coordinates" and all(x.samples is None for x in parts):
            return np.concatenate([_shared(x, files) for x in parts], -1)
        if target.mask and all(self._constant(x) for x in parts):
            once = [_ordered(x, _read(x, x.pieces[0], files, {}))[0] for x in parts]
            return np.concatenate(once, 1).reshape(1, -1, *once[0].shape[2:])
        if self.windows is not None and any(TIME in x.axes for x in parts):
            functions = self._windowed(self.windows, target, files, rows)
        else:
            functions = self._whole(target, files, rows)
        if target.kind == "coordinates":
            functions = (np.moveaxis(x, 0, -1) for x in functions)
        values = list(functions)
        return values if len({x.shape for x in values}) > 1 else np.stack(values)

    def _constant(self, part: ArrayPart) -> bool:
        """Whether an array is the same in all samples and windows."""
        return part.samples is None and (self.windows is None or TIME not in part.axes)

    def _whole(self, target: Target, files: Opened, rows: Sequence[int]) -> Iterator[Array]:
        """Yield the functions of samples, their times merged into channels."""
        for some in in_a_row([i // len(self.starts) for i in rows]):
            yield from (x.reshape(-1, *x.shape[2:]) for x in self._read(target, files, some, None))

    def _windowed(
        self, windows: Windows, target: Target, files: Opened, rows: Sequence[int]
    ) -> Iterator[Array]:
        """Yield the windows of trajectories, of which no more times are read than they need."""
        for trajectory, some in groupby(rows, lambda i: i // len(self.starts)):
            times = [
                _times(windows, target, self.starts[i % len(self.starts)], self.steps) for i in some
            ]
            first, last = min(map(min, times)), max(map(max, times))
            (x,) = self._read(target, files, range(trajectory, trajectory + 1), (first, last + 1))
            for moments in times:
                part = x[[t - first for t in moments]]
                yield part.reshape(-1, *part.shape[2:])

    def _read(
        self, target: Target, files: Opened, some: range, times: tuple[int, int] | None
    ) -> list[Array]:
        """Read trajectories in a row, or samples, as (times, channels, *place)."""
        columns = [
            _samples(x, files, some.start, some.stop, times) for x in self.parts[target.name]
        ]
        return [np.concatenate(x, 1) for x in zip(*columns, strict=True)]


class Opened:
    """The files of a data set, each opened when it is needed, and a few of them at a time."""

    def __init__(self, paths: Sequence[Path], source: str) -> None:
        self.paths, self.source = paths, source
        self._open: dict[int, tuple[ExitStack, ArrayFile]] = {}
        self._unchanged = Unchanged()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._open.values():
            held[0].close()

    def __getitem__(self, i: int) -> ArrayFile:
        """Return the i-th file.

        Raises:
            OpError: as `open_arrays`; OP0610, it was changed since it was first opened.
        """
        name = self.source if len(self.paths) == 1 else str(self.paths[i])
        self._unchanged.refuse_changed(self.paths[i], name)
        if i not in self._open:
            if len(self._open) == MOST_OPEN:
                oldest = next(iter(self._open))
                self._open.pop(oldest)[0].close()
            stack = ExitStack()
            self._open[i] = stack, stack.enter_context(open_arrays(self.paths[i], name))
        return self._open[i][1]

    def forked(self) -> None:
        """Open the files anew in a process that was forked from the one that had opened them."""
        self._open = {}

    def list(self) -> Files:
        """List the arrays of all files, without reading values.

        Raises:
            OpError: as `open_arrays`.
        """
        arrays = [self[i].arrays for i in range(len(self.paths))]
        return Files(tuple(self.paths), self.source, arrays)


def plan(files: Files, map_: ArrayMap, targets: Sequence[Target]) -> MappedData:
    """Find the arrays of all inputs and outputs, and determine their axes, without reading values.

    Args:
        files: with their arrays, in the order of their samples.
        map_: what the program says about the arrays.
        targets: inputs, outputs and domains of points of the model.

    Raises:
        OpError: OP0660, no array for an input or output; OP0661, the axes of an array are not
            stated and have no only reading, or do not fit; OP0662, trajectories too short for the
            windows; OP0663, a malformed reference.
    """
    parts = {x.name: tuple(part_of(files, x, map_.fields, map_.axes, map_.timing)) for x in targets}
    samples = _agreed(files, parts)
    starts = _starts(files, map_, parts)
    by_rows = all(_by_rows(files, y) for x in parts.values() for y in x)
    return MappedData(
        tuple(files.paths),
        files.source,
        tuple(targets),
        parts,
        samples,
        starts,
        map_.windows,
        map_.steps,
        by_rows,
    )


def _by_rows(files: Files, part: ArrayPart) -> bool:
    """Whether a sample of some channels can be read without most of the others."""
    outermost = SAMPLE not in part.axes or not part.axes.index(SAMPLE)
    return part.alone or (
        outermost and all(files.arrays[x.file][x.name].by_rows for x in part.pieces)
    )


def _agreed(files: Files, parts: Mapping[str, Sequence[ArrayPart]]) -> int:
    """Return the number of samples, on which all arrays must agree."""
    counts = {y.text: y.samples for x in parts.values() for y in x if y.samples is not None}
    if len(set(counts.values())) > 1:
        raise disagree(files, counts, "samples")
    return next(iter(counts.values()), 1)


def _starts(
    files: Files, map_: ArrayMap, parts: Mapping[str, Sequence[ArrayPart]]
) -> tuple[int, ...]:
    """Return the times at which windows begin; (0,) without windows."""
    windows = map_.windows
    if windows is None:
        return (0,)
    times = {y.text: y.length(TIME) for x in parts.values() for y in x if TIME in y.axes}
    if len(set(times.values())) != 1:
        raise disagree(files, times, "times") if times else no_window(files, 1, windows.first, 1)
    have = next(iter(times.values()))
    before = windows.first + (windows.history - 1) * windows.stride
    after = (windows.steps or map_.steps or 1) * windows.stride
    starts = tuple(range(before, have - after, windows.every))
    if not starts:
        raise no_window(files, have, before, after)
    return starts


def _times(windows: Windows, target: Target, start: int, rollout: int | None) -> list[int]:
    """List the times of a target in the window that begins at `start`."""
    steps = windows.steps or rollout or 1
    if target.output:
        return [start + (i + 1) * windows.stride for i in range(steps)]
    if target.timed and rollout:  # an input that does not come back has a value at each step
        return [start + i * windows.stride for i in range(steps)]
    return [start - i * windows.stride for i in reversed(range(windows.history))]


# ---------------------------------------------------------------------------------------- values


def _samples(
    part: ArrayPart, files: Opened, first: int, last: int, times: tuple[int, int] | None
) -> Iterator[Array]:
    """Yield samples as (times, channels, *place); of times only those of a window."""
    inner = {} if times is None or TIME not in part.axes else {TIME: slice(*times)}
    if part.samples is None:
        once = _ordered(part, _read(part, part.pieces[0], files, inner))[0]
        yield from (once for _ in range(first, last))
        return
    before = 0
    for piece in part.pieces:
        count = part.count_of(piece)
        low, high = max(first - before, 0), min(last - before, count)
        before += count
        if low < high:
            outer = {SAMPLE: slice(low, high)} if SAMPLE in part.axes else {}
            yield from _ordered(part, _read(part, piece, files, outer | inner))


def read_samples(part: ArrayPart, files: Opened, first: int, last: int) -> Array:
    """Read samples in a row as (samples, times, channels, *place)."""
    before, blocks = 0, []
    for piece in part.pieces:
        count = part.count_of(piece)
        low, high = max(first - before, 0), min(last - before, count)
        before += count
        if low < high:
            blocks.append(_ordered(part, _read(part, piece, files, {SAMPLE: slice(low, high)})))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _shared(part: ArrayPart, files: Opened) -> Array:
    """Read coordinates that all samples share, (points, coordinates)."""
    x = _ordered(part, _read(part, part.pieces[0], files, {}))[0]
    return np.moveaxis(x[0], 0, -1)


def _read(part: ArrayPart, piece: ArrayPiece, files: Opened, some: Mapping[str, slice]) -> Array:
    """Read an array with the index of its reference, and only `some` entries of its axes."""
    shape, index = piece.stored, list(part.index)
    index += [slice(None)] * (len(shape) - len(index))
    kept = [i for i, x in enumerate(index) if isinstance(x, slice)]
    for name, entries in some.items():
        axis = kept[part.axes.index(name)]
        index[axis] = _part_of(index[axis], shape[axis], entries)
    slices = [x if isinstance(x, slice) else slice(x, x + 1 or None) for x in index]
    positive = [_ascending(x, n) for x, n in zip(slices, shape, strict=True)]
    values = files[piece.file].read(piece.name, [x for x, _ in positive])
    for axis, (_, flipped) in enumerate(positive):
        values = np.flip(values, axis) if flipped else values
    return values[tuple(slice(None) if i in kept else 0 for i in range(len(shape)))]


def _part_of(index: int | slice, n: int, entries: slice) -> slice:
    """Return the entries of a sliced axis as a slice of the whole axis."""
    assert isinstance(index, slice)
    chosen = range(n)[index][entries]
    stop = chosen.stop if chosen.stop >= 0 else None
    return slice(chosen.start, stop, chosen.step)


def _ascending(index: slice, n: int) -> tuple[slice, bool]:
    """Return a slice with a positive step, and whether the order is to be reversed."""
    chosen = range(n)[index]
    if chosen.step > 0:
        return slice(chosen.start, chosen.stop, chosen.step), False
    up = chosen[::-1]
    return slice(up.start, up.stop, up.step), True


def _ordered(part: ArrayPart, x: Array) -> Array:
    """Transpose to (samples, times, channels, *place); several axes of points become one."""
    axes = list(part.axes)
    lead = [k for k in (SAMPLE, TIME, CHANNEL) if k in axes]
    order = [axes.index(k) for k in lead]
    order += [i for place in dict.fromkeys(part.places) for i, k in enumerate(axes) if k == place]
    x = np.transpose(x, order)
    for i, k in enumerate((SAMPLE, TIME, CHANNEL)):
        if k not in lead:
            x = np.expand_dims(x, i)
    return x.reshape(*x.shape[:3], -1) if POINT in axes else x
