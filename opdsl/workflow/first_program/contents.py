"""What a data file states: functions, grid or points, time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename

import numpy as np

from opdsl.data.arrays.axes import CHANNEL, COORDINATE, POINT, QUERY, SAMPLE, TIME, WORDS, AxisNames
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.arrays.presets import GRID, PRESETS, Proposal
from opdsl.data.arrays.reading import open_arrays
from opdsl.data.arrays.references import matching
from opdsl.data.bind.coordinates import AxisCoordinates
from opdsl.data.bind.samples import Fields, Role
from opdsl.data.derive.coarsen import layout_on, sampling_of
from opdsl.data.io.dataset import open_dataset
from opdsl.diagnostics import OpError, did_you_mean, fault
from opdsl.nn.points.batch import all_values
from opdsl.sampling import GridSampling

AXES = "xyzt"
PAIR: Mapping[str, Role] = {"x": "input", "y": "output"}  # in neuraloperator's files
STEPS = 4  # of a rollout in training, at most


@dataclass(frozen=True, slots=True)
class ProgramFunction:
    """An input or output of the program.

    Attributes:
        name: in the program.
        channels: their number.
        kind: `grid`, `points` or `vector`.
        references: the arrays, where their names differ from `name`.
        axes: of the arrays; () where the file states them.
    """

    name: str
    channels: int
    kind: str
    references: tuple[str, ...] = ()
    axes: AxisNames = ()


@dataclass(frozen=True, slots=True)
class GridAxis:
    """An axis of the domain: its name, interval, points and where they are."""

    name: str
    points: int
    low: float = 0.0
    high: float = 1.0
    boundary: str = "none"
    sampling: GridSampling = "both"


@dataclass(frozen=True, slots=True)
class Contents:
    """What the program of a file is about.

    Attributes:
        path: the file.
        inputs, outputs: its functions.
        grid: axes of the domain; () on points.
        dims: coordinates of a point; 0 on grids.
        shared: whether all samples have the same points.
        points: references and axes of the coordinates of the points.
        steps: steps of a rollout; 0 where there is no time.
        origin: how the layout is known, for the first line.
    """

    path: str
    inputs: tuple[ProgramFunction, ...]
    outputs: tuple[ProgramFunction, ...]
    origin: str
    grid: tuple[GridAxis, ...] = ()
    dims: int = 0
    shared: bool = False
    points: tuple[tuple[str, ...], AxisNames] = ((), ())
    steps: int = 0


def contents_of(path: str, inputs: Sequence[str], outputs: Sequence[str]) -> Contents:
    """Look at a file or folder, without reading more than a sample.

    Raises:
        OpError: as `first_program`.
    """
    contents = _of_layout(path, inputs, outputs)
    if contents is not None:
        return contents
    with open_arrays(Path(path), path) as file:
        return _of_arrays(file, path, inputs, outputs)


def _of_layout(path: str, inputs: Sequence[str], outputs: Sequence[str]) -> Contents | None:
    """Return the contents of a file whose layout states its fields; None for other files."""
    try:
        fields = open_dataset(path, samples=1)
    except OpError as error:
        # what cannot be read as fields is looked at as arrays, which says what is damaged
        if error.diagnostics[0].code != "OP0610" or Path(path).is_dir():
            raise
        return None
    if fields.times:  # trajectories become windows, by their arrays
        return None
    places = next(iter(fields.places.values()), None)
    return Contents(
        path,
        _functions(fields, path, inputs, "input"),
        _functions(fields, path, outputs, "output"),
        origin=f"fields of {Path(path).name}",
        grid=tuple(_grid_of_fields(fields)) if places is None else (),
        dims=0 if places is None else places[0].points.shape[1],
        shared=places is not None and len(places) == 1,
    )


def _functions(
    fields: Fields, path: str, names: Sequence[str], role: Role
) -> tuple[ProgramFunction, ...]:
    """Return the functions of one side: those named, those that the file marks, `x` or `y`."""
    some = list(names) or [k for k, x in fields.roles.items() if x == role]
    if not some and PAIR.keys() <= fields.values.keys():
        some = [k for k, x in PAIR.items() if x == role]
    unknown = [x for x in some if x not in fields.values]
    if unknown or not some:
        raise _undecided(path, list(fields.values), unknown)
    return tuple(_function(fields, x) for x in some)


def _function(fields: Fields, name: str) -> ProgramFunction:
    x = all_values(fields.values[name])
    kind = "points" if name in fields.homes else "grid" if x.ndim > 2 else "vector"
    port = _word(name)
    return ProgramFunction(port, x.shape[1], kind, (name,) if port != name else ())


def _grid_of_fields(fields: Fields) -> Iterator[GridAxis]:
    for i, (name, points) in enumerate(zip(fields.axes, fields.resolution, strict=True)):
        layout = layout_on(fields.layout, i)
        known = fields.coordinates.get(name)
        if known is None:
            boundary = "periodic" if layout == "periodic" else "none"
            yield GridAxis(_word(name), points, 0.0, 1.0, boundary, sampling_of(layout))
        else:
            yield _axis(name, known, None if layout == "periodic" else sampling_of(layout))


def _axis(name: str, known: AxisCoordinates, sampling: GridSampling | None = None) -> GridAxis:
    """Return an axis with the interval of its coordinates."""
    values = known.values
    low, high = float(values[0]), float(values[-1])
    step = (high - low) / max(len(values) - 1, 1)
    periodic = known.boundary[0] == "periodic"
    if sampling is None:
        sampling = "lower" if periodic or _rounder(high + step, high) else "both"
    if sampling == "centres":
        low, high = low - step / 2, high + step / 2
    elif sampling == "lower":
        high += step
    elif sampling == "upper":
        low -= step
    elif sampling == "interior":
        low, high = low - step, high + step
    boundary = "periodic" if periodic else "none"
    return GridAxis(_word(name), len(values), _round(low), _round(high), boundary, sampling)


def _rounder(a: float, b: float) -> bool:
    """Whether `a` is a rounder number than `b`, as an end of an interval is."""
    return len(f"{_round(a):.6g}") < len(f"{_round(b):.6g}")


def _round(x: float) -> float:
    """Round to six digits: coordinates are often float32."""
    return float(f"{x:.6g}")


def _of_arrays(
    file: ArrayFile, path: str, inputs: Sequence[str], outputs: Sequence[str]
) -> Contents:
    """Return the contents of a file of named arrays."""
    layouts = [(x.summary, y[0]) for x in PRESETS if (y := x.proposals(file.arrays))]
    if len(layouts) == 1:
        summary, proposal = layouts[0]
        if proposal.inputs or (inputs and outputs):
            return _of_proposal(file, path, proposal, summary, inputs, outputs)
    if not (inputs and outputs):
        raise _undecided(path, _candidates(file))
    axes = {k: _stated(file, k, x) for k, x in _chosen(file, path, (*inputs, *outputs))}
    proposal = Proposal(tuple(inputs), tuple(outputs), axes)
    return _of_proposal(file, path, proposal, f"arrays of {file.format}", (), ())


def _chosen(file: ArrayFile, path: str, names: Sequence[str]) -> Iterator[tuple[str, ArrayInfo]]:
    for name in names:
        match = matching(name, list(file.arrays))
        if not match:
            raise _undecided(path, _candidates(file), [name])
        yield name, file.arrays[match[0]]


def _stated(file: ArrayFile, name: str, info: ArrayInfo) -> AxisNames:
    """Return the axes of an array that the file names, or (sample, *grid) of two to four axes."""
    words = tuple("time" if x == "t" else x or "" for x in info.axes)
    if words and all(words):
        return words
    shape = info.shape
    if 2 <= len(shape) <= 4 and min(shape[1:]) > 4:
        return (SAMPLE, *GRID[: len(shape) - 1])
    message = f"nothing states the axes of `{name}` {shape}"
    helps = ("write the program yourself, with `data { axes { ... } }`: `opdsl new NAME`",)
    raise fault("OP0661", message, helps=helps, file=file.source)


def _of_proposal(
    file: ArrayFile,
    path: str,
    proposal: Proposal,
    summary: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Contents:
    ins, outs = tuple(inputs) or proposal.inputs, tuple(outputs) or proposal.outputs
    axes = dict(proposal.axes)
    for name in (*ins, *outs):
        full = matching(name, list(file.arrays))
        axes.setdefault(name, axes.get(full[0], ()) if full else ())
    timed = any(TIME in axes[x] for x in outs)
    grid_axes = [x for x in axes[outs[0]] if x not in WORDS]
    usual = [_axis_name(i, proposal) for i in range(len(GRID))]
    names = {x: _word(usual[GRID.index(x)] if x in GRID else x) for x in grid_axes}
    renamed = {k: tuple(names.get(x, x) for x in v) for k, v in axes.items()}
    grid = tuple(_grid_of_arrays(file, outs[0], axes[outs[0]], names, proposal))
    points = next(iter(proposal.points), None)
    dims = 0 if points is None else _length(file, points, axes[points], COORDINATE)
    same = ins == outs
    left = _side(file, ins, renamed, "state" if same else "input")
    right = _side(file, outs, renamed, "next" if same else "output")
    times = _length(file, outs[0], axes[outs[0]], TIME) if timed else 0
    return Contents(
        path,
        left,
        right,
        summary,
        grid,
        dims,
        shared=points is not None and not {SAMPLE, QUERY} & {*axes[points]},
        points=(proposal.points, () if points is None else axes[points]),
        steps=min(STEPS, times - 1) if timed else 0,
    )


def _axis_name(i: int, proposal: Proposal) -> str:
    """Return the name of an axis: that of its coordinates if it is a word, else x, y, ..."""
    stored = basename(proposal.coordinates[i]) if i < len(proposal.coordinates) else ""
    return stored if stored.isidentifier() else AXES[i]


def _side(
    file: ArrayFile, names: Sequence[str], axes: Mapping[str, AxisNames], usual: str
) -> tuple[ProgramFunction, ...]:
    """Return the functions of one side; several arrays of one grid become one function."""
    first = axes[names[0]]
    kind = (
        "points"
        if POINT in first or (QUERY in first and usual == "output")
        else "grid"
        if set(first) - {SAMPLE, TIME, CHANNEL, QUERY}
        else "vector"
    )
    if len(names) > 1 and all(axes[x] == first for x in names):
        return (ProgramFunction(usual, len(names), kind, tuple(names), first),)
    return tuple(
        ProgramFunction(
            usual if usual in {"state", "next"} else _word(x),
            _length(file, x, axes[x], CHANNEL) if CHANNEL in axes[x] else 1,
            kind,
            (x,),
            axes[x],
        )
        for x in names
    )


def _length(file: ArrayFile, name: str, axes: AxisNames, axis: str) -> int:
    info = file.arrays[matching(name, list(file.arrays))[0]]
    return info.shape[axes.index(axis)]


def _grid_of_arrays(
    file: ArrayFile, name: str, axes: AxisNames, names: Mapping[str, str], proposal: Proposal
) -> Iterator[GridAxis]:
    for i, (axis, word) in enumerate(names.items()):
        points = _length(file, name, axes, axis)
        stored = proposal.coordinates[i] if i < len(proposal.coordinates) else axis
        info = file.arrays.get(stored)
        if info is None or info.shape != (points,):
            yield GridAxis(word, points)
        else:
            yield _axis(word, AxisCoordinates(file.read(stored).astype(np.float64)))


def _candidates(file: ArrayFile) -> list[str]:
    """List the arrays that can be functions: several numbers for each sample."""
    return [k for k, x in file.arrays.items() if x.dtype.kind in "iuf" and len(x.shape) > 1]


def _undecided(path: str, known: Sequence[str], unknown: Sequence[str] = ()) -> OpError:
    """Make OP0660: nothing states which arrays or fields the model takes and returns."""
    listing = ", ".join(f"`{x}`" for x in known[:12]) + (", ..." if len(known) > 12 else "")
    if unknown:
        message = f"the file has no `{unknown[0]}`"
        return fault(
            "OP0660",
            message,
            notes=(f"it has {listing}",),
            helps=did_you_mean(unknown[0], known),
            file=path,
        )
    example = known[0] if known else "a"
    other = known[1] if len(known) > 1 else "u"
    return fault(
        "OP0660",
        "nothing states which arrays the model takes, and which it returns",
        notes=(f"the file has {listing}",),
        helps=(f"say it: `opdsl init {path} --input {example} --output {other}`",),
        file=path,
    )


def _word(name: str) -> str:
    """Return a name of the language for that of an array."""
    word = re.sub(r"[^A-Za-z0-9_]+", "_", basename(name)).strip("_")
    return word if word[:1].isalpha() else f"f_{word}" if word else "f"
