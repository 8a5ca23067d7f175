"""Published layouts: one module for each, which defines `PRESET`.

A preset says which arrays of a file are inputs and outputs and what their axes are, as a program
could say itself. It is applied where the program says nothing and its names are all there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
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
        certain: whether the names and shapes alone say that the layout is this one.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    axes: Mapping[str, AxisNames]
    points: tuple[str, ...] = ()
    coordinates: tuple[str, ...] = ()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Preset:
    """A published layout.

    Attributes:
        summary: its name and source, for messages.
        propose: returns what the arrays are, or several ways to use them, the first that suits a
            model counts; None if the layout is another one.
        expects: names and shapes of the arrays, for messages.
        own_reader: formats (`opdsl.data.io.formats`) whose readers know which arrays are what.
    """

    summary: str
    propose: Callable[[ArrayInfos], Proposal | Iterable[Proposal] | None]
    expects: str = ""
    own_reader: tuple[str, ...] = ()

    def proposals(self, arrays: ArrayInfos, *, certain: bool = True) -> list[Proposal]:
        """List what the arrays can be.

        Args:
            arrays: of a file; of several files by `FILE`, where each has one.
            certain: whether to leave out what names and shapes do not say for certain.
        """
        proposal = self.propose(arrays)
        several = [proposal] if isinstance(proposal, Proposal) else list(proposal or ())
        return [x for x in several if x.certain or not certain]


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
    preset: Preset,
    arrays: ArrayInfos,
    targets: Sequence[Target],
    named: Container[str],
    *,
    certain: bool = True,
) -> Applied | None:
    """Apply a preset; None if its layout is not that of the file, or the model takes other things.

    Args:
        preset: the layout.
        arrays: of the file.
        targets: inputs, outputs and domains of points of the model.
        named: those for which the program names the arrays.
        certain: as for `Preset.proposals`.
    """
    proposals = preset.proposals(arrays, certain=certain)
    suitable = (_suited(preset, x, targets, named) for x in proposals)
    return next((x for x in suitable if x is not None), None)


def _suited(
    preset: Preset, proposal: Proposal, targets: Sequence[Target], named: Container[str]
) -> Applied | None:
    """Apply a proposal; None if the model takes other things."""
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
