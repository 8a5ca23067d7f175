"""Published layouts of files, and where the points of their axes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from opdsl.data.arrays.axes import QUERY, SAMPLE, SYNONYMS, AxisNames, Target, described
from opdsl.data.arrays.faults import listed
from opdsl.data.arrays.listing import ArrayFile, ArrayInfo
from opdsl.data.arrays.mapping import ArrayMap, MappedData, Opened
from opdsl.data.arrays.parts import ArrayPart, Files
from opdsl.data.arrays.presets import PRESETS, Applied, Preset, applied
from opdsl.data.arrays.queries import QueryData
from opdsl.data.arrays.reading import is_store
from opdsl.data.arrays.references import matching, written
from opdsl.data.bind.coordinates import AxesCoordinates, AxisCoordinates, coordinate_difference
from opdsl.data.io.data_file import open_data_file
from opdsl.data.io.formats import FORMATS
from opdsl.diagnostics import Diagnostic, Help, OpError, did_you_mean, fault

KNOWN_FILES = 256  # of which coordinates are compared


def chosen_preset(kind: str, path: str) -> Preset | None:
    """Return the layout that the word after `data` names; None for other words.

    Raises:
        OpError: OP0685, the word is nearly that of a layout.
    """
    preset = PRESETS.find(kind)
    near = did_you_mean(kind, PRESETS.known())
    if preset is None and near and kind != "auto":
        message = f"no published layout is called `{kind}`"
        helps = (*near, f"the layouts are {', '.join(PRESETS.known())}")
        raise fault("OP0685", message, helps=helps, file=path)
    return preset


def has_own_reader(preset: Preset, path: str) -> bool:
    """Return whether a file has a format whose reader finds inputs and outputs of the layout."""
    file = Path(path)
    if file.is_dir():
        return bool(preset.own_reader) and not is_store(file)
    if not file.is_file():
        return False
    with open_data_file(file, path) as opened:
        formats = [FORMATS.find(x) for x in preset.own_reader]
        return any(x is not None and x.matches(opened) for x in formats)


def other_layout(files: Files, preset: Preset, targets: Sequence[Target]) -> OpError:
    """Make OP0685: files do not have the layout that the program says, or it does not suit."""
    names = ", ".join(f"`{x.name}`" for x in targets)
    arrays = arrays_by_name(files)
    proposals = preset.proposals(arrays, certain=False)
    if proposals:
        message = f"the file is laid out as {preset.summary}, but does not suit {names}"
        ways = [f"{written(x.inputs)} to {written(x.outputs)}" for x in proposals if x.inputs]
        expected = " or ".join(ways) or preset.expects
    else:
        message, expected = f"the file is not laid out as {preset.summary}", preset.expects
    return fault(
        "OP0685",
        message,
        notes=(f"expected {expected}", f"the data hold {listed(files)}"),
        helps=("name the arrays instead: `data { fields { ... } axes { ... } }`",),
        file=files.source,
    )


def arrays_by_name(files: Files) -> Mapping[str, ArrayInfo]:
    """Return the arrays of a data set by the names with which a program refers to them.

    Files with equal arrays hold more samples of them; `.npy` files have the names of their arrays.
    """
    first = files.arrays[0]
    if all(x.suffix == ".npy" for x in files.paths) and len(files.paths) > 1:
        pairs = zip(files.paths, files.arrays, strict=True)
        return {path.name: x for path, arrays in pairs for x in arrays.values()}
    if all(x.keys() == first.keys() for x in files.arrays):
        return first
    pairs = zip(files.paths, files.arrays, strict=True)
    return {f"{path.name}/{k}": x for path, arrays in pairs for k, x in arrays.items()}


def published(
    arrays: Mapping[str, ArrayInfo],
    targets: Sequence[Target],
    map_: ArrayMap,
    preset: Preset | None = None,
) -> Applied | None:
    """Return the published layout of a file; None if it is none, or several fit.

    Args:
        arrays: of the file.
        targets: inputs, outputs and domains of points of the model.
        map_: what the program says about the arrays.
        preset: the layout, if the program names it.
    """
    named = {x.name for x in targets if x.name in map_.fields or matching(x.name, list(arrays))}
    if preset is not None:
        return applied(preset, arrays, targets, named & {*map_.fields}, certain=False)
    layouts = [y for x in PRESETS if (y := applied(x, arrays, targets, named))]
    return layouts[0] if len(layouts) == 1 else None


def assumed(path: str, layout: Applied, data: MappedData | QueryData) -> Diagnostic:
    """Make OP0664: which published layout is assumed, and how to say the same in the program."""
    fields = " ".join(f"{k} = {written(x)}" for k, x in layout.fields.items())
    parts = {
        y.text if y.text.isidentifier() else k: _written(y)
        for k, x in data.parts.items()
        for y in x
    }
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


def agreed_coordinates(
    opened: Opened,
    files: Files,
    targets: Sequence[Target],
    map_: ArrayMap,
    layout: Applied | None,
) -> AxesCoordinates:
    """Return where the points of the axes of the grid are, on which all files have to agree.

    Raises:
        OpError: OP0610, two files have other coordinates.
    """
    first = stated_coordinates(opened[0], targets, map_, layout)
    if not first or len(files.paths) == 1:
        return first
    if any(x.keys() != files.arrays[0].keys() for x in files.arrays):
        return {}
    step = -(-len(files.paths) // KNOWN_FILES)
    for i in range(step, len(files.paths), step):
        other = stated_coordinates(opened[i], targets, map_, layout)
        if difference := coordinate_difference(first, other):
            here, there = difference
            message = f"the files have other coordinates: {here} and {there}"
            notes = (f"in `{files.paths[0].name}` and `{files.paths[i].name}`",)
            raise fault("OP0610", message, notes=notes, file=files.source)
    return first


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
