"""Aligned data of DeepXDE: values at sensors, points that all samples share, values there.

Source: Lu et al. 2021, arXiv:1910.03193; `TripleCartesianProd` of DeepXDE.
"""

from opdsl.data.arrays.axes import CHANNEL, COORDINATE, POINT, SAMPLE
from opdsl.data.arrays.presets import ArrayInfos, Preset, Proposal


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise `X_train0`, `X_train1`, `y_train`, or the same with `test`."""
    for part in ("train", "test"):
        branch, trunk, values = f"X_{part}0", f"X_{part}1", f"y_{part}"
        if {branch, trunk, values} <= arrays.keys():
            n, sensors = (*arrays[branch].shape, 0)[:2]
            shapes = arrays[trunk].shape, arrays[values].shape
            if sensors and len(shapes[0]) == 2 and shapes[1] == (n, shapes[0][0]):
                axes = {
                    branch: (SAMPLE, CHANNEL),
                    trunk: (POINT, COORDINATE),
                    values: (SAMPLE, POINT),
                }
                return Proposal((branch,), (values,), axes, points=(trunk,))
    return None


PRESET = Preset("aligned data of DeepXDE (Lu et al. 2021)", propose)
