"""Match the point sets of a file with the domains of a model, and validate their geometries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdsl.data.bind.samples import FieldRequest, Fields
from opdsl.diagnostics import Diagnostic, Help, OpError, did_you_mean
from opdsl.nn.points.batch import Values, all_values, split_samples
from opdsl.nn.points.geometry import Geometries, Geometry, point_counts
from opdsl.nn.points.measure import WeightRule, quadrature_weights
from opdsl.nn.points.neighbours.pairs import Period
from opdsl.nn.points.packed import Packed


@dataclass(frozen=True, slots=True)
class PointsRequest:
    """What a domain of points of a model requires of the data.

    Attributes:
        name: name of the domain.
        dims: dimensions of the space in which the points lie; None for any.
        shared: whether all samples must have the same points.
        required: whether the model needs the coordinates.
        measure, period: the rule for quadrature weights, as the program declares it.
    """

    name: str
    dims: int | None
    shared: bool
    required: bool = True
    measure: WeightRule = "uniform"
    period: Period | None = None


def choose_point_set(
    fields: Fields,
    site: PointsRequest,
    on_it: Mapping[str, Sequence[str]],
    set_name: str | None,
    used: Sequence[str] = (),
) -> tuple[str | None, list[Diagnostic]]:
    """Choose the set of points of the file for a domain of the model.

    In this order: the one that the mapping names; that of its own name; that of the fields which
    the model takes on this domain; the only one; the only one with fields that the model takes.

    Args:
        on_it: the fields that each input and output on the domain takes.
        set_name: the set of points that the mapping names; None where it names none.
        used: the fields that any input or output takes.
    """
    if set_name is not None:
        set_names = [*fields.places, *(k for k in fields.homes if k not in fields.places)]
        return (
            (set_name, []) if set_name in set_names else (None, [_no_place(fields, site, set_name)])
        )
    if site.name in fields.places:
        return site.name, []
    homes = {fields.homes[n] for names in on_it.values() for n in names if n in fields.homes}
    if len(homes) == 1:
        return homes.pop(), []
    if len(homes) > 1:
        return None, [_torn(fields, site, on_it)]
    some = dict.fromkeys(fields.homes[n] for n in used if n in fields.homes)
    for only in (fields.places, some):
        if len(only) == 1:
            return next(iter(only)), []
    return None, [_no_place(fields, site, None)] if site.required else []


def geometries_of(
    fields: Fields, site: PointsRequest, name: str
) -> tuple[Geometries, list[Diagnostic]]:
    """Return the geometries of a domain, in float32, and diagnostics about them.

    Args:
        name: name of a set of points, or of a field whose values are the coordinates.
    """
    geometries = fields.places[name] if name in fields.places else _moved(fields.values[name])
    wrong = list(_faults(fields, site, name, geometries))
    return tuple(_single(x) for x in geometries), wrong


def point_weights(placed: Geometries, site: PointsRequest, source: str) -> list[Tensor] | None:
    """Quadrature weights (points,) of each sample: lengths, areas or volumes; None if equal.

    They are those of the integrals of the model over this domain. Without weights or cells in the
    data, the points of a domain with the measure `given` or `uniform` have equal weights.

    Args:
        source: the file that the geometries are from.

    Raises:
        OpError: OP0910, the weights cannot be computed.
    """
    has_weights = all(x.weights is not None or x.cells is not None for x in placed)
    if not has_weights and site.measure in {"given", "uniform"}:
        return None
    weights = [_weights(x, site, f"{source}, sample {i}") for i, x in enumerate(placed)]
    return [x for x in weights if x is not None] or None


def _weights(x: Geometry, site: PointsRequest, set_name: str) -> Tensor | None:
    try:
        weights: Tensor | None = quadrature_weights(x, site.measure, site.period)
    except OpError as error:
        place = f"{set_name} of `{site.name}`"
        raise OpError(*(replace(y, file=place) for y in error.diagnostics)) from error
    return weights


def value_count_fault(fields: Fields, name: str, home: str) -> Diagnostic | None:
    """Return OP0613 if a field has another number of values than its set has points."""
    have = [x.shape[-1] for x in split_samples(fields.values[name])]
    want = list(point_counts(fields.places[home])) if home in fields.places else have
    want = want * len(have) if len(want) == 1 else want
    if len(have) != len(want):
        message = f"`{name}` has {len(have)} samples, `{home}` has points for {len(want)}"
        return Diagnostic("OP0613", message, file=fields.source)
    wrong = next((i for i, (a, b) in enumerate(zip(have, want, strict=True)) if a != b), None)
    if wrong is None:
        return None
    message = f"in sample {wrong}, `{name}` has {have[wrong]} values, `{home}` {want[wrong]} points"
    helps = (Help("give one value for each point"),)
    return Diagnostic("OP0613", message, helps=helps, file=fields.source)


def _moved(x: Values) -> Geometries:
    """Make geometries whose coordinates are the values of a field."""
    return tuple(Geometry(y.T) for y in split_samples(x))


def _single(x: Geometry) -> Geometry:
    if x.points.dtype == torch.float32 and (x.weights is None or x.weights.dtype == torch.float32):
        return x
    weights = None if x.weights is None else x.weights.float()
    return replace(x, points=x.points.float(), weights=weights)


# ------------------------------------------------------------------------------ what may be wrong


def _faults(
    fields: Fields, site: PointsRequest, name: str, found: Geometries
) -> Iterator[Diagnostic]:
    """Yield the first fault of a set of points; basic checks come first."""
    checks = (_dims, _same_for_all, _empty, _not_finite, _negative, _strange_corners)
    faults = (y for check in checks for y in check(site, name, found))
    first = next(faults, None)
    if first is not None:
        code, message, cure = first
        yield Diagnostic(code, message, helps=(Help(cure),), file=fields.source)


PointFault = tuple[str, str, str]


def _dims(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:
    have = found[0].points.shape[1]
    if site.dims not in (None, have):
        message = f"`{name}` lies in {have} dimensions, `{site.name}` of the model in {site.dims}"
        yield "OP0613", message, f"in the program: `domain {site.name} = points({have})`"


def _same_for_all(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:
    if site.shared and len(found) > 1:
        message = f"`{name}` has points for each sample, `{site.name}` the same ones for all"
        yield "OP0613", message, f"declare `{site.name}` with `geometry = per_sample`"


def _empty(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:  # noqa: ARG001  one of several checks
    for i, x in enumerate(found):
        if not len(x):
            message = f"sample {i} has no points on `{name}`"
            yield "OP0613", message, "leave such samples out of the file"


def _not_finite(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:  # noqa: ARG001  one of several checks
    for what in ("points", "weights"):
        for i, x in enumerate(found):
            values = getattr(x, what)
            bad = 0 if values is None else int((~torch.isfinite(values.float())).sum())
            if bad:
                noun = "coordinates" if what == "points" else what
                message = f"`{name}` holds {noun} that are not finite, {bad} in sample {i}"
                yield "OP0612", message, "leave such points or samples out of the file"


def _negative(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:  # noqa: ARG001  one of several checks
    for i, x in enumerate(found):
        if x.weights is not None and (x.weights < 0).any():
            message = f"weights of sample {i} on `{name}` are negative"
            yield "OP0613", message, "a weight is the length, area or volume of a point"


def _strange_corners(site: PointsRequest, name: str, found: Geometries) -> Iterator[PointFault]:  # noqa: ARG001  one of several checks
    for what in ("cells", "edges"):
        for i, x in enumerate(found):
            bad = _outside(getattr(x, what), len(x))
            if bad is not None:
                message = f"{what} of sample {i} on `{name}` name point {bad}, of {len(x)} points"
                yield "OP0613", message, "points are numbered from 0 in each sample"


def _outside(corners: Tensor | None, points: int) -> int | None:
    """Return a point index that is out of range, if there is one."""
    if corners is None or not corners.numel():
        return None
    low, high = (int(x) for x in corners.aminmax())
    return low if low < 0 else high if high >= points else None


# ------------------------------------------------------------------------------------------ words


def _no_place(fields: Fields, site: PointsRequest, set_name: str | None) -> Diagnostic:
    set_names = list(fields.places)
    cure: tuple[str, ...]
    if not set_names:
        message = f"the data have no coordinates for `{site.name}`"
        cure = ("`opdsl.data.io.formats.points` describes a layout that has them",)
    elif set_name is not None:
        message = (
            f"no set of points `{set_name}` for `{site.name}`; the file has {_listed(set_names)}"
        )
        cure = did_you_mean(set_name, set_names) or (f"name one: {site.name} = {set_names[0]}",)
    else:
        message = f"which points is `{site.name}`? The file has {_listed(set_names)}"
        cure = (f"name them: {site.name} = {set_names[0]}",)
    return Diagnostic("OP0611", message, helps=tuple(Help(x) for x in cure), file=fields.source)


def _torn(fields: Fields, site: PointsRequest, on_it: Mapping[str, Sequence[str]]) -> Diagnostic:
    homes = [f"`{n}` is on `{fields.homes[n]}`" for x in on_it.values() for n in x]
    message = f"{', '.join(homes)}, and the model takes them all on `{site.name}`"
    helps = (Help("name fields of one set of points, or declare a domain for each"),)
    return Diagnostic("OP0613", message, helps=helps, file=fields.source)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{x}`" for x in names)


def points_mismatch(
    port: FieldRequest, names: Sequence[str], fields: Fields, where: str | None
) -> str | None:
    """Explain why fields of the file are no functions on the set `where`; None if they are."""
    for n in names:
        home = fields.homes.get(n)
        # no second message where the domain itself is not found
        if None not in {home, where} and home != where:
            return f"`{n}` is on the points `{home}`, and `{port.domain}` is `{where}`"
        if home is None and _axes(fields.values[n]) != port.axes:
            return f"`{n}` is on a grid, `{port.name}` of the model on points"
    return None


def grid_mismatch(port: FieldRequest, names: Sequence[str], fields: Fields) -> str | None:
    """Explain why fields of the file are no functions on the grid; None if they are."""
    for n in names:
        if n in fields.homes:
            return f"`{n}` is on the points `{fields.homes[n]}`, `{port.name}` on no points"
        axes = _axes(fields.values[n])
        if axes != port.axes:
            return f"`{n}` has {axes} axes, `{port.name}` of the model has {port.axes}"
    return None


def _axes(x: Values) -> int:
    return 1 if isinstance(x, Packed) else all_values(x).ndim - 2


def weights_on_points(
    ports: Sequence[FieldRequest],
    values: Mapping[str, Values],
    sites: Sequence[PointsRequest],
    places: Mapping[str, Geometries],
    source: str,
) -> Iterator[tuple[str, Values]]:
    """Yield quadrature weights of inputs and outputs on points with unequal weights."""
    weights_by_domain = {
        x.name: point_weights(places[x.name], x, source) for x in sites if x.name in places
    }
    for port in ports:
        weights = weights_by_domain.get(port.domain)
        if weights is not None:
            x, rows = values[port.name], [w[None].float() for w in weights]
            rows = rows * len(x) if len(rows) == 1 else rows
            yield port.name, Packed.of(rows) if isinstance(x, Packed) else rows[0][None]
