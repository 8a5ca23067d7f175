"""A graph as JSON: everything that is resolved, no tensor, places in the text as strings.

The dict has the schema of `opdsl.export.document`; `opdsl.export.reading` reads it back.
"""

from __future__ import annotations

from typing import Any

from opdsl.export.document import FORMAT
from opdsl.ir.certificate import AxisPromise, certify
from opdsl.ir.fingerprint import fingerprint, is_newer
from opdsl.ir.graph import Feedback, Graph, Node, Port, Scope


def to_json(graph: Graph) -> dict[str, Any]:
    """Convert a graph, its certificate and its fingerprint to a dict for `json.dumps`."""
    return {
        "format": FORMAT,
        "model": graph.name,
        "doc": graph.doc,
        "edition": graph.edition,
        "params": {name: _value(x) for name, x in graph.params.items()},
        "domains": [x.model_dump(mode="json") for x in graph.domains],
        "inputs": [_placed(x) for x in graph.inputs],
        "outputs": [_placed(x) for x in graph.outputs],
        "nodes": [_node(x) for x in graph.nodes],
        "feedback": [_placed(x) for x in graph.feedback],
        "scopes": [_placed(x) for x in graph.scopes],
        "certificate": certificate(graph),
        "hashes": {"function": fingerprint(graph)},
    }


def certificate(graph: Graph) -> dict[str, Any]:
    """Describe the resolutions that a model accepts, and whether it converges, with reasons."""
    certified = certify(graph)
    return {
        "agnostic": certified.agnostic,
        "convergent": certified.convergent,
        "promises": [_promise(x) for x in certified.promises],
        "pinned": list(certified.pinned),
        "diverging": [{"node": node.path, "why": reason} for node, reason in certified.diverging],
        "measures": {x.name: x.measure for x in certified.measured},
        **certified.convergence.to_json(),
    }


def _promise(promise: AxisPromise) -> dict[str, Any]:
    cause = promise.cause
    return {
        "axis": f"{promise.domain.name}.{promise.axis.name}",
        "promised": promise.axis.least,
        "needed": promise.needed,
        "because": None if cause is None else f"{cause.text} ({cause.place})",
    }


def _node(node: Node) -> dict[str, Any]:
    params = node.block.model_dump(mode="json")
    return {
        "path": node.path,
        "op": node.keyword,
        "params": {k: v for k, v in params.items() if not is_newer(k, v)},
        "inputs": list(node.inputs),
        "space": node.space.model_dump(mode="json"),
        "shares": node.shares,
        "at": node.spans[0].place(),
    }


def _placed(part: Port | Feedback | Scope) -> dict[str, Any]:
    return part.model_dump(mode="json") | {"at": part.span.place() if part.span else None}


def _value(value: object) -> Any:
    """Convert a parameter of the model: a number, a Boolean, a tuple, or a word."""
    if isinstance(value, tuple | list):
        return [_value(x) for x in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
