"""What a model holds and costs, and what it promises: as data, as text, as JSON.

What comes in: a checked graph and, if wanted, a resolution. What goes out: a `Summary`. No tensor
is allocated and torch is not imported.
"""

from opdsl.summary.count import Row, Summary, summarise
from opdsl.summary.resolution import parse_at
from opdsl.summary.table import to_json, to_text

__all__ = ["Row", "Summary", "parse_at", "summarise", "to_json", "to_text"]
