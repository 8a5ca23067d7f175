"""OP0417: a basis in which the coefficients of its input converge slower than in another one.

Exponentials between two ends are the subject of OP0411.
"""

from collections.abc import Iterator

from opdsl.checks.warned import site, warning
from opdsl.checks.warnings.fourier_on_nonperiodic import closes_ends
from opdsl.diagnostics import Diagnostic, Span
from opdsl.ir.convergence import behaviours
from opdsl.ir.graph import Graph
from opdsl.ir.live import live


def lower_order(graph: Graph) -> Iterator[Diagnostic]:
    """Warn once for each of the user's calls whose basis lowers the order of convergence."""
    known = behaviours(graph)
    reported: set[Span] = set()
    for node in live(graph):
        inputs, spaces = tuple(known[x] for x in node.inputs), graph.arguments(node)
        better = node.block.better_basis(inputs, *spaces)
        own = node.block.convergence_order(inputs, *spaces)
        if better is None or own is None or closes_ends(graph, node) or site(node) in reported:
            continue
        reported.add(site(node))
        basis, order = better
        yield warning(
            "OP0417",
            f"the basis lowers the order of convergence: {own} instead of {order}",
            node,
            own.why,
            helps=(f"use `basis = {basis}` (order: {order})",),
        )
