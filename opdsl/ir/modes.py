"""The parameters `modes` and `layout` of blocks: the points they need, and the cost of transforms.

`opdsl.spectrum` defines which frequencies they select.
"""

from __future__ import annotations

import math

from opdsl.ir.block import BYTES, Bound, Refusal, Work
from opdsl.ir.spaces import Domain, Space
from opdsl.spectrum import Bands, Layouts, ModeLayout, Modes, points_needed

Counts = tuple[int, ...]  # one for each axis

MAX_MODES = 10**9  # no grid has as many points
FFT = 2.5  # operations of a real fast transform for each number and halving: 2.5 N log2 N
MIX = 8  # operations of one complex multiplication and addition


def each_axis(modes: Modes, x: Space) -> Counts:
    """Return the number of modes on each axis.

    Raises:
        Refusal: OP0308, their number is not that of the axes; OP0208, one is beyond all reason.
    """
    greatest = modes if isinstance(modes, int) else max(modes, default=0)
    if greatest > MAX_MODES:
        raise Refusal(
            "OP0208",
            f"{greatest:,} modes are more than any grid holds",
            f"{MAX_MODES:,} at most",
            at="modes",
        )
    if isinstance(modes, int):
        return (modes,) * x.domain.dims
    if len(modes) == x.domain.dims:
        return modes
    axes = ", ".join(a.name for a in x.domain.axes)
    raise Refusal(
        "OP0308",
        f"`modes` has {len(modes)} entries; the domain has {axis_count(x.domain.dims)}",
        f"`{x.domain}` has the axes {axes}",
        at="modes",
        notes=("one number stands for all axes",),
    )


def axis_count(axes: int) -> str:
    """Write a number of axes: `1 axis`, `2 axes`."""
    return f"{axes} {'axis' if axes == 1 else 'axes'}"


def layout_of_each(layout: Layouts, axes: int) -> tuple[ModeLayout, ...]:
    """Return the layout of each axis.

    Raises:
        Refusal: OP0208, their number is not that of the axes.
    """
    if not isinstance(layout, tuple):
        return (layout,) * axes
    if len(layout) == axes:
        return layout
    raise Refusal(
        "OP0208",
        f"`layout` has {len(layout)} entries; the domain has {axis_count(axes)}",
        "one word for each axis, or one for all",
        at="layout",
    )


def bounds(
    domain: Domain, bands: Bands, modes: Modes, layout: Layouts = "symmetric"
) -> tuple[Bound, ...]:
    """Return the bounds on each axis of a domain; `modes` is written as in the program."""
    each = (modes,) * len(bands) if isinstance(modes, int) else modes
    layouts = layout_of_each(layout, len(bands))
    return tuple(_bound(domain, i, x, each, modes, layouts[i]) for i, x in enumerate(bands))


def _bound(
    domain: Domain, axis: int, band: range, each: Counts, modes: Modes, layout: ModeLayout
) -> Bound:
    m, points = each[axis], points_needed(band, layout)

    def cure(there: int) -> str:  # `there`: the points that the axis has
        fits = m - -(-(points - there) // 2)  # each mode less needs two points less
        if isinstance(modes, int):
            return f"modes = {fits}"
        entries = (str(fits if i == axis else k) for i, k in enumerate(each))
        return f"modes = ({', '.join(entries)})"

    if layout == "symmetric":
        note = f"sampling theorem: 2 * {m} + 1 = {points} samples"
        return Bound(domain, axis, points, f"|k| <= {m}", note, cure)
    note = f"layout `{layout}` takes {points} samples for `modes = {m}`"
    return Bound(domain, axis, points, f"{band.start} <= k <= {band.stop - 1}", note, cure)


def transform_work(kernel: str, channels: int, size: Counts, bands: Bands, *, real: bool) -> Work:
    """Return the work of one transform in one direction, as `fft` or matrix products (`dft`).

    Strided transforms copy what they read and write, which counts twice for `fft`.
    """
    moved = float(BYTES * math.prod(size) * channels * (1 if real else 2))
    if kernel == "fft":
        return Work(fft=channels * fft_flops(size, bands, real=real), moved=2 * moved)
    return Work(gemm=channels * dft_flops(size, bands, real=real), moved=moved)


def together(*parts: Work) -> Work:
    """Add up the work of several kernels that run one after the other."""
    return Work(
        gemm=sum(x.gemm for x in parts),
        fft=sum(x.fft for x in parts),
        moved=sum(x.moved for x in parts),
    )


def fft_flops(size: Counts, bands: Bands, *, real: bool) -> float:
    """Count flops of an FFT of one channel: on the last axis real if `real`, elsewhere complex."""
    total, coefficients, width = 0.0, 1, 1 if real else 2
    for axis in range(len(size) - 1, -1, -1):
        total += width * FFT * math.prod(size[: axis + 1]) * coefficients * math.log2(size[axis])
        coefficients, width = coefficients * len(bands[axis]), 2
    return total


def dft_flops(size: Counts, bands: Bands, *, real: bool) -> float:
    """Count flops of a DFT of one channel: matrices (2 modes, n) if real, else (2 modes, 2 n)."""
    total, coefficients, width = 0.0, 1, 1 if real else 2
    for axis in range(len(size) - 1, -1, -1):
        total += 2.0 * math.prod(size[: axis + 1]) * 2 * width * len(bands[axis]) * coefficients
        coefficients, width = coefficients * len(bands[axis]), 2
    return total
