"""Compare the coordinates and boundary conditions of a data set with the domains of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from opdsl.data.bind.coordinates import AxisCoordinates
from opdsl.data.bind.samples import VECTOR, Fields
from opdsl.diagnostics import Diagnostic, Help, OpError
from opdsl.ir.axes import Axis
from opdsl.ir.graph import Port
from opdsl.ir.spaces import Domain
from opdsl.nn.points.batch import Values, all_values
from opdsl.train.config.schema import CoordinateCheck
from opdsl.workflow.datasets.coordinates.declaration import declaration
from opdsl.workflow.datasets.coordinates.difference import Compared, CoordinateDifference
from opdsl.workflow.datasets.coordinates.line import compare_axis
from opdsl.workflow.datasets.coordinates.sphere import compare_sphere

SUBJECTS = {
    "points": ("OP0657", "the coordinates of the file are not those of the domain"),
    "boundary": ("OP0658", "the boundary conditions of the file contradict those of the domain"),
}
AS_THEY_ARE = (
    "or take the values as they are, if they are meant on other axes: "
    '`data { coordinates = "ignore" }`, with a run `--coordinates ignore`'
)
EARLIER = "the run was trained by an earlier version, which did not compare them"
COMPARABLE = frozenset({"grid", "interval", "sphere"})
# names in netCDF files and the usual ones in programs
USUAL_NAMES = {"latitude": "lat", "lats": "lat", "longitude": "lon", "lons": "lon", "lng": "lon"}


def compare_with_domains(
    ports: Iterable[Port], fields: Fields, check: CoordinateCheck
) -> tuple[Fields, tuple[Diagnostic, ...]]:
    """Compare the coordinates of a data set with the grids and spheres of inputs and outputs.

    What the file does not state is not compared. On a sphere, rows that begin in the south are
    flipped, unless differences are only warnings.

    Args:
        ports: the inputs and outputs that take fields of the data set.
        fields: the data set.
        check: whether a difference is an error, a warning, or nothing.

    Returns:
        The fields with the north first, and warnings.

    Raises:
        OpError: OP0657, the points differ; OP0658, the boundary conditions contradict each other.
    """
    if check == "ignore" or not fields.coordinates:
        return fields, ()
    parts = [y for x in _domains(ports, len(fields.axes)) for y in _compared_parts(x, fields)]
    faults = tuple(dict.fromkeys(y for x in parts for y in x.diagnostics()))
    if check == "warn":
        return fields, tuple(
            replace(x, notes=(*x.notes, EARLIER), helps=(), severity="warning") for x in faults
        )
    if faults:
        raise OpError(*faults)
    rows = {x.first: fields.axes[x.first] for x in parts if x.compared.flipped}
    return _flipped(fields, rows), tuple(_flip_warning(fields, x) for x in rows.values())


def _domains(ports: Iterable[Port], dims: int) -> tuple[Domain, ...]:
    """Return the declared domains with as many axes as the file."""
    domains = dict.fromkeys(x.space.domain for x in ports)
    return tuple(x for x in domains if x.dims == dims and all(map(_is_comparable, x.parts)))


def _is_comparable(part: Domain) -> bool:
    return part.kind in COMPARABLE and not part.steps


@dataclass(frozen=True, slots=True)
class _ComparedPart:
    """A factor of a domain, the index of its first axis, and the result of its comparison."""

    domain: Domain
    first: int
    compared: Compared
    source: str

    def diagnostics(self) -> Iterator[Diagnostic]:
        """Yield one diagnostic about the points and one about the boundary conditions."""
        for subject, (code, message) in SUBJECTS.items():
            some = [x for x in self.compared.differences if x.subject == subject]
            if some:
                cures = (y for x in some for y in x.cures)
                helps = (*cures, *self._declaration(), AS_THEY_ARE)
                yield Diagnostic(
                    code,
                    f"{message} `{self.domain}`",
                    notes=tuple(str(x) for x in some),
                    helps=tuple(Help(x) for x in dict.fromkeys(helps)),
                    file=self.source,
                )

    def _declaration(self) -> Iterator[str]:
        if self.compared.axes is not None:
            text = declaration(self.domain, self.compared.axes, self.compared.sampling)
            yield f"declare what the file has: `{text}`"


# ------------------------------------------------------------------------------------- comparison


def _compared_parts(domain: Domain, fields: Fields) -> list[_ComparedPart]:
    """Compare each factor of a domain; names first, since they say which axes belong together."""
    order = _places_in_file(domain, fields)
    if order is not None:
        return [_ComparedPart(domain, 0, _other_order(domain, fields, order), fields.source)]
    parts, first = [], 0
    for part in domain.parts:
        parts.append(_ComparedPart(part, first, _compare(part, first, fields), fields.source))
        first += part.dims
    return parts


def _places_in_file(domain: Domain, fields: Fields) -> list[int | None] | None:
    """Return for each axis of the file the index of its name in the program, None if unknown.

    The result is None if no name of the program is at another place in the file.
    """
    ours = [_usual_name(x.name) for x in domain.axes]
    theirs = [_usual_name(x) for x in fields.axes]
    places = [ours.index(x) if x in ours else None for x in theirs]
    return None if all(x in (None, i) for i, x in enumerate(places)) else places


def _usual_name(name: str) -> str:
    return USUAL_NAMES.get(name.lower(), name.lower())


def _other_order(domain: Domain, fields: Fields, order: Sequence[int | None]) -> Compared:
    """Describe axes whose names are at other places in the file."""
    names = f"the axes are {', '.join(fields.axes)}"
    ours = f"the axes are {', '.join(x.name for x in domain.axes)}"
    if domain.kind == "grid" and None not in order:
        axes = [domain.axes[i] for i in order if i is not None]
        found = _compare_axes(axes, [fields.coordinates.get(x) for x in fields.axes])
        more = tuple(x for x in found.differences if x.cures)
        return Compared((CoordinateDifference("points", names, ours), *more), found.axes)
    cure = "exchange the axes of the values, in the file or in the program, or name them otherwise"
    return Compared((CoordinateDifference("points", names, ours, (cure,)),), None)


def _compare(part: Domain, first: int, fields: Fields) -> Compared:
    """Compare a grid or a sphere whose axes begin at index `first` of those of the file."""
    stored = [fields.coordinates.get(x) for x in fields.axes[first : first + part.dims]]
    counts = fields.resolution[first : first + part.dims]
    for axis, x, n in zip(part.axes, stored, counts, strict=True):
        if x is not None and len(x.values) != n:
            file = f"{axis.name} has {len(x.values)} coordinates"
            cure = "store one coordinate for each point of an axis"
            difference = CoordinateDifference(
                "points", file, f"there are values on {n} points", (cure,)
            )
            return Compared((difference,), None)
    if part.kind == "sphere":
        lat, lon = stored
        return compare_sphere(part, lat, lon)
    return _compare_axes(part.axes, stored)


def _compare_axes(axes: Sequence[Axis], stored: Sequence[AxisCoordinates | None]) -> Compared:
    """Compare the axes of a grid with what a file states about them."""
    pairs = zip(axes, stored, strict=True)
    results = [([], x) if y is None else compare_axis(x, y) for x, y in pairs]
    differences = tuple(y for x, _ in results for y in x)
    in_file = tuple(axis for _, axis in results if axis is not None)
    return Compared(differences, in_file if len(in_file) == len(axes) else None)


# --------------------------------------------------------------------------------- rows of spheres


def _flip_warning(fields: Fields, name: str) -> Diagnostic:
    values = fields.coordinates[name].values
    return Diagnostic(
        "OP0659",
        f"the rows of the file begin in the south and are flipped: `{name}` runs from "
        f"{values[0]:.6g} to {values[-1]:.6g}",
        notes=("spheres have the north first; predictions have it too",),
        severity="warning",
        file=fields.source,
    )


def _flipped(fields: Fields, rows: dict[int, str]) -> Fields:
    """Reverse axes of the grid in all values on it, and their coordinates."""
    if not rows:
        return fields
    axes = [2 + i for i in rows]

    def flip(name: str, x: Values) -> Values:
        on_grid = name not in fields.homes and all_values(x).ndim != VECTOR
        return torch.flip(all_values(x), axes) if on_grid else x

    coordinates = dict(fields.coordinates)
    for name in rows.values():
        coordinates[name] = coordinates[name].thinned(slice(None, None, -1))
    values = {k: flip(k, x) for k, x in fields.values.items()}
    masks = {k: flip(k, x) for k, x in fields.masks.items()}
    return replace(fields, values=values, masks=masks, coordinates=coordinates)
