"""Rules that need the whole graph: each takes a graph and yields diagnostics.

A check is one module in `errors` or `warnings` with a function of the same name, and a page for its
code. Other packages add checks through the entry-point group `opdsl.checks`, name to function;
these run with the warnings, on a graph without errors, and may yield errors as well.
"""

from collections.abc import Callable, Iterator

from opdsl.checks.direction import bidirectional
from opdsl.checks.levels import levelled, levels
from opdsl.checks.names import unused_names
from opdsl.checks.unused import unused
from opdsl.diagnostics import Diagnostic
from opdsl.ir.graph import Graph
from opdsl.registry import Registry

Check = Callable[[Graph], Iterator[Diagnostic]]

CHECKS: Registry[Check] = Registry(f"{__name__}.errors")

# run only on a graph without errors
WARNINGS: Registry[Check] = Registry(f"{__name__}.warnings", group="opdsl.checks")

__all__ = ["CHECKS", "WARNINGS", "bidirectional", "levelled", "levels", "unused", "unused_names"]
