"""Elaboration of a tree to a graph: resolves names, parameters and spaces.

There are three layers, each of which imports only those before it: `evaluate` (expressions to
values), `bind` (parameters and names), `instantiate` (calls to nodes).
"""

from opdsl.elaborate.bind.modules import models
from opdsl.elaborate.evaluate.values import Argument
from opdsl.elaborate.instantiate.program import elaborate

__all__ = ["Argument", "elaborate", "models"]
