"""Functions of samples as they are drawn: each channel with its name, its axes and its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from opdsl.data.bind.samples import VECTOR, Samples
from opdsl.ir.graph import Port
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import Values, all_values, split_samples
from opdsl.nn.points.packed import Packed
from opdsl.nn.sphere.sampling import latitudes
from opdsl.sampling import positions
from opdsl.train.report.series import Array, Cloud, CurveSeries, Film, PlotAxes, film

INPUT, OUTPUT = "cividis", "viridis"  # colour maps
MOST_NUMBERS = 4  # of a vector that are shown


def channel_films(
    port: Port, samples: Samples, values: Values, sample: int, *, timed: bool, colours: str
) -> Iterator[Film]:
    """Yield each channel of one sample of an input or output; NaN where it is masked.

    Args:
        port: the input or output.
        samples: where its points and masks are.
        values: (samples, channels, *grid), with `timed` (samples, steps, channels, *grid), packed
            on points that each sample has of its own.
        sample: its index.
        timed: whether there is an axis of time.
        colours: the colour map.
    """
    function = split_samples(values)[sample]
    function = _masked(function, samples.weights.get(port.name), sample)
    function = function.abs() if function.is_complex() else function.float()
    frames: Array = function.cpu().numpy() if timed else function.cpu().numpy()[None]
    domain = port.space.domain
    place = _place(domain, samples, sample, frames.shape[2:])
    labels = [f"step {i + 1}" for i in range(len(frames))] if timed else []
    for channel, name in enumerate(channel_names(port, frames.shape[1])):
        yield film(CurveSeries(name, list(frames[:, channel]), place, colours), labels)


def channel_names(port: Port, count: int) -> list[str]:
    """Return names of `count` channels: `v.vx`, or `a[0]` where the program names none."""
    space = port.space
    if space.components and len(space.components) == count:
        names = [f"{port.name}.{x}" for x in space.components]
    elif count == 1:
        names = [port.name]
    else:
        names = [f"{port.name}[{i}]" for i in range(count)]
    return [f"|{x}|" for x in names] if space.complex else names


def is_vector(x: Values) -> bool:
    """Return whether values are vectors of samples, on no domain."""
    return not isinstance(x, Packed) and x.ndim == VECTOR


def vector_text(name: str, x: Values, sample: int) -> str:
    """Write a vector of a sample as text: `nu = 0.01`."""
    numbers = all_values(x)[sample].tolist()
    text = ", ".join(f"{v:.3g}" for v in numbers[:MOST_NUMBERS])
    more = ", ..." if len(numbers) > MOST_NUMBERS else ""
    return f"{name} = {text}{more}" if len(numbers) == 1 else f"{name} = ({text}{more})"


def _masked(function: Tensor, weights: Values | None, sample: int) -> Tensor:
    if weights is None or all_values(weights).dtype != torch.bool:
        return function
    masks = split_samples(weights)
    return torch.where(masks[sample if len(masks) > 1 else 0], function, torch.nan)


def _place(domain: Domain, samples: Samples, sample: int, size: Sequence[int]) -> PlotAxes | Cloud:
    """Return where the values of a function are: points, or the axes of a grid."""
    geometries = samples.places.get(domain.name)
    if geometries is not None:
        x = geometries[sample if len(geometries) > 1 else 0]
        return Cloud(x.points.cpu().numpy(), None if x.cells is None else x.cells.cpu().numpy())
    return plot_axes(domain, size)


def plot_axes(domain: Domain, size: Sequence[int]) -> PlotAxes:
    """Return the axes of a grid in the units of the program; degrees on a sphere.

    Args:
        domain: with as many axes as `size` has entries, else they are numbered.
        size: points on each axis.
    """
    names, lines = [], []
    parts = [(part, axis) for part in domain.parts for axis in range(part.dims)]
    if len(parts) != len(size):
        names = [f"axis {i + 1}" for i in range(len(size))]
        return PlotAxes(tuple(names), tuple(np.arange(n, dtype=float) for n in size))
    for (part, axis), n in zip(parts, size, strict=True):
        declared = part.axes[axis]
        names.append(declared.name)
        if part.kind == "sphere":
            lines.append(_degrees(part, axis, n))
        elif part.regular:
            unit = np.array(positions(part.samplings[axis], n))
            lines.append(declared.lo + (declared.hi - declared.lo) * unit)
        else:
            lines.append(np.arange(n, dtype=float))
    sphere = domain.parts[0].kind == "sphere"
    return PlotAxes(tuple(names), tuple(lines), sphere)


def _degrees(sphere: Domain, axis: int, n: int) -> Array:
    """Return latitudes from north to south, or longitudes, in degrees."""
    if axis == 1:
        return 360 * np.arange(n) / n
    cosines, _ = latitudes(n, sphere.sampling or "equiangular")
    degrees: Array = 90 - np.degrees(np.arccos(cosines.numpy().clip(-1, 1)))
    return degrees
