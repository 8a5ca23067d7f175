"""Pictures of a data set: a sheet of samples, or an animation where there is time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from opdsl.data.bind.samples import Fields
from opdsl.data.derive.coarsen import layout_on, sampling_of
from opdsl.data.io.dataset import stream_dataset
from opdsl.diagnostics import did_you_mean, fault
from opdsl.nn.points.batch import split_samples
from opdsl.nn.points.geometry import Geometry
from opdsl.sampling import positions
from opdsl.train.report.series import Cloud, CurveSeries, PlotAxes
from opdsl.train.report.sheet import sheet_gif, sheet_png
from opdsl.workflow.datasets.conversion import is_sphere
from opdsl.workflow.output import write_file

Array = NDArray[Any]

MOST_FUNCTIONS = 8  # of one sample
STRIP = 6  # times of a film strip
CURVES = 12  # times of curves in one panel
FRAMES = 60  # of an animation


@dataclass(frozen=True, slots=True)
class DatasetPicture:
    """A picture of a data set.

    Attributes:
        path: the file.
        samples: how many are shown.
        functions: names of the functions that are shown, the components of fields.
        left_out: number of functions for which there is no room.
        times: how many times are shown.
    """

    path: Path
    samples: int
    functions: tuple[str, ...]
    left_out: int
    times: int


def plot_dataset(
    source: str,
    out: Path,
    *,
    samples: int = 4,
    split: str | None = None,
    names: Sequence[str] = (),
    sphere: bool = False,
) -> DatasetPicture:
    """Draw the first samples of a data set.

    Args:
        source: a file or a folder that `open_dataset` reads.
        out: a `.png` file for a sheet, with film strips where there is time, or a `.gif` file for
            an animation.
        samples: how many at most.
        split: the part of a folder.
        names: fields to draw; all if there are none.
        sphere: whether the axes of the grid are latitude, from north to south, and longitude.

    Raises:
        OpError: OP0610 to OP0615, the data cannot be read; OP0611, no such field; OP0613, an
            animation of data without time; OP0625, the file cannot be written.
    """
    fields = next(stream_dataset(source, split=split, size=samples).pieces)
    chosen = _chosen(fields, names)
    animated = out.suffix.lower() == ".gif"
    times = next((fields.times[k] for k in chosen if k in fields.times), np.zeros(1))
    if animated and len(times) == 1:
        message = "the data have no times, so there is nothing to animate"
        helps = ("name a `.png` file", "`opdsl data convert --times N` makes channels times")
        raise fault("OP0613", message, helps=helps, file=fields.source)
    on_lines = all(_dims(fields, k) == 1 for k in chosen)
    most = FRAMES if animated else CURVES if on_lines else STRIP
    kept = np.unique(np.linspace(0, len(times) - 1, min(most, len(times))).round().astype(int))
    count = min(samples, *(len(x) for x in fields.values.values()))
    rows = [list(_functions(fields, chosen, i, kept, sphere=sphere)) for i in range(count)]
    shown = [row[:MOST_FUNCTIONS] for row in rows]
    draw = sheet_gif if animated else sheet_png
    numbers = range(fields.start, fields.start + count)
    write_file(out, draw(shown, numbers, [f"t = {times[i]:.4g}" for i in kept]))
    return DatasetPicture(
        out,
        count,
        tuple(x.name for x in shown[0]),
        len(rows[0]) - len(shown[0]),
        len(kept),
    )


def _chosen(fields: Fields, names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in fields.values:
            available = ", ".join(f"`{k}`" for k in fields.values)
            message = f"no field `{name}`; the data have {available}"
            helps = did_you_mean(name, fields.values)
            raise fault("OP0611", message, helps=helps, file=fields.source)
    order = ("input", "unknown", "output")
    chosen = list(names or sorted(fields.values, key=lambda x: order.index(fields.roles[x])))
    if not chosen:
        raise fault("OP0611", "the data have no fields", file=fields.source)
    return chosen


def _dims(fields: Fields, name: str) -> int:
    """Return the dimensions of space in which a field is drawn."""
    if name in fields.homes:
        return int(fields.places[fields.homes[name]][0].points.shape[1])
    return min(len(_lines(fields)), 2)


def _functions(
    fields: Fields, names: Sequence[str], sample: int, kept: Array, *, sphere: bool
) -> Iterator[CurveSeries]:
    """Yield the functions of a sample: the components of its fields, at the times to be shown."""
    for name in names:
        steps = _steps(fields, name, split_samples(fields.values[name])[sample])
        if name in fields.times:
            steps = steps[kept]
        colours = "cividis" if fields.roles.get(name) == "input" else "viridis"
        for i in range(steps.shape[1]):
            label = name if steps.shape[1] == 1 else f"{name}, {i}"
            for title, frames, place in _views(fields, name, sample, steps[:, i], sphere=sphere):
                yield CurveSeries(label + title, frames, place, colours)


def _steps(fields: Fields, name: str, values: Tensor) -> Array:
    """Return the values of a sample as (times, components, *grid)."""
    times = len(fields.times[name]) if name in fields.times else 1
    array: Array = values.float().numpy() if not values.is_complex() else values.abs().numpy()
    return array.reshape(times, -1, *array.shape[1:])


def _views(
    fields: Fields, name: str, sample: int, frames: Array, *, sphere: bool
) -> Iterator[tuple[str, Array, PlotAxes | Cloud]]:
    """Yield the drawings of one function: one, or the middle slices of a function in space."""
    home = fields.homes.get(name)
    if home is not None:
        places = fields.places[home]
        yield "", frames, _cloud(places[sample if len(places) > 1 else 0])
        return
    lines = _lines(fields)
    axes = fields.axes
    while len(lines) > 3:  # the middle of all axes after the third
        frames = frames.take(frames.shape[-1] // 2, -1)
        lines, axes = lines[:-1], axes[:-1]
    if len(lines) < 3:
        ball = len(lines) == 2 and (sphere or is_sphere(axes))
        yield "", frames, PlotAxes(axes, _degrees(lines) if _bare(fields, sphere) else lines, ball)
        return
    for cut in (2, 1, 0):
        middle = len(lines[cut]) // 2
        rest = [i for i in range(3) if i != cut]
        title = f" at {axes[cut]} = {lines[cut][middle]:.3g}"
        place = PlotAxes(tuple(axes[i] for i in rest), tuple(lines[i] for i in rest))
        yield title, frames.take(middle, cut + 1), place


def _bare(fields: Fields, sphere: bool) -> bool:
    """Whether a sphere has no coordinates."""
    return sphere and not all(x in fields.coordinates for x in fields.axes)


def _degrees(lines: Sequence[Array]) -> tuple[Array, Array]:
    """Return latitudes from pole to pole, the north first, and longitudes."""
    rows, columns = (len(x) for x in lines)
    half = 90 / rows
    return np.linspace(90 - half, half - 90, rows), 360 * np.arange(columns) / columns


def _lines(fields: Fields) -> tuple[Array, ...]:
    """Return the coordinates of the axes of the grid: as the file states them, else 0..1."""
    lines = []
    for i, (axis, n) in enumerate(zip(fields.axes, fields.resolution, strict=True)):
        known = fields.coordinates.get(axis)
        unit = np.array(positions(sampling_of(layout_on(fields.layout, i)), n))
        # without coordinates the points have equal distances on all axes
        lines.append(unit * n / max(fields.resolution) if known is None else known.values)
    return tuple(lines)


def _cloud(geometry: Geometry) -> Cloud:
    cells = None if geometry.cells is None else geometry.cells.numpy()
    return Cloud(geometry.points.numpy(), cells)
