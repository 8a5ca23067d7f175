"""What each node of a model costs in a narrow precision, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opdsl.cli.console import table

if TYPE_CHECKING:
    from opdsl.train.metrics.node_precision_errors import NodePrecisionErrors


def node_errors_text(nodes: Sequence[NodePrecisionErrors], what: str) -> str:
    """Return the table of what each node costs in a narrow precision.

    Args:
        nodes: with their errors.
        what: weights and inputs in words.
    """
    names = list(dict.fromkeys(y for x in nodes for y in x.errors))
    rows: list[tuple[str, ...]] = [("  node", *names)]
    rows += [
        (f"  {x.path}", *(f"{x.errors[y]:.1e}" if y in x.errors else "-" for y in names))
        for x in nodes
    ]
    head = f"one node in a narrow precision  relative distance from fp32, {what}"
    return "\n".join([head, table(rows, left=1)])
