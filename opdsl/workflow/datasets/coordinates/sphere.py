"""Latitudes and longitudes of a file, compared with the sampling of a sphere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np

from opdsl.data.bind.coordinates import ROUNDING, SPACING_TOLERANCE, AxisCoordinates
from opdsl.ir.spaces import Domain, Sampling
from opdsl.nn.sphere.sampling import latitudes
from opdsl.workflow.datasets.coordinates.difference import (
    Compared,
    CoordinateDifference,
    Floats,
    range_text,
)

NORTH = 90.0
FULL = 360.0
SAMPLING_TEXTS: Mapping[Sampling, str] = {
    "gauss_legendre": "the zeros of a Legendre polynomial",
    "lobatto": "Lobatto points with both poles",
    "equiangular": "equal steps with both poles",
    "centres": "centres of equal cells",
}

# what the numbers of a file can mean: a function to degrees north of the equator, and their range
_Meaning = tuple[str, Callable[[Floats], Floats], float, float]
MEANINGS: tuple[_Meaning, ...] = (
    ("deg", lambda x: x, -NORTH, NORTH),
    ("rad", np.degrees, -np.pi / 2, np.pi / 2),
    ("deg", lambda x: NORTH - x, 0.0, 180.0),
    ("rad", lambda x: NORTH - np.degrees(x), 0.0, np.pi),
)


@dataclass(frozen=True, slots=True)
class _Match:
    """The sampling that latitudes have, and whether they begin in the south."""

    sampling: Sampling
    south_first: bool


def compare_sphere(
    domain: Domain, lat: AxisCoordinates | None, lon: AxisCoordinates | None
) -> Compared:
    """Compare latitudes and longitudes with the declaration of a sphere.

    Degrees and radians, latitudes and colatitudes are accepted, and rows that begin in the south;
    longitudes may begin anywhere.
    """
    differences: list[CoordinateDifference] = []
    declared: Sampling = domain.sampling or "gauss_legendre"
    match = _Match(declared, south_first=False)
    if lat is not None:
        found = _match(declared, lat)
        if found is None or found.sampling != declared:
            differences.append(_latitude_difference(domain, declared, lat, lon, found))
        match = found or match
    if lon is not None and (wrong := _longitude_difference(domain, lon)):
        differences.append(wrong)
    sayable = all(not x.cures for x in differences)
    axes = domain.axes if sayable else None
    return Compared(tuple(differences), axes, match.sampling, match.south_first)


# ------------------------------------------------------------------------------------- latitudes


def _match(declared: Sampling, lat: AxisCoordinates) -> _Match | None:
    """Return the sampling of latitudes, the declared one before others; None if they have none."""
    if lat.varying or not np.isfinite(lat.values).all():
        return None
    words = dict.fromkeys((declared, *get_args(Sampling)))
    for north in _degrees_north(lat):
        for word in words:
            for south_first in (False, True):
                if _agree(north[::-1] if south_first else north, word):
                    return _Match(word, south_first)
    return None


def _degrees_north(lat: AxisCoordinates) -> Iterator[Floats]:
    """Yield what coordinates can mean, in degrees north of the equator."""
    values = lat.values
    units = {_angle_unit(lat)} if _angle_unit(lat) else {"deg", "rad"}
    for unit, convert, least, most in MEANINGS:
        slack = ROUNDING * most
        if unit in units and values.min() >= least - slack and values.max() <= most + slack:
            yield convert(values)


def _agree(north: Floats, sampling: Sampling) -> bool:
    if len(north) == 1:
        return True
    expected = _declared_latitudes(sampling, len(north))
    spacing = float(np.abs(np.diff(expected)).min())
    allowed = max(SPACING_TOLERANCE * spacing, ROUNDING * 2 * NORTH)
    return bool(np.abs(north - expected).max() <= allowed)


def _declared_latitudes(sampling: Sampling, n: int) -> Floats:
    """Return the latitudes of a sampling in degrees, north first, (n,)."""
    cosines: Floats = latitudes(n, sampling)[0].numpy()
    return NORTH - np.degrees(np.arccos(cosines))


def _latitude_difference(
    domain: Domain,
    declared: Sampling,
    lat: AxisCoordinates,
    lon: AxisCoordinates | None,
    match: _Match | None,
) -> CoordinateDifference:
    name, n = domain.axes[0].name, len(lat.values)
    file = f"{_range_text(name, lat)} ({n} latitudes"
    expected = _declared_latitudes(declared, n)
    points = range_text(name, expected, 1e-3)
    program = f"sampling = {declared}, {SAMPLING_TEXTS[declared]}: {points}"
    if match is not None:
        return CoordinateDifference("points", f"{file}, {SAMPLING_TEXTS[match.sampling]})", program)
    return CoordinateDifference("points", f"{file})", program, tuple(_cures(domain, lat, lon)))


def _cures(domain: Domain, lat: AxisCoordinates, lon: AxisCoordinates | None) -> Iterator[str]:
    rows, columns = (x.name for x in domain.axes)
    if lon is not None and _match("gauss_legendre", lon) and not _longitude_fault(lat):
        yield f"the file has `{columns}` first: exchange the two axes of the values"
        return
    words = ", ".join(f"`{x}`" for x in get_args(Sampling))
    yield f"the samplings of a sphere are {words}: interpolate the data to one of them"
    yield f"a part of a sphere is a grid: `grid({rows}: SOUTH..NORTH, {columns}: WEST..EAST)`"


# ------------------------------------------------------------------------------------ longitudes


def _longitude_difference(domain: Domain, lon: AxisCoordinates) -> CoordinateDifference | None:
    cure = _longitude_fault(lon)
    if cure is None:
        return None
    name, n = domain.axes[1].name, len(lon.values)
    program = f"the {n} longitudes are equal steps of {FULL / n:.6g} degrees eastwards"
    return CoordinateDifference(
        "points", f"{_range_text(name, lon)} ({n} longitudes)", program, (cure,)
    )


def _longitude_fault(lon: AxisCoordinates) -> str | None:
    """Return what to do about longitudes that are no equal steps around the sphere, else None."""
    values, n = lon.values, len(lon.values)
    if lon.varying or not np.isfinite(values).all():
        return "give all samples the longitudes of one grid"
    if n == 1:
        return None
    faults = [_turn_fault(values, n, turn) for turn in _turns(lon)]
    return None if None in faults else faults[0]


def _turns(lon: AxisCoordinates) -> tuple[float, ...]:
    """Return the longitudes of a full turn: 360 degrees or 2 pi radians."""
    turns = {"deg": (FULL,), "rad": (2 * np.pi,)}
    return turns.get(_angle_unit(lon), (FULL, 2 * np.pi))


def _turn_fault(values: Floats, n: int, turn: float) -> str | None:
    steps, step = np.diff(values), turn / n
    allowed = max(2 * SPACING_TOLERANCE * step, 2 * ROUNDING * turn)

    def are(wanted: float) -> bool:
        return bool((np.abs((steps - wanted + turn / 2) % turn - turn / 2) <= allowed).all())

    if are(step):
        return None
    if are(turn / (n - 1)):
        return "leave out the last longitude, which is the first again"
    if are(-step):
        return "reverse the longitudes and the values along them: they run to the west"
    return "interpolate the data to equal steps around the sphere, or declare a grid for a part"


def _angle_unit(stored: AxisCoordinates) -> str:
    """Return `deg` or `rad`; empty if the file states neither."""
    unit = stored.unit.strip().lower()[:3]
    return unit if unit in {"deg", "rad"} else ""


def _range_text(name: str, stored: AxisCoordinates) -> str:
    error = max(1e-6 * float(np.abs(stored.values).max(initial=0.0)), 1e-9)
    return range_text(name, stored.values, error)
