"""Published layouts of files, and where the points of their axes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from opdsl.data.arrays.axes import QUERY, SAMPLE, SYNONYMS, AxisNames, Target, described
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.arrays.mapping import ArrayMap, MappedData
from opdsl.data.arrays.parts import ArrayPart
from opdsl.data.arrays.presets import PRESETS, Applied, applied
from opdsl.data.arrays.queries import QueryData
from opdsl.data.arrays.references import matching, written
from opdsl.data.bind.coordinates import AxesCoordinates, AxisCoordinates
from opdsl.diagnostics import Diagnostic, Help


def published(
    arrays: Mapping[str, ArrayInfo], targets: Sequence[Target], map_: ArrayMap
) -> Applied | None:
    """Return the published layout of a file; None if it is none, or several fit."""
    named = {x.name for x in targets if x.name in map_.fields or matching(x.name, list(arrays))}
    layouts = [y for x in PRESETS if (y := applied(x, arrays, targets, named))]
    return layouts[0] if len(layouts) == 1 else None


def assumed(path: str, layout: Applied, data: MappedData | QueryData) -> Diagnostic:
    """Make OP0664: which published layout is assumed, and how to say the same in the program."""
    fields = " ".join(f"{k} = {written(x)}" for k, x in layout.fields.items())
    parts = {y.text: _written(y) for x in data.parts.values() for y in x}
    axes = " ".join(f"{k} = {described(v)}" for k, v in parts.items() if k.isidentifier())
    block = f"`fields {{ {fields} }}" + (f" axes {{ {axes} }}`" if axes else "`")
    return Diagnostic(
        "OP0664",
        f"the file is read as {layout.preset.summary}",
        notes=(rows,) if (rows := _rows(data)) else (),
        helps=(Help(f"in the `data` block, {block} says so"),),
        severity="warning",
        file=path,
    )


def _written(part: ArrayPart) -> AxisNames:
    """Return the axes of an array as a program states them."""
    return tuple(QUERY if part.by_query and x == SAMPLE else x for x in part.axes)


def _rows(data: MappedData | QueryData) -> str:
    """Say how rows that are queries become samples."""
    equal = "rows with equal inputs are one sample"
    return f"{equal}: {data.groups.described()}" if isinstance(data, QueryData) else ""


def stated_coordinates(
    listing: ArrayFile, targets: Sequence[Target], map_: ArrayMap, layout: Applied | None
) -> AxesCoordinates:
    """Read where the points of the axes of the grid are, if the file states it."""
    grid = next((x.grid for x in targets if x.kind == "grid"), ())
    found = {}
    for axis in grid:
        name = _coordinate_array(axis, listing.arrays, map_, layout)
        info = listing.arrays.get(name) if name else None
        if name and info is not None and len(info.shape) == 1 and info.dtype.kind in "iuf":
            unit = info.attributes.get("units", "")
            values = listing.read(name).astype(np.float64)
            found[axis] = AxisCoordinates(values, unit=unit if isinstance(unit, str) else "")
    return found


def _coordinate_array(
    axis: str, arrays: Mapping[str, ArrayInfo], map_: ArrayMap, layout: Applied | None
) -> str | None:
    """Return the array of the coordinates of an axis: as the program, layout or file names it."""
    if axis in map_.fields:
        return next(iter(matching(map_.fields[axis][0], list(arrays))), None)
    if layout is not None and axis in layout.coordinates:
        return layout.coordinates[axis]
    # a coordinate variable has the name of its own axis (CF conventions)
    own = (k for k, x in arrays.items() if x.axes == (k.rpartition("/")[2],))
    return next((k for k in own if SYNONYMS.get(k.lower(), k) == SYNONYMS.get(axis, axis)), None)
