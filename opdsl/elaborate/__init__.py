"""Tree to graph: names, parameters, spaces."""

from opdsl.elaborate.program import elaborate, models

__all__ = ["elaborate", "models"]
