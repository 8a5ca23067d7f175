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
    """Add fields to a data set: name -> values, role, and set of points (None for the grid)."""
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
    """Select fields, all if none is named; drop the grid if no field is left on it.

    Raises:
        OpError: OP0611, a name is not there.
    """
    for x in names:
        if x not in fields.values:
            available = ", ".join(f"`{k}`" for k in fields.values) or "none"
            helps = did_you_mean(x, fields.values)
            message = f"no field `{x}`; the file has {available}"
            raise fault("OP0611", message, helps=helps, file=fields.source)
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
    """Return the set of points that `domain` names, or the only one, and its name."""
    available = ", ".join(f"`{k}`" for k in fields.places) or "none"
    if domain is None and len(fields.places) == 1:
        domain = next(iter(fields.places))
    if domain is None:
        message = f"which set of points is meant? The file has {available}"
        raise fault("OP0611", message, helps=("name it: `--domain`",), file=fields.source)
    if domain not in fields.places:
        helps = did_you_mean(domain, fields.places)
        message = f"no set of points `{domain}`; the file has {available}"
        raise fault("OP0611", message, helps=helps, file=fields.source)
    return fields.places[domain], domain


def refuse_taken_names(fields: Fields, names: Sequence[str]) -> None:
    """Refuse names that the file already has fields of."""
    duplicates = [x for x in names if x in fields.values]
    if duplicates:
        message = f"the file has a field `{duplicates[0]}` already"
        raise fault(
            "OP0611",
            message,
            helps=("take over the other fields only: `--keep`",),
            file=fields.source,
        )


def refuse_other_grid(fields: Fields, axes: Sequence[str], grid: Sequence[int]) -> None:
    """Refuse a grid that differs from that of the file, which can have only one."""
    if len(grid) != len(axes):
        message = f"a grid of {len(grid)} axes for points of {len(axes)} coordinates"
        raise fault("OP0613", message, file=fields.source)
    if fields.axes and (tuple(fields.axes), fields.resolution) != (tuple(axes), tuple(grid)):
        message = f"the file has a grid ({_grid(fields.axes, fields.resolution)}) already"
        helps = (f"this one is {_grid(axes, grid)}: take over fields on points only: `--keep`",)
        raise fault("OP0613", message, helps=helps, file=fields.source)


def sample_count(fields: Fields) -> int:
    """Number of samples in the file."""
    counts = [len(x) for x in fields.values.values()]
    return counts[0] if counts else max(len(x) for x in fields.places.values())


def _grid(axes: Sequence[str], sizes: Sequence[int]) -> str:
    return ", ".join(f"{a}: {n}" for a, n in zip(axes, sizes, strict=True))
