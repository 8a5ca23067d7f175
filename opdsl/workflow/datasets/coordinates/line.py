"""The coordinates of one axis of a grid, compared with its declaration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from opdsl.data.bind.coordinates import ROUNDING, SPACING_TOLERANCE, AxisCoordinates
from opdsl.ir.axes import Axis
from opdsl.sampling import PERIODIC, SAMPLINGS, GridSampling, offset, positions, spacings
from opdsl.workflow.datasets.coordinates.difference import (
    CoordinateDifference,
    Floats,
    range_text,
    short,
)


def compare_axis(
    axis: Axis, stored: AxisCoordinates
) -> tuple[list[CoordinateDifference], Axis | None]:
    """Compare the points and the boundary conditions of an axis.

    Returns:
        The differences, and the axis as the file has it; None if no declaration says that.
    """
    differences = []
    if boundary := _boundary_difference(axis, stored):
        differences.append(boundary)
    described = _described(axis, stored)
    if not _agree(axis, axis.points, stored.values) or stored.varying:
        differences.append(_point_difference(axis, stored, described))
    return differences, described


def distance_allowed(spacing: float, *ends: float) -> float:
    """Return the greatest distance of points between two ends that count as equal.

    It is 1e-4 of the spacing, or the rounding of float32 where that is more.
    """
    return max(SPACING_TOLERANCE * spacing, ROUNDING * max(map(abs, ends)))


def _declared_points(axis: Axis, sampling: GridSampling, n: int) -> Floats:
    """Return the coordinates that a declaration means, (n,)."""
    return axis.lo + (axis.hi - axis.lo) * np.array(positions(sampling, n))


def _agree(axis: Axis, sampling: GridSampling, values: Floats) -> bool:
    """Return whether points are those of the axis; one point is anywhere."""
    if len(values) == 1:
        return bool(np.isfinite(values).all())
    spacing = (axis.hi - axis.lo) / spacings(sampling, len(values))
    far = np.abs(values - _declared_points(axis, sampling, len(values))).max()
    return bool(far <= distance_allowed(spacing, axis.lo, axis.hi))


# --------------------------------------------------------------------------- what the file has


def _described(axis: Axis, stored: AxisCoordinates) -> Axis | None:
    """Return the axis as the file has it; None if its points are not equal steps upwards."""
    values = stored.values
    if stored.varying or len(values) == 1 or not _ascends_evenly(values):
        return None
    periodic = _closes(axis, stored)
    # a file knows no values at the ends, so an axis that it does not close promises none
    boundary = "periodic" if periodic else "none" if axis.periodic else axis.boundary
    return _with_ends(axis.model_copy(update={"boundary": boundary}), values)


def _with_ends(axis: Axis, values: Floats) -> Axis:
    """Give an axis the ends and the sampling of points in equal steps.

    Points that carry neither end fit several declarations: the ends of the program are preferred,
    then those that are written with the fewest digits, then the sampling of the program.
    """
    words = PERIODIC if axis.periodic else SAMPLINGS
    default = axis.model_copy(update={"sampling": None}).points
    preferred = [axis.points, default, *words]
    order = [x for x in dict.fromkeys(preferred) if x in words]
    same = next((x for x in order if _agree(axis, x, values)), None)
    if same:
        return _sampled(axis, same, default)
    ends = {x: _ends(values, x) for x in order}
    shortest = min(order, key=lambda x: sum(map(len, ends[x])))
    lo, hi = map(float, ends[shortest])
    return _sampled(axis.model_copy(update={"lo": lo, "hi": hi}), shortest, default)


def _sampled(axis: Axis, word: GridSampling, default: GridSampling) -> Axis:
    return axis.model_copy(update={"sampling": None if word == default else word})


def _ends(values: Floats, sampling: GridSampling) -> tuple[str, str]:
    """Return the ends of the axis on which points have a sampling, as short texts."""
    n = len(values)
    step = float(values[-1] - values[0]) / (n - 1)
    lo = float(values[0]) - offset(sampling) * step
    hi = lo + spacings(sampling, n) * step
    error = distance_allowed(step, lo, hi) / 4
    return short(lo, error), short(hi, error)


def _ascends_evenly(values: Floats) -> bool:
    if len(values) == 1 or not np.isfinite(values).all():
        return False
    step = float(values[-1] - values[0]) / (len(values) - 1)
    line = np.linspace(values[0], values[-1], len(values))
    far = float(np.abs(values - line).max())
    return step > 0 and far <= distance_allowed(step, float(values[0]), float(values[-1]))


# ------------------------------------------------------------------------------------ differences


def _point_difference(
    axis: Axis, stored: AxisCoordinates, described: Axis | None
) -> CoordinateDifference:
    values = stored.values
    finite = values[np.isfinite(values)]
    step = float(np.abs(np.diff(finite)).min()) if len(finite) > 1 else 0.0
    error = distance_allowed(step, finite.min(), finite.max()) / 4 if len(finite) else 0.0
    text = range_text(axis.name, values, error)
    program = _program_text(axis, len(values))
    if described is not None and not stored.varying:
        word = _place_text(axis, described)
        return CoordinateDifference("points", f"{text}{word}", program)
    detail, cure = _irregular(axis, stored)
    return CoordinateDifference("points", f"{text}{detail}", program, (cure,))


def _program_text(axis: Axis, n: int) -> str:
    """Write the ends of an axis, and its first and last point where these are others."""
    ends = f"{axis.name}: {axis.lo:g}..{axis.hi:g}"
    words = ["boundary = periodic"] if axis.periodic else []
    words += [f"sampling = {axis.sampling}"] if axis.sampling else []
    if axis.points != "both" and n > 1:
        points = _declared_points(axis, axis.points, n)
        words.append(f"its {n} points are {points[0]:.6g} .. {points[-1]:.6g}")
    return ", ".join([ends, *words])


def _place_text(axis: Axis, described: Axis) -> str:
    """Say where the points are, if the ends of the program carry them otherwise."""
    if described.points == axis.points or (axis.lo, axis.hi) != (described.lo, described.hi):
        return ""
    return {
        "both": ", a point at both ends",
        "lower": ", no point at the upper end",
        "upper": ", no point at the lower end",
        "interior": ", no points at the ends",
        "centres": ", centres of cells",
    }[described.points]


def _irregular(axis: Axis, stored: AxisCoordinates) -> tuple[str, str]:
    """Describe points that no declaration says, and what to do about them."""
    values, name = stored.values, axis.name
    if stored.varying:
        return (
            ", others in other samples or times",
            "a grid is one for all samples: store such data as functions on points",
        )
    if not np.isfinite(values).all():
        return ", some of them not finite", f"repair the coordinates of `{name}` in the file"
    if _ascends_evenly(values[::-1]):
        return (
            f", descending, {len(values)} points",
            f"reverse the coordinates and the values along `{name}` in the file",
        )
    steps = np.diff(values)
    if steps.min() <= 0:
        return ", neither ascending nor descending", f"sort the file along `{name}`"
    return (
        f", unequal steps of {steps.min():.3g} to {steps.max():.3g}",
        f"an axis of a grid has equal steps: interpolate the data to such points of `{name}`",
    )


# ---------------------------------------------------------------------------- boundary conditions


def _closes(axis: Axis, stored: AxisCoordinates) -> bool:
    """Return whether the axis is periodic by the file, or by the program if the file is silent."""
    stated = {x for x in stored.boundary if x}
    return stated == {"periodic"} if stated else axis.periodic


def _boundary_difference(axis: Axis, stored: AxisCoordinates) -> CoordinateDifference | None:
    kinds = [x or "unknown" for x in stored.boundary]
    if not any(_contradict(axis, i, kind) for i, kind in enumerate(kinds)):
        return None
    file, program = (
        f"boundary of {axis.name} = {'..'.join(dict.fromkeys(x))}"
        for x in (kinds, axis.ends or ("periodic",))
    )
    return CoordinateDifference("boundary", file, program, tuple(_cures(axis, kinds)))


def _contradict(axis: Axis, end: int, kind: str) -> bool:
    """Return whether the kind of an end cannot be that of the program.

    `none` promises nothing and fits every kind.
    """
    if axis.ends is None:
        return kind in {"wall", "open"}
    return kind == "periodic" and axis.ends[end] != "none"


def _cures(axis: Axis, kinds: Sequence[str]) -> Iterator[str]:
    if axis.periodic and "wall" in kinds:
        yield (
            f"`boundary = dirichlet` if the functions vanish at the walls of `{axis.name}`, "
            "`neumann` if their slope does, else `none`"
        )
