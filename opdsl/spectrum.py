"""Frequencies that belong to a number of modes, and the points that a grid needs to hold them.

A band is the range of frequencies that are used on an axis. Of a real function the last axis has
frequencies from 0 on only, which represent their conjugates too.
"""

from __future__ import annotations

from typing import Literal

ModeLayout = Literal["symmetric", "neuralop", "paper"]
Layouts = ModeLayout | tuple[ModeLayout, ...]
Modes = int | tuple[int, ...]
Bands = tuple[range, ...]

LAYOUTS = ("symmetric", "neuralop", "paper")


def frequencies(
    modes: tuple[int, ...], layout: str | tuple[str, ...] = "symmetric", *, real: bool = True
) -> Bands:
    """Return the band of frequencies of each axis.

    Args:
        modes: the number of modes m of each axis, one-sided.
        layout: `symmetric` means -m ... m on full axes and 0 ... m on the last one of a real
            function; `neuralop` -m ... m - 1 and 0 ... m; `paper` -m ... m - 1 and 0 ... m - 1;
            or one of these for each axis.
        real: whether the function is real.
    """
    layouts = layout if isinstance(layout, tuple) else (layout,) * len(modes)
    pairs = zip(modes, layouts, strict=True)
    full = tuple(range(-m, m + (x == "symmetric")) for m, x in pairs)
    half = range(modes[-1] + (layouts[-1] != "paper"))
    return (*full[:-1], half) if real else full


def points_needed(band: range, layout: str = "symmetric") -> int:
    """Return the least number of points that an axis needs to hold the frequencies of a band.

    A symmetric band needs its greatest frequency to be below half of the number of points. The
    other layouts, like the programs from which they come, may use half of it, the Nyquist
    frequency.
    """
    top = band.stop - 1
    return 2 * top + 1 if layout == "symmetric" else max(len(band), 2 * top, 1)


def check_points(
    size: tuple[int, ...], bands: Bands, layout: str | tuple[str, ...] = "symmetric"
) -> None:
    """Check that a grid holds all frequencies of the bands.

    Args:
        size: points on each axis.
        bands: frequencies on each axis.
        layout: as in `frequencies`.

    Raises:
        ValueError: the grid has another number of axes, or too few points on one.
    """
    if len(size) != len(bands):
        raise ValueError(f"{len(bands)} axes have modes, the grid is {size}")
    layouts = layout if isinstance(layout, tuple) else (layout,) * len(bands)
    for n, band, each in zip(size, bands, layouts, strict=True):
        needed = points_needed(band, each)
        if n < needed:
            band_text = f"k = {band.start} ... {band.stop - 1}"
            raise ValueError(f"keeping {band_text} needs at least {needed} points, got {n}")
