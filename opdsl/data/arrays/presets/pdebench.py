"""PDEBench: one array for a trajectory, for each component, or for each sample of its own.

Source: Takamoto et al. 2022, arXiv:2210.07182, and the writers in its repository.
"""

from opdsl.data.arrays.axes import CHANNEL, SAMPLE, TIME
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal

COMPONENTS = ("density", "pressure", "Vx", "Vy", "Vz")
EACH = "*/data"  # a group for each sample


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise compressible flow, Darcy flow, scalar trajectories, and groups of samples."""
    coordinates = tuple(x for x in ("x-coordinate", "y-coordinate", "z-coordinate") if x in arrays)
    flow = tuple(x for x in COMPONENTS if x in arrays)
    if {"density", "pressure", "Vx"} <= arrays.keys():
        axes = (SAMPLE, TIME, *GRID[: len(arrays["density"].shape) - 2])
        return Proposal(flow, flow, dict.fromkeys(flow, axes), coordinates=coordinates)
    if {"nu", "tensor"} <= arrays.keys() and len(arrays["nu"].shape) == 3:
        fields = {"nu": (SAMPLE, *GRID[:2]), "tensor": (SAMPLE, CHANNEL, *GRID[:2])}
        return Proposal(("nu",), ("tensor",), fields, coordinates=coordinates)
    if "tensor" in arrays and coordinates and len(arrays["tensor"].shape) >= 3:
        axes = (SAMPLE, TIME, *GRID[: len(arrays["tensor"].shape) - 2])
        return Proposal(("tensor",), ("tensor",), {"tensor": axes}, coordinates=coordinates)
    groups = [x for x in arrays if x.endswith("/data")]
    if groups and all(x.removesuffix("/data").isdigit() for x in groups):
        axes = (TIME, *GRID[: len(arrays[groups[0]].shape) - 2], CHANNEL)
        return Proposal((EACH,), (EACH,), {EACH: axes})
    return None


PRESET = Preset(
    "PDEBench (Takamoto et al. 2022)",
    propose,
    "`density`, `pressure`, `Vx`; `nu` and `tensor`; `tensor` and `x-coordinate`; or groups "
    "`0000/data`",
)
