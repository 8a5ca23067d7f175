"""Arguments of a model's call: tensors, packed functions, and coordinates of points.

Three kinds of values come out of what a user passes, with the number of points of each sample and a
signature by which calls of equal shapes are recognised.
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
    """Coordinates of the points of a domain.

    Attributes:
        geometry: of each sample, or one for all.
        listed: whether they were passed as a list, one for each sample, so that numbers of points
            may differ.
    """

    geometry: Geometries
    listed: bool

    @property
    def lead(self) -> Tensor:
        """First of the tensors, which has the number format and the device of all."""
        return self.geometry[0].points


CallArgument = Tensor | Packed | Coordinates


def as_coordinates(x: object) -> Coordinates | None:
    """Convert an argument to the coordinates of a domain; None if it cannot be converted."""
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


def representative(x: CallArgument) -> Tensor:
    """Return a tensor with the number format and the device of the argument."""
    return x if isinstance(x, Tensor) else x.values if isinstance(x, Packed) else x.lead


def signature(x: CallArgument) -> tuple[object, ...]:
    """Return a key that is equal for arguments that a module treats in one way."""
    y = representative(x)
    if isinstance(x, Tensor):
        return x.shape, x.dtype, x.device
    if isinstance(x, Packed):
        return y.shape, y.dtype, y.device, x.sizes
    return point_counts(x.geometry), x.listed, y.shape[-1], y.dtype, y.device


def sample_count(x: CallArgument) -> int:
    """Return the number of samples of an input or of coordinates."""
    if isinstance(x, Tensor):
        return x.shape[0]  # maybe a symbol of a tracer, which `int` would fix
    return len(x) if isinstance(x, Packed) else len(x.geometry)


def packed_sizes(
    ports: Sequence[Port], asks: Sequence[SideInput], arguments: Sequence[CallArgument]
) -> PackedSizes:
    """Return the points per sample, for domains whose samples differ in number of points."""
    result: dict[str, tuple[int, ...]] = {}
    for port, x in zip(ports, arguments, strict=False):
        if isinstance(x, Packed):
            result.setdefault(port.space.domain.name, x.sizes)
    dense = {x.space.domain.name for x in ports} - set(result)
    for side_input, x in zip(asks, arguments[len(ports) :], strict=True):
        if isinstance(x, Coordinates) and x.listed and side_input.domain.name not in dense:
            result.setdefault(side_input.domain.name, point_counts(x.geometry))
    return result


def grid_of(x: CallArgument, domain: Domain, sizes: PackedSizes) -> Grid:
    """Return the points of an argument on each axis; of packed samples their total."""
    if isinstance(x, Packed):
        return (x.values.shape[-1],)
    if isinstance(x, Coordinates):
        return (sum(point_counts(x.geometry)) if domain.name in sizes else x.lead.shape[0],)
    return tuple(x.shape[x.ndim - domain.dims :])


def to_channels_last(x: CallArgument) -> Tensor:
    """Move the channels of an input behind the grid, the layout of blocks."""
    return representative(x).movedim(1, -1).contiguous()


def field_argument(x: Tensor, dims: int) -> Tensor:
    """Reshape a static field (*grid) to the layout of blocks, (1, *grid, 1)."""
    return x.reshape(1, *x.shape[x.ndim - dims :], 1)
