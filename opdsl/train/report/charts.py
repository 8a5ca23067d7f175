"""Line charts as SVG inside a page: text in the colour of the page, a legend that wraps.

Drawn without a library, so that the end of a short run does not wait for one to be imported.
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

CurvePoints = Sequence[tuple[float, float | None]]

COLOURS = ("#2f81d6", "#e0803a", "#3fa66a", "#b45fc4", "#c94f4f", "#8c8c3e", "#5b9aa0", "#888888")
WIDTH, HEIGHT = 420, 230  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 38  # margins of the axes
MARKED = 40  # shorter lines show their points
TICKS = 5  # about so many on an axis
DECADES = 2.5  # a logarithmic axis of fewer has ticks at 1, 2 and 5


class _Axis:
    """The map from values to pixels, and the ticks.

    Args:
        values: that have to fit.
        ends: pixels of the smallest and of the largest value.
        log: whether the axis is logarithmic.
        whole: whether all values are whole numbers.
    """

    def __init__(
        self,
        values: Sequence[float],
        ends: tuple[float, float],
        *,
        log: bool = False,
        whole: bool = False,
    ) -> None:
        low, high = min(values, default=1.0), max(values, default=1.0)
        if log:
            low, high = (low, high) if high > low * 1.001 else (low / 1.5, high * 1.5)
        elif high <= low:
            margin = 0.5 if whole else 0.05 * abs(low) or 0.5
            low, high = low - margin, high + margin
        self.log, self.ends = log, ends
        self.low, self.high = low, high
        self.ticks = log_ticks(low, high) if log else linear_ticks(low, high, whole=whole)

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        part = ((math.log(value) if self.log else value) - low) / (high - low)
        return self.ends[0] + part * (self.ends[1] - self.ends[0])


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis: powers of ten, with 2 and 5 between them if few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = math.log10(high / low)
    step = max(1, round(decades / TICKS))
    factors = (1, 2, 5) if decades < DECADES else (1,)
    ticks = [f * 10.0**e for e in exponents if len(factors) > 1 or e % step == 0 for f in factors]
    inside = [x for x in ticks if low * 0.999 <= x <= high * 1.001]
    return inside if len(inside) > 1 else linear_ticks(low, high)


def linear_ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Return ticks at multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= rough)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def chart(  # noqa: PLR0913  the options of a chart
    lines: Mapping[str, CurvePoints],
    *,
    across: str,
    up: str = "",
    log: bool = True,
    log_across: bool = False,
    dashed: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    colours: Sequence[str] = COLOURS,
    legend: bool = True,
) -> str:
    """Draw lines with a legend below, as HTML; nothing where no line has a point.

    Args:
        lines: points (x, y) by the names of the lines; gaps are None. On a logarithmic axis values
            that are not positive are gaps too.
        across, up: what the axes show.
        log: whether the axis of values is logarithmic.
        log_across: whether the other axis is, too.
        dashed: names of lines that are dashed.
        limits: of the axis of values; those of the lines if not given.
        colours: of the lines.
        legend: whether there is one.
    """
    drawn = {k: _pieces(x, log=log, log_across=log_across) for k, x in lines.items()}
    drawn = {k: x for k, x in drawn.items() if x}
    if not drawn:
        return ""
    every = [p for pieces in drawn.values() for piece in pieces for p in piece]
    whole = all(float(x).is_integer() for x, _ in every)
    x = _Axis([p[0] for p in every], (LEFT, WIDTH - RIGHT), log=log_across, whole=whole)
    y = _Axis(limits or [p[1] for p in every], (HEIGHT - BOTTOM, TOP), log=log)
    inks = {k: colours[i % len(colours)] for i, k in enumerate(lines) if k in drawn}
    curves = "".join(
        _line(piece, x, y, inks[k], dashed=k in dashed)
        for k, pieces in drawn.items()
        for piece in pieces
    )
    words = escape(f"{', '.join(drawn)} against {across}")
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}"'
    svg = f'<svg class="chart" {box}>{_frame(x, y, across, up)}{curves}</svg>'
    return f'<div class="plot">{svg}{_legend(inks, dashed) if legend else ""}</div>'


def _pieces(points: CurvePoints, *, log: bool, log_across: bool) -> list[list[tuple[float, float]]]:
    """Divide a line at its gaps."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None or not math.isfinite(y) or (log and y <= 0) or (log_across and x <= 0):
            pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [x for x in pieces if x]


def _line(
    piece: Sequence[tuple[float, float]], x: _Axis, y: _Axis, colour: str, *, dashed: bool
) -> str:
    pixels = [(x(a), y(b)) for a, b in piece]
    text = " ".join(f"{a:.1f},{b:.1f}" for a, b in pixels)
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    line = f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
    if len(piece) > MARKED:
        return line
    return line + "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2" fill="{colour}"/>' for a, b in pixels
    )


def _frame(x: _Axis, y: _Axis, across: str, up: str) -> str:
    """Draw the grid, the numbers at its lines, and what the axes show."""
    bottom, parts = HEIGHT - BOTTOM, []
    for value in y.ticks:
        at = y(value)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 6, at + 4, f"{value:.4g}", "end"))
    for value in _apart(x):
        at = x(value)
        parts.append(f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>')
        parts.append(_text(at, bottom + 15, f"{value:.4g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, across, "middle"))
    if up:
        at = (TOP + bottom) / 2
        turned = f' transform="rotate(-90 10 {at})"'
        parts.append(_text(10, at, up, "middle", turned))
    return "".join(parts)


def _apart(axis: _Axis, least: float = 34) -> list[float]:
    """Return ticks whose labels do not touch each other."""
    ticks = axis.ticks
    near = any(abs(axis(b) - axis(a)) < least for a, b in pairwise(ticks))
    return ticks[::2] if near else ticks


def _text(x: float, y: float, text: str, anchor: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _legend(colours: Mapping[str, str], dashed: Sequence[str]) -> str:
    items = "".join(
        f'<span><i style="border-top:3px {"dashed" if k in dashed else "solid"} {colour}"></i>'
        f"{escape(k)}</span>"
        for k, colour in colours.items()
    )
    return f'<div class="legend">{items}</div>'
