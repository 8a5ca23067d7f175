"""The differences between two models as text, as `opdsl diff` prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdsl.export.diff import Difference, ModelChange

SECTIONS = ("settings", "domains", "ports", "nodes")


def to_text(difference: Difference) -> str:
    """Return the differences in sections, names in one column, gained parameters in another."""
    parts = [_section(name, getattr(difference, name)) for name in SECTIONS]
    return "\n\n".join([*(x for x in parts if x), f"{totals(difference)}\n{difference.verdict}"])


def totals(difference: Difference) -> str:
    """Return the numbers of parameters before and after."""
    before, after = difference.params
    delta = f" ({_gained(after - before)})" if after != before else ""
    return f"parameters  {before:,}" + (f" => {after:,}{delta}" if delta else "")


def _section(name: str, changes: tuple[ModelChange, ...]) -> str:
    """Return a heading and its rows; further changes of one name get rows of their own."""
    rows: list[tuple[str, str, str]] = []
    for x in changes:
        first, *further = x.details or ("",)
        rows.append((f"  {x.sign} {x.name}", _gained(x.params) if x.params else "", first))
        rows += [("", "", y) for y in further]
    if not rows:
        return ""
    names, counts = (max(len(x[i]) for x in rows) for i in (0, 1))
    gap = 2 if counts else 0  # no column of counts where none is gained
    lines = [f"{a:<{names}}{'':<{gap}}{b:>{counts}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([name, *lines])


def _gained(params: int) -> str:
    return f"{params:+,}"
