"""OP0412: a model that runs at every resolution and leads to no operator under refinement."""

from collections.abc import Iterator

from opdsl.checks.warned import warning
from opdsl.diagnostics import Diagnostic
from opdsl.ir.certificate import certify
from opdsl.ir.graph import Graph


def not_convergent(graph: Graph) -> Iterator[Diagnostic]:
    """One warning, at the first node that breaks it; a pinned model promises nothing."""
    found = certify(graph)
    loose = [(n, why) for n, why in found.diverging if not n.block.pins(*graph.arguments(n))]
    if loose:
        node, why = loose[0]
        more = len({n.keyword for n, _ in loose}) > 1 or len(loose) > 1
        yield warning(
            "OP0412",
            f"`{graph.name}` runs at every resolution but does not converge",
            node,
            why,
            notes=(f"{len(loose)} nodes have no limit under refinement",) if more else (),
            helps=(
                "use an operator with a limit: `spectral_conv`, `gno`, `attention`",
                "or say that it is meant: `# op: allow(not-convergent)`",
            ),
        )
