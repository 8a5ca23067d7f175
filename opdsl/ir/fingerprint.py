"""The fingerprint of a graph: equal for programs that mean the same function of the same weights.

What comes in: a graph. What goes out: a sha256 in hex. It is taken over the graph written down in
one canonical way: nodes numbered in the order in which the outputs reach them, so a result used
twice differs from two equal nodes, and a node that no output needs does not count.

Counts: every parameter of a block, the wiring, the number of channels, the ends, boundary and
kind of a domain, `fixed` and `size`, how domains come from each other, the order of the inputs (a
call gives them by place) and, where there are several outputs, their names (they are the keys of
the result). Does not count: names of nodes, domains, axes, components and inputs, the order of
statements, comments, and the promises `min`, `max` and `multiple_of`, which say where the function
may be asked and not what it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.spaces import Axis, Coarsen, Domain, Space, Step

SCHEME = "opdsl-function-1"  # a change of what counts is a new scheme


def fingerprint(graph: Graph) -> str:
    """sha256 of the graph's canonical text."""
    text = json.dumps(_canonical(graph), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(graph: Graph) -> dict[str, Any]:
    names = _Numbers()
    outputs = _outputs(graph)
    place = {x.name: i for i, x in enumerate(graph.inputs)}
    inputs = [_space(x.space, names) for x in graph.inputs]
    nodes = []
    for node in _reached(graph, outputs):
        nodes.append(_node(node, place, names))
        place[node.path] = len(place)
    results = [(x.name if len(outputs) > 1 else "", place[x.source]) for x in outputs]
    return {"scheme": SCHEME, "inputs": inputs, "nodes": nodes, "outputs": results}


def _outputs(graph: Graph) -> list[Port]:
    """By name: the result of a model with several outputs is a dict."""
    return sorted(graph.outputs, key=lambda x: x.name)


def _reached(graph: Graph, outputs: list[Port]) -> Iterator[Node]:
    """The nodes in the order in which the outputs reach them, each after its inputs."""
    seen: set[str] = set()
    # a stack and no recursion: a graph may be deeper than Python's stack
    stack = [(x.source, False) for x in reversed(outputs)]
    while stack:
        path, ready = stack.pop()
        node = graph.by_path.get(path)
        if node is None or path in seen:
            continue
        if ready:
            seen.add(path)
            yield node
        else:
            stack.append((path, True))
            stack.extend((x, False) for x in reversed(node.inputs))


@dataclass(slots=True)
class _Numbers:
    """Names of declarations, numbered as they are met."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return self.known.setdefault(name, len(self.known))


def _node(node: Node, place: Mapping[str, int], names: _Numbers) -> dict[str, Any]:
    return {
        "block": node.keyword,
        "params": _fields(node.block, names),
        "inputs": [place[x] for x in node.inputs],
        "space": _space(node.space, names),
    }


def _fields(model: BaseModel, names: _Numbers) -> dict[str, Any]:
    return {name: _value(getattr(model, name), names) for name in type(model).model_fields}


def _value(value: object, names: _Numbers) -> Any:
    match value:
        case Domain():
            return _domain(value, names)
        case BaseModel():
            return _fields(value, names)
        case Mapping():
            return {str(k): _value(v, names) for k, v in value.items()}
        case tuple() | list():
            return [_value(x, names) for x in value]
        case float():
            return value.hex()  # every bit, and 1.0 is not 1
        case bool() | int() | str() | None:
            return value
    raise AssertionError(f"a parameter of a block holds {type(value).__name__}")


def _space(space: Space, names: _Numbers) -> list[Any]:
    return [_domain(space.domain, names), space.channels]


def _domain(domain: Domain, names: _Numbers) -> dict[str, Any]:
    return {
        "declared": names.of(f"domain {domain.name}"),
        "kind": [domain.kind, domain.ambient, domain.geometry],
        "axes": [_axis(x) for x in domain.axes],
        "steps": [_step(x, names) for x in domain.steps],
    }


def _axis(axis: Axis) -> list[Any]:
    return [axis.lo.hex(), axis.hi.hex(), axis.boundary, axis.fixed, axis.size]


def _step(step: Step, names: _Numbers) -> list[Any]:
    if isinstance(step, Coarsen):
        return ["coarsen", step.factor]
    number = names.of(f"extension {step.name}")
    return ["extend", number, step.numerator, step.denominator, step.sides]
