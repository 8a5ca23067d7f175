"""Parameters, cost and certificate of a model: as data, as text, as JSON.

No tensor is allocated and torch is not imported.
"""

from opdsl.summary.count import Summary, SummaryRow, summarise
from opdsl.summary.resolution import parse_at
from opdsl.summary.table import to_json, to_text

__all__ = ["Summary", "SummaryRow", "parse_at", "summarise", "to_json", "to_text"]
