"""Rules that need the whole graph, one a module: each takes a graph and yields diagnostics."""

from collections.abc import Callable, Iterator

from opdsl.checks.bands import dead_weights
from opdsl.checks.convergence import not_convergent
from opdsl.checks.direction import bidirectional
from opdsl.checks.latent import latent_size
from opdsl.checks.levels import levelled, levels
from opdsl.checks.modes import too_many_modes
from opdsl.checks.names import unused_names
from opdsl.checks.periodicity import fourier_on_nonperiodic
from opdsl.checks.pins import hidden_pin
from opdsl.checks.rank import wasteful_rank
from opdsl.checks.tokens import equal_tokens
from opdsl.checks.unused import unused
from opdsl.diagnostics import Diagnostic
from opdsl.ir.graph import Graph

CHECKS: tuple[Callable[[Graph], Iterator[Diagnostic]], ...] = (
    latent_size,
    too_many_modes,
    hidden_pin,
)

# what is not wrong and still worth a look; asked only where nothing is wrong
WARNINGS: tuple[Callable[[Graph], Iterator[Diagnostic]], ...] = (
    fourier_on_nonperiodic,
    not_convergent,
    wasteful_rank,
    dead_weights,
    equal_tokens,
)

__all__ = ["CHECKS", "WARNINGS", "bidirectional", "levelled", "levels", "unused", "unused_names"]
