"""What a model is called with: tensors, packed functions, and where points are.

What comes in: what a user gave for an input or for the coordinates of a domain. What goes out: one
of three kinds of values, how many points each sample has, and a signature by which calls that are
alike are known again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from opdsl.ir.block import SideInput
from opdsl.ir.graph import Port
from opdsl.ir.origins import Grid
from opdsl.ir.spaces import Domain
from opdsl.nn.points.geometry import Geometries, Geometry, as_geometries, point_counts
from opdsl.nn.points.packed import Packed

PackedSizes = Mapping[str, tuple[int, ...]]  # of the domains whose samples are packed, by name


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Where the points of a domain are.

    Attributes:
        geometry: of each sample, or one for all.
        listed: whether it came as a list, one for each sample, so that numbers may differ.
    """

    geometry: Geometries
    listed: bool

    @property
    def lead(self) -> Tensor:
        """One of the coordinates' tensors."""
        return self.geometry[0].points


Argument = Tensor | Packed | Coordinates


def as_coordinates(x: object) -> Coordinates | None:
    """What was given for coordinates, if it can be that."""
    if isinstance(x, Tensor):
        if x.ndim == 3 and not len(x):  # no samples: any points will do, if there are as many
            x = x.new_zeros(x.shape[1:])
        return Coordinates(as_geometries(x), listed=False) if x.ndim in {2, 3} else None
    if isinstance(x, Geometry):
        return Coordinates((x,), listed=False)
    if not isinstance(x, list | tuple) or not x or not all(_is_one_geometry(y) for y in x):
        return None
    return Coordinates(as_geometries(x), listed=True)


def _is_one_geometry(x: object) -> bool:
    return isinstance(x, Geometry) or (isinstance(x, Tensor) and x.ndim == 2)


def representative(x: Argument) -> Tensor:
    """A tensor that has the number format and the device."""
    return x if isinstance(x, Tensor) else x.values if isinstance(x, Packed) else x.lead


def signature(x: Argument) -> tuple[object, ...]:
    """Equal for values that a module treats alike."""
    y = representative(x)
    if isinstance(x, Tensor):
        return x.shape, x.dtype, x.device
    if isinstance(x, Packed):
        return y.shape, y.dtype, y.device, x.sizes
    return point_counts(x.geometry), x.listed, y.shape[-1], y.dtype, y.device


def sample_count(x: Argument) -> int:
    """How many samples an input or the coordinates of points have."""
    if isinstance(x, Tensor):
        return x.shape[0]  # maybe a symbol of a tracer, which `int` would fix
    return len(x) if isinstance(x, Packed) else len(x.geometry)


def packed_sizes(
    ports: Sequence[Port], asks: Sequence[SideInput], given: Sequence[Argument]
) -> PackedSizes:
    """The points of each sample, for the domains whose samples have numbers of their own."""
    found: dict[str, tuple[int, ...]] = {}
    for port, x in zip(ports, given, strict=False):
        if isinstance(x, Packed):
            found.setdefault(port.space.domain.name, x.sizes)
    dense = {x.space.domain.name for x in ports} - set(found)
    for ask, x in zip(asks, given[len(ports) :], strict=True):
        if isinstance(x, Coordinates) and x.listed and ask.domain.name not in dense:
            found.setdefault(ask.domain.name, point_counts(x.geometry))
    return found


def grid_of(x: Argument, domain: Domain, sizes: PackedSizes) -> Grid:
    """The points of a value on each axis; of packed samples all together."""
    if isinstance(x, Packed):
        return (x.values.shape[-1],)
    if isinstance(x, Coordinates):
        return (sum(point_counts(x.geometry)) if domain.name in sizes else x.lead.shape[0],)
    return tuple(x.shape[x.ndim - domain.dims :])


def to_channels_last(x: Argument) -> Tensor:
    """The values of an input as blocks take them, channels last."""
    return representative(x).movedim(1, -1).contiguous()


def field_argument(x: Tensor, dims: int) -> Tensor:
    """A static field as blocks take it: (1, *grid, 1)."""
    return x.reshape(1, *x.shape[x.ndim - dims :], 1)
