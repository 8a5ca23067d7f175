"""Coarser grids of every k-th point, so that values stay exact."""

from collections.abc import Sequence
from typing import Literal

from opdsl.diagnostics import fault

PointLayout = Literal["node", "periodic"]
"""`node`: both ends are points of the grid. `periodic`: the last point is one step from the first
of the next period; grids of cells and of unknown layout follow the same rule.
"""

Resolution = int | tuple[int, ...]

SMALLEST = 2  # points on an axis; one point is no grid


def steps(
    have: Sequence[int], want: Resolution, layout: PointLayout = "periodic", *, source: str = ""
) -> tuple[int, ...]:
    """Return the steps k of the axes for which every k-th of `have` points leaves `want` points.

    Args:
        have: points on each axis.
        want: points on each axis; one integer stands for all axes.
        layout: what must stay: both ends (`node`) or the period.
        source: the file that the error names.

    Raises:
        OpError: OP0614, no such step exists; says which resolutions are possible.
    """
    target = (want,) * len(have) if isinstance(want, int) else tuple(want)
    if len(target) == len(have) and all(
        w in possible(n, layout) for n, w in zip(have, target, strict=True)
    ):
        return tuple(_step(n, w, layout) for n, w in zip(have, target, strict=True))
    raise fault(
        "OP0614",
        f"the data have {size_text(have)} points, from which {size_text(target)} cannot be taken",
        notes=(f"only every k-th point is kept, with {_KEPT[layout]}; nothing is interpolated",),
        helps=(f"possible here: {_choices(have, layout)}",),
        file=source or None,
    )


def refuse_on_points(resolution: Resolution | None, source: str) -> None:
    """Refuse a resolution for functions on points.

    Raises:
        OpError: OP0614, `resolution` is not None.
    """
    if resolution is not None:
        message = "functions on points have no resolution that could be lowered"
        helps = ("leave the resolution out: they are taken as they are",)
        raise fault("OP0614", message, helps=helps, file=source)


def possible(n: int, layout: PointLayout) -> tuple[int, ...]:
    """List the numbers of points that every k-th of `n` points can leave, the largest first."""
    whole = n - 1 if layout == "node" else n
    ends = n - whole
    sizes = (whole // k + ends for k in range(1, whole + 1) if whole % k == 0)
    return tuple(m for m in sizes if m >= SMALLEST)


def size_text(sizes: Sequence[int]) -> str:
    """Format a grid size as `33 x 33`."""
    return " x ".join(str(n) for n in sizes)


_KEPT = {"node": "both ends", "periodic": "equal steps over the whole period"}


def _step(n: int, want: int, layout: PointLayout) -> int:
    return (n - 1) // (want - 1) if layout == "node" else n // want


def _choices(have: Sequence[int], layout: PointLayout) -> str:
    axes = [", ".join(str(m) for m in possible(n, layout)) for n in have]
    if len(set(axes)) == 1:
        return axes[0]
    return "; ".join(f"axis {i}: {x}" for i, x in enumerate(axes))
