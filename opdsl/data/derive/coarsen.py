"""Coarser grids of every k-th point, so that values stay exact."""

from collections.abc import Sequence
from typing import Literal, get_args

from opdsl.diagnostics import fault
from opdsl.sampling import GridSampling, offset, points_of

PointLayout = Literal["node", "periodic", "lower", "upper", "interior", "centres"]
"""Where the points of an axis are.

`node`: both ends are points of the grid. `periodic`: the last point is one step from the first of
the next period; an unknown layout follows the same rule. Others: as the words of `sampling`.
"""
Layout = PointLayout | tuple[PointLayout, ...]  # of all axes, or of each
LAYOUTS: tuple[PointLayout, ...] = get_args(PointLayout)

Resolution = int | tuple[int, ...]

SMALLEST = 2  # points on an axis; one point is no grid


def steps(
    have: Sequence[int], want: Resolution, layout: Layout = "periodic", *, source: str = ""
) -> tuple[int, ...]:
    """Return the steps k of the axes for which every k-th of `have` points leaves `want` points.

    Args:
        have: points on each axis.
        want: points on each axis; one integer stands for all axes.
        layout: where the points are, which must stay so: both ends (`node`) or the period, for all
            axes or for each.
        source: the file that the error names.

    Raises:
        OpError: OP0614, no such step exists; says which resolutions are possible.
    """
    target = (want,) * len(have) if isinstance(want, int) else tuple(want)
    if len(target) == len(have):
        pairs = zip(have, target, strict=True)
        rows = [(n, w, layout_on(layout, i)) for i, (n, w) in enumerate(pairs)]
        if all(w in possible(n, word) for n, w, word in rows):
            return tuple(_step(*row) for row in rows)
    raise fault(
        "OP0614",
        f"the data have {size_text(have)} points, from which {size_text(target)} cannot be taken",
        notes=(f"only every k-th point is kept, with {_kept(layout)}; nothing is interpolated",),
        helps=(f"possible here: {_choices(have, layout)}",),
        file=source or None,
    )


def every_kth(
    have: Sequence[int], want: Resolution, layout: Layout = "periodic", *, source: str = ""
) -> tuple[slice, ...]:
    """Return for each axis the points that a coarser grid keeps, as a slice.

    The first point may be left out: of cells of a width of three the centres are every third one,
    from the second on.

    Args:
        have, want, layout, source: as for `steps`.

    Raises:
        OpError: OP0614, no such step exists; says which resolutions are possible.
    """
    each = steps(have, want, layout, source=source)
    return tuple(slice(_first(k, layout_on(layout, i)), None, k) for i, k in enumerate(each))


def layout_on(layout: Layout, axis: int) -> PointLayout:
    """Return the layout of an axis; unknown ones are `periodic`."""
    if not isinstance(layout, tuple):
        return layout
    return layout[axis] if axis < len(layout) else "periodic"


def layout_text(layout: Layout) -> str:
    """Write a layout as one word, or one for each axis: `node,centres`."""
    return ",".join(layout) if isinstance(layout, tuple) else layout


def read_layout(text: object) -> Layout | None:
    """Read a text of `layout_text`; None for anything else."""
    words = text.split(",") if isinstance(text, str) else []
    known = tuple(x for x in LAYOUTS for y in words if x == y)
    if not words or len(known) != len(words):
        return None
    return simplest(tuple(next(x for x in LAYOUTS if x == y) for y in words))


def simplest(layout: tuple[PointLayout, ...]) -> Layout:
    """Write the layouts of all axes as one word if they are equal."""
    return layout[0] if len(set(layout)) == 1 else layout


def layout_of(sampling: GridSampling, *, periodic: bool) -> PointLayout:
    """Return the layout of an axis of a domain."""
    if sampling == "both":
        return "node"
    return "periodic" if periodic and sampling == "lower" else sampling


def sampling_of(layout: PointLayout) -> GridSampling:
    """Return the word of `sampling` for a layout."""
    if layout == "node":
        return "both"
    return "lower" if layout == "periodic" else layout


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
    ends = points_of(sampling_of(layout), 0)
    whole = n - ends
    # the centre of an even number of cells is the centre of none of them
    factors = (k for k in range(1, whole + 1) if whole % k == 0 and (k % 2 or layout != "centres"))
    sizes = (whole // k + ends for k in factors)
    return tuple(m for m in sizes if m >= SMALLEST)


def size_text(sizes: Sequence[int]) -> str:
    """Format a grid size as `33 x 33`."""
    return " x ".join(str(n) for n in sizes)


_KEPT: dict[PointLayout, str] = {
    "node": "both ends",
    "periodic": "equal steps over the whole period",
    "lower": "the point at the lower end, and equal steps to the upper end",
    "upper": "the point at the upper end, and equal steps to the lower end",
    "interior": "equal steps to both ends, which carry no point",
    "centres": "points that are centres of larger cells, so k is odd",
}


def _kept(layout: Layout) -> str:
    words = layout if isinstance(layout, tuple) else (layout,)
    return " or ".join(dict.fromkeys(_KEPT[x] for x in words))


def _step(n: int, want: int, layout: PointLayout) -> int:
    ends = points_of(sampling_of(layout), 0)
    return (n - ends) // (want - ends)


def _first(k: int, layout: PointLayout) -> int:
    """Return the index of the first point that steps of k keep."""
    first = offset(sampling_of(layout))  # in spacings above the lower end, before and after
    return round(first * (k - 1))


def _choices(have: Sequence[int], layout: Layout) -> str:
    axes = [
        ", ".join(str(m) for m in possible(n, layout_on(layout, i))) for i, n in enumerate(have)
    ]
    if len(set(axes)) == 1:
        return axes[0]
    return "; ".join(f"axis {i}: {x}" for i, x in enumerate(axes))
