"""What a reader makes of one file; `formats` joins several and adds what it knows of the set."""

from dataclasses import dataclass

from torch import Tensor

from opdsl.data.coarsen import Layout
from opdsl.data.samples import Role


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """The fields of one file.

    Attributes:
        name: the data set's name.
        values: field -> (samples, channels, *grid).
        roles: field -> what the file says of it.
        axes: names of the axes of the grid.
        layout: which points a coarser grid may keep.
    """

    name: str
    values: dict[str, Tensor]
    roles: dict[str, Role]
    axes: tuple[str, ...]
    layout: Layout
