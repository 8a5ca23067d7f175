"""Published layouts: one module for each, which defines `PRESET`.

A preset says which arrays of a file are inputs and outputs and what their axes are, as a program
could say itself. It is applied where the program says nothing and its names are all there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from opdsl.data.arrays.axes import AxisNames, Target
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.registry import Registry

ArrayInfos = Mapping[str, ArrayInfo]
GRID = ("0", "1", "2", "3")  # the axes of the grid, in the order of the program


@dataclass(frozen=True, slots=True)
class Proposal:
    """The arrays of a file in a published layout.

    Attributes:
        inputs: references, one for each input; or one for each component of the only one.
        outputs: the same of the outputs.
        axes: reference -> axes; those of the grid are `GRID`.
        points: references of the coordinates of points.
        coordinates: references of the coordinates of the axes of the grid, in their order.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, AxisNames]
    points: tuple[str, ...] = ()
    coordinates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preset:
    """A published layout.

    Attributes:
        summary: its name and source, for messages.
        propose: returns what the arrays are, or None if the layout is another one.
    """

    summary: str
    propose: Callable[[ArrayInfos], Proposal | None]


@dataclass(frozen=True, slots=True)
class Applied:
    """A preset applied to the inputs and outputs of a model.

    Attributes:
        preset: the layout.
        fields, axes: as in `ArrayMap`.
        coordinates: axis of the grid -> reference.
    """

    preset: Preset
    fields: Mapping[str, tuple[str, ...]]
    axes: Mapping[str, AxisNames]
    coordinates: Mapping[str, str] = field(default_factory=dict)


PRESETS: Registry[Preset] = Registry(__name__, "PRESET", "opdsl.data_presets")


def applied(
    preset: Preset, arrays: ArrayInfos, targets: Sequence[Target], named: Container[str]
) -> Applied | None:
    """Apply a preset; None if its layout is not that of the file, or the model takes other things.

    Args:
        preset: the layout.
        arrays: of the file.
        targets: inputs, outputs and domains of points of the model.
        named: those for which the program names the arrays.
    """
    proposal = preset.propose(arrays)
    if proposal is None:
        return None
    sides = (
        ([x for x in targets if not x.output and x.kind != "coordinates"], proposal.inputs),
        ([x for x in targets if x.output], proposal.outputs),
        ([x for x in targets if x.kind == "coordinates"], proposal.points),
    )
    fields: dict[str, tuple[str, ...]] = {}
    for ports, references in sides:
        if all(x.name in named for x in ports):
            continue
        if len(ports) == 1 and references:
            fields[ports[0].name] = references
        elif len(ports) == len(references):
            fields |= {x.name: (y,) for x, y in zip(ports, references, strict=True)}
        else:
            return None
    grid = next((x.grid for x in targets if x.grid), ())
    used = {x for axes in proposal.axes.values() for x in axes if x in GRID}
    if len(used) != len(grid):
        return None
    names = dict(zip(GRID, grid, strict=False))
    axes = {k: tuple(names.get(x, x) for x in v) for k, v in proposal.axes.items()}
    return Applied(preset, fields, axes, dict(zip(grid, proposal.coordinates, strict=False)))
