"""The Well: trajectories on grids, vectors with their components last.

Source: Ohana et al. 2024, arXiv:2412.00568.
"""

from opdsl.data.arrays.axes import CHANNEL, SAMPLE, TIME, AxisNames
from opdsl.data.arrays.listing import ArrayInfo
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal

ORDERS = {"t0_fields": 0, "t1_fields": 1}
DIMENSIONS = "dimensions"


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise scalars and vectors; the program says which are inputs and outputs."""
    fields = {k: x for k, x in arrays.items() if k.partition("/")[0] in ORDERS}
    coordinates = [k for k in arrays if k.startswith(f"{DIMENSIONS}/") and not k.endswith("/time")]
    if not fields or not coordinates:
        return None
    axes = {k: y for k, x in fields.items() if (y := _axes(k, x, len(coordinates)))}
    return Proposal((), (), axes, coordinates=tuple(coordinates))


def _axes(name: str, info: ArrayInfo, dims: int) -> AxisNames:
    """Return the axes of a field; () if its shape and its attributes contradict each other."""
    varying = info.attributes.get("dim_varying", [True] * dims)
    grid = [x for x, y in zip(GRID, varying, strict=False) if y] if len(varying) == dims else []
    flags = ((SAMPLE, "sample_varying"), (TIME, "time_varying"))
    lead = [x for x, key in flags if info.attributes.get(key, True)]
    axes = (*lead, *grid, *[CHANNEL] * ORDERS[name.partition("/")[0]])
    return axes if len(axes) == len(info.shape) and len(grid) == dims else ()


PRESET = Preset(
    "The Well (Ohana et al. 2024)",
    propose,
    "groups `t0_fields`, `t1_fields`, `dimensions`",
    own_reader=("well",),
)
