"""Data of DeepXDE: values at sensors, points, and values there; aligned, or one query a row.

Source: Lu et al. 2021, arXiv:1910.03193; `TripleCartesianProd` and `Triple` of DeepXDE.
"""

from opdsl.data.arrays.axes import CHANNEL, COORDINATE, POINT, QUERY, SAMPLE, AxisNames
from opdsl.data.arrays.presets import ArrayInfos, Preset, Proposal


def propose(arrays: ArrayInfos) -> Proposal | None:
    """Recognise `X_train0`, `X_train1`, `y_train`, or the same with `test`.

    Aligned: the points are those of all samples, with a column of values for each. Unaligned: all
    arrays have as many rows, and each row is a query.
    """
    for part in ("train", "test"):
        branch, trunk, values = f"X_{part}0", f"X_{part}1", f"y_{part}"
        if {branch, trunk, values} <= arrays.keys():
            n, sensors = (*arrays[branch].shape, 0)[:2]
            shapes = arrays[trunk].shape, arrays[values].shape
            if sensors and len(shapes[0]) == 2 and shapes[1] == (n, shapes[0][0]):
                axes: dict[str, AxisNames] = {
                    branch: (SAMPLE, CHANNEL),
                    trunk: (POINT, COORDINATE),
                    values: (SAMPLE, POINT),
                }
                return Proposal((branch,), (values,), axes, points=(trunk,))
            if sensors and len(shapes[0]) == 2 and len(shapes[1]) <= 2 and _all(n, *shapes):
                axes = {
                    branch: (QUERY, CHANNEL),
                    trunk: (QUERY, COORDINATE),
                    values: (QUERY, CHANNEL)[: len(shapes[1])],
                }
                return Proposal((branch,), (values,), axes, points=(trunk,))
    return None


def _all(n: int, *shapes: tuple[int, ...]) -> bool:
    return all(x[0] == n for x in shapes)


PRESET = Preset(
    "data of DeepXDE (Lu et al. 2021)",
    propose,
    "`X_train0`, `X_train1` and `y_train`, or the same with `test`",
)
