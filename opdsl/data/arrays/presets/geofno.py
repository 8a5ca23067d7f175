"""Folders of `.npy` files of Geo-FNO and Transolver: airfoils, pipes and elasticity.

Source: Li et al. 2023, arXiv:2207.05209, and its repository; Wu et al. 2024, arXiv:2402.02366.
"""

import re
from collections.abc import Iterator

from opdsl.data.arrays.axes import COORDINATE, POINT, SAMPLE, AxisNames
from opdsl.data.arrays.presets import GRID, ArrayInfos, Preset, Proposal

# which row of `Q` is the output
FLOWS = {"NACA_Cylinder": 4, "Pipe": 0}
CLOUD = re.compile(r"(?P<kind>.*)_XY(?P<number>_\d+)?\.npy")


def propose(arrays: ArrayInfos) -> Iterator[Proposal]:
    """Recognise coordinates and values on a curved grid, or on points with samples last.

    A curved grid is a set of points for a model on points; for a model on a grid of indices the
    coordinates are its input.
    """
    for stem, row in FLOWS.items():
        places, values = (f"{stem}_X.npy", f"{stem}_Y.npy"), f"{stem}_Q.npy"
        if {*places, values} <= arrays.keys():
            output = f"{stem}_Q.npy[:, {row}]"
            for grid in ((POINT, POINT), GRID[:2]):
                axes: dict[str, AxisNames] = dict.fromkeys((*places, output), (SAMPLE, *grid))
                on_points = grid[0] == POINT
                yield Proposal(
                    () if on_points else places, (output,), axes, places if on_points else ()
                )
    for name in arrays:
        match = CLOUD.fullmatch(name)
        values = f"{match['kind']}_sigma{match['number'] or ''}.npy" if match else ""
        if values in arrays:
            axes = {name: (POINT, COORDINATE, SAMPLE), values: (POINT, SAMPLE)}
            yield Proposal((), (values,), axes, (name,))


PRESET = Preset(
    "files of Geo-FNO (Li et al. 2023)",
    propose,
    "`NACA_Cylinder_X.npy`, `NACA_Cylinder_Y.npy` and `NACA_Cylinder_Q.npy`, the same of `Pipe`, "
    "or `NAME_XY_10.npy` and `NAME_sigma_10.npy`",
)
