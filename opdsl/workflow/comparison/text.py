"""Tables of a comparison as text: names in the first column, a column for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDEST = 100  # columns of a table; wider ones are turned, so that each run is a row
LONGEST = 40  # characters of a cell


def text_table(heading: str, rows: Mapping[str, Sequence[str]], columns: Sequence[str]) -> str:
    """Return a table as text; turned, if it is too wide and the turned one is not wider.

    Args:
        heading: of the first column.
        rows: the cells by the name of their row.
        columns: their headings.
    """
    upright = _aligned([(heading, *columns), *((k, *x) for k, x in rows.items())])
    turned = _aligned([(heading, *rows), *zip(columns, *rows.values(), strict=True)])
    width, other = (max(map(len, x.splitlines())) for x in (upright, turned))
    return turned if width > WIDEST and other < width else upright


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    short = [[_shortened(x) for x in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*short, strict=True)]
    lines = []
    for first, *others in short:
        cells = [f"{x:>{n}}" for x, n in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]).rstrip())
    return "\n".join(lines)


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 13]}...{line[-10:]}"
