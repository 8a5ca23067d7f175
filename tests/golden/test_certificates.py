"""The nine example programs of the language, type-checked, each with its certificate."""

from pathlib import Path

import pytest

from opdsl.compiler import check, read
from opdsl.ir.certificate import certify
from opdsl.summary import summarise, to_text

FOLDER = Path(__file__).parents[1] / "data" / "language"
EXAMPLES = (
    "custom_block",
    "deeponet",
    "fno_darcy",
    "gino",
    "ns_autoregressive",
    "sfno",
    "tfno",
    "transformer",
    "uno",
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_checks_and_has_this_certificate(name, golden):
    source, folder = read(FOLDER / f"{name}.op")
    checked = check(source, folder=folder)
    assert [x.message for x in checked.errors] == []
    golden(told(checked.sound()), f"certificates/{name}.txt")


def told(graph) -> str:
    """Spaces of the names that the model binds, and the certificate."""
    bound = [f"{x.path} : {x.space}" for x in graph.nodes if "." not in x.path]
    ports = [f"{x.name} : {x.space}" for x in (*graph.inputs, *graph.outputs)]
    loops = [f"feedback {x.output} -> {x.input}" for x in graph.feedback]
    asks = [f"asks for {x.what} {x.name}" for x in graph.side_inputs()]
    found = certify(graph)
    bounds = [
        f"{x.domain.name}.{x.axis.name} >= {x.axis.least}, needs {x.needed}"
        + (f": {x.cause.text}" if x.cause else "")
        for x in found.promises
    ]
    verdict = [
        f"pinned: {', '.join(found.pinned) or 'nothing'}",
        f"diverging: {', '.join(x.path for x, _ in found.diverging) or 'nothing'}",
        *(f"integrals on {x.name}: {x.measure}" for x in found.measured),
        f"parameters: {summarise(graph).params:,}",
    ]
    return "\n".join([*ports, *loops, *asks, *bound, *bounds, *verdict]) + "\n"


def test_the_whole_summary_of_an_example_can_be_shown():
    source, folder = read(FOLDER / "uno.op")
    assert "certificate" in to_text(summarise(check(source, folder=folder).sound()), 100)
