"""Select fields of a data set and add derived ones; used by `add_distance` and `add_transport`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from opdsl.data.bind.samples import Fields, Role
from opdsl.data.io.file_fields import FileFields
from opdsl.diagnostics import did_you_mean, fault
from opdsl.nn.points.batch import Values
from opdsl.nn.points.geometry import Geometries


def with_fields(
    fields: Fields, given: Mapping[str, tuple[Values, Role, str | None]], axes: Sequence[str]
) -> FileFields:
    """The data set with more fields: values, role, and the set of points or None for the grid."""
    return FileFields(
        name=fields.name,
        values=fields.values | {k: x for k, (x, _, _) in given.items()},
        roles=fields.roles | {k: role for k, (_, role, _) in given.items()},
        axes=tuple(axes),
        layout="periodic",
        places=fields.places,
        homes={**fields.homes, **{k: home for k, (_, _, home) in given.items() if home}},
    )


def select_fields(fields: Fields, names: Sequence[str]) -> Fields:
    """Select fields, all if none is named; the grid goes if nothing is left on it.

    Raises:
        OpError: OP0611, a name is not there.
    """
    for x in names:
        if x not in fields.values:
            there = ", ".join(f"`{k}`" for k in fields.values) or "none"
            helps = did_you_mean(x, fields.values)
            met = f"no field `{x}`; the file has {there}"
            raise fault("OP0611", met, helps=helps, file=fields.source)
    if not names:
        return fields
    gridded = any(x not in fields.homes for x in names)
    return replace(
        fields,
        values={k: fields.values[k] for k in names},
        roles={k: fields.roles[k] for k in names},
        homes={k: x for k, x in fields.homes.items() if k in names},
        axes=fields.axes if gridded else (),
        resolution=fields.resolution if gridded else (),
    )


def choose_points(fields: Fields, domain: str | None) -> tuple[Geometries, str]:
    """The set of points that `domain` names, or the only one, and its name."""
    there = ", ".join(f"`{k}`" for k in fields.places) or "none"
    if domain is None and len(fields.places) == 1:
        domain = next(iter(fields.places))
    if domain is None:
        met = f"which set of points is meant? The file has {there}"
        raise fault("OP0611", met, helps=("name it: `--domain`",), file=fields.source)
    if domain not in fields.places:
        helps = did_you_mean(domain, fields.places)
        met = f"no set of points `{domain}`; the file has {there}"
        raise fault("OP0611", met, helps=helps, file=fields.source)
    return fields.places[domain], domain


def refuse_taken_names(fields: Fields, names: Sequence[str]) -> None:
    """Refuse names that fields of the file have already."""
    taken = [x for x in names if x in fields.values]
    if taken:
        met = f"the file has a field `{taken[0]}` already"
        raise fault(
            "OP0611", met, helps=("take over the other fields only: `--keep`",), file=fields.source
        )


def refuse_other_grid(fields: Fields, axes: Sequence[str], grid: Sequence[int]) -> None:
    """Refuse a second grid: a file has one."""
    if len(grid) != len(axes):
        met = f"a grid of {len(grid)} axes for points of {len(axes)} coordinates"
        raise fault("OP0613", met, file=fields.source)
    if fields.axes and (tuple(fields.axes), fields.resolution) != (tuple(axes), tuple(grid)):
        met = f"the file has a grid ({_grid(fields.axes, fields.resolution)}) already"
        helps = (f"this one is {_grid(axes, grid)}: take over fields on points only: `--keep`",)
        raise fault("OP0613", met, helps=helps, file=fields.source)


def sample_count(fields: Fields) -> int:
    """How many samples the file has."""
    counts = [len(x) for x in fields.values.values()]
    return counts[0] if counts else max(len(x) for x in fields.places.values())


def _grid(axes: Sequence[str], sizes: Sequence[int]) -> str:
    return ", ".join(f"{a}: {n}" for a, n in zip(axes, sizes, strict=True))
