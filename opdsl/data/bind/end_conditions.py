"""OP0653: the values of an output at the ends of an axis contradict the declared condition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdsl.bases import EndConditions
from opdsl.data.bind.samples import Samples
from opdsl.diagnostics import Diagnostic, Help
from opdsl.nn.points.packed import Packed
from opdsl.sampling import GridSampling, offset, points_of

# A value at the end is compared with the root mean square of the function. Solvers set it to zero
# exactly and float16 leaves 1e-3, so 2 % is no rounding; a basis that vanishes at the end cannot
# have a smaller error there.
VALUE_LIMIT = 0.02
# A slope at the end is compared with the root mean square of the slope. It is estimated from four
# points, to third order, which leaves some percent where ten points resolve a wave.
SLOPE_LIMIT = 0.1
# an extrapolated number counts only if it is so many times its change from one point fewer
CERTAINTY = 2.0
NOISE_FACTOR = 3.0  # and so many times what the noise of the data would leave
DIFFERENCES = 4  # order of the differences that estimate the noise
VALUE_POINTS, SLOPE_POINTS = 3, 4  # of which the extrapolations consist


@dataclass(frozen=True, slots=True)
class AxisEnds:
    """An axis, the conditions at its ends (None: it is periodic), and where its points are."""

    name: str
    ends: EndConditions | None
    sampling: GridSampling


@dataclass(frozen=True, slots=True)
class Contradiction:
    """The greatest value (or slope) at one end, as a part of the root mean square."""

    axis: str
    side: str
    condition: str
    part: float

    def place(self) -> str:
        """Write the end: `the lower end of `x``."""
        return f"the {self.side} end of `{self.axis}`"

    def about(self, name: str) -> str:
        """Write what is wrong with the output `name`, with the figure."""
        if self.condition == "dirichlet":
            what, promise = f"`{name}` is up to {self.part:.2g} of its RMS", "0"
        else:
            what = f"the slope of `{name}` is up to {self.part:.2g} of its RMS"
            promise = "the slope 0"
        return f"{what} at {self.place()}, where `{self.condition}` promises {promise}"


def end_warnings(samples: Samples, axes_of: Mapping[str, Sequence[AxisEnds]]) -> list[Diagnostic]:
    """Return a warning OP0653 for each output that contradicts a declared condition.

    Args:
        samples: for training.
        axes_of: for each output on a grid its axes.
    """
    warnings = []
    for name, axes in axes_of.items():
        x = samples.outputs.get(name)
        if x is None or isinstance(x, Packed) or {name} & {*samples.homes, *samples.weights}:
            continue  # masked values would be taken for those at the ends
        if not len(x):
            continue
        found = sorted(contradictions(x, axes), key=lambda y: -y.part)
        if found:
            warnings.append(_warning(name, found, samples.source))
    return warnings


def contradictions(x: Tensor, axes: Sequence[AxisEnds]) -> Iterator[Contradiction]:
    """Yield the ends at which some sample contradicts the condition.

    Args:
        x: (samples, ..., *grid).
        axes: of the grid.
    """
    for axis, about in enumerate(axes, start=x.ndim - len(axes)):
        for end, condition in enumerate(about.ends or ()):
            part = _part(x, axis, about.sampling, end, condition)
            limit = VALUE_LIMIT if condition == "dirichlet" else SLOPE_LIMIT
            if part > limit:
                yield Contradiction(about.name, ("lower", "upper")[end], condition, part)


def _part(x: Tensor, axis: int, sampling: GridSampling, end: int, condition: str) -> float:
    """Return the largest part of a sample at one end; 0 without a condition or certainty."""
    order = 1 if condition == "neumann" else 0
    points = SLOPE_POINTS if order else VALUE_POINTS
    if condition == "none" or x.shape[axis] < points:
        return 0.0
    first = _distance(sampling, end)
    if first == 0 and order == 0:
        points = 1  # the value itself
    near = x.narrow(axis, 0 if end == 0 else x.shape[axis] - points, points).double()
    near = near.flip(axis) if end else near
    value = _applied(near, axis, extrapolation(first, points, order))
    size = _rms(x.double().diff(dim=axis) if order else x.double())
    parts = _rms(value) / size
    if points > 1:
        fewer = near.narrow(axis, 0, points - 1)
        change = _rms(value - _applied(fewer, axis, extrapolation(first, points - 1, order))) / size
        weights = extrapolation(first, points, order)
        noise = _noise(x.double(), axis) * math.hypot(*weights) / size
        parts = torch.where(parts > CERTAINTY * change + NOISE_FACTOR * noise, parts, 0.0)
    return float(parts[parts.isfinite()].amax()) if bool(parts.isfinite().any()) else 0.0


def _noise(x: Tensor, axis: int) -> Tensor:
    """Estimate the noise of each sample from fourth differences, which smooth functions lack."""
    if x.shape[axis] <= DIFFERENCES:
        return x.new_zeros(len(x))
    return _rms(x.diff(n=DIFFERENCES, dim=axis)) / math.sqrt(
        math.comb(2 * DIFFERENCES, DIFFERENCES)
    )


def _distance(sampling: GridSampling, end: int) -> float:
    """Return how many spacings the outermost point lies from an end."""
    first = offset(sampling)
    return first if end == 0 else 1 - first - points_of(sampling, 0)


def extrapolation(first: float, points: int, order: int) -> tuple[float, ...]:
    """Return the weights of values at first, first + 1 ... for the value or slope at 0.

    Args:
        first: the distance of the first point.
        points: the number of points, through which a polynomial is laid.
        order: 0 for its value at 0, 1 for its slope.
    """
    nodes = torch.arange(points, dtype=torch.float64) + first
    powers = torch.stack([nodes**k for k in range(points)])
    wanted = torch.zeros(points, dtype=torch.float64)
    wanted[order] = 1.0
    return tuple(torch.linalg.solve(powers, wanted).tolist())


def _applied(x: Tensor, axis: int, weights: Sequence[float]) -> Tensor:
    w = torch.tensor(weights, dtype=x.dtype)
    result: Tensor = torch.tensordot(x.movedim(axis, -1), w, dims=1)
    return result


def _rms(x: Tensor) -> Tensor:
    """Return the root mean square of each sample, (samples,)."""
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms / math.sqrt(max(x[0].numel(), 1))


def _warning(name: str, found: Sequence[Contradiction], source: str) -> Diagnostic:
    first, *others = found
    also = "; ".join(f"{x.part:.2g} at {x.place()} (`{x.condition}`)" for x in others)
    helps = (
        Help(f"declare `none` at that end of `{first.axis}` if functions do something else there"),
        Help("declare `sampling` if the points of the data are not where the program has them"),
    )
    notes = (f"also {also}",) if also else ()
    message = first.about(name)
    return Diagnostic("OP0653", message, notes=notes, helps=helps, severity="warning", file=source)
