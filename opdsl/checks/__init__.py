"""Rules that need the whole graph, one a module: each takes a graph and yields diagnostics."""

from collections.abc import Callable, Iterator

from opdsl.checks.latent import latent_size
from opdsl.checks.modes import too_many_modes
from opdsl.checks.pins import hidden_pin
from opdsl.checks.unused import unused
from opdsl.diagnostics import Diagnostic
from opdsl.ir.graph import Graph

CHECKS: tuple[Callable[[Graph], Iterator[Diagnostic]], ...] = (
    latent_size,
    too_many_modes,
    hidden_pin,
)

__all__ = ["CHECKS", "unused"]
