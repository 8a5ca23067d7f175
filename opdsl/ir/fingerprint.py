"""The fingerprint of a graph: equal for programs that mean the same function of the same weights.

It is the SHA-256 in hex of the graph in a canonical form: nodes are numbered in the order in which
the outputs reach them, so a result used twice differs from two equal nodes, and a node that no
output needs has no influence.

The fingerprint depends on every parameter of a block, the wiring, weights that are shared, the
number of channels and whether they are complex, the ends, boundary and kind of a domain, the
sampling of a sphere and of an axis, `fixed` and `size`, the steps from one domain to another, the
order of the inputs (a call passes them by position), the feedback, and names that a caller needs:
those of several outputs (the keys of the result) and of static fields.

It does not depend on names of nodes, domains, axes, components and inputs, the order of statements,
comments, the promises `min`, `max` and `multiple_of`, which restrict where the function may be
evaluated and not what it is, and the way in which a parameter is written: `modes = 4` on a square
is `(4, 4)`, and `out` or `to` may be left out where they state the default. The order of the two
sides of a sum or a product has no influence either, except that it may have where both sides look
the same down to the inputs (two layers of one kind on one function).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from opdsl.ir.axes import Axis
from opdsl.ir.expansion import expansion
from opdsl.ir.graph import Graph, Node, Port
from opdsl.ir.spaces import MEASURED, Domain, Space
from opdsl.ir.steps import Coarsen, Step
from opdsl.sampling import default_sampling

if TYPE_CHECKING:
    from opdsl.bases import Bases
    from opdsl.spectrum import Modes

SCHEME = "opdsl-function-2"  # a change of what counts is a new scheme


def fingerprint(graph: Graph) -> str:
    """Return the SHA-256 of the graph's canonical text, in hex."""
    return _digest(_canonical(graph))


def in_order(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes that count; graphs of one fingerprint have equal ones at equal indices."""
    return tuple(_reached(graph, _outputs(graph)))


def meant(node: Node, x: tuple[Space, ...]) -> dict[str, object]:
    """Return the parameters of a node in a normal form, however the program writes them.

    Args:
        node: the node.
        x: the spaces of its inputs.
    """
    values = {name: getattr(node.block, name) for name in type(node.block).model_fields}
    return {name: MEANT[name](v, node, x) if name in MEANT else v for name, v in values.items()}


def _canonical(graph: Graph) -> dict[str, Any]:
    names = _Numbers()
    outputs = _outputs(graph)
    place = {x.name: i for i, x in enumerate(graph.inputs)}
    inputs = [_space(x.space, names) for x in graph.inputs]
    nodes = []
    for node in _reached(graph, outputs):
        nodes.append(_node(graph, node, place, names))
        place[node.path] = len(place)
    results = [(x.name if len(outputs) > 1 else "", place[x.source]) for x in outputs]
    return {
        "scheme": SCHEME,
        "inputs": inputs,
        "nodes": nodes,
        "outputs": results,
        "feedback": _feedback(graph, outputs),
    }


def _outputs(graph: Graph) -> list[Port]:
    """Sort the outputs by name: the result of a model with several outputs is a dict."""
    return sorted(graph.outputs, key=lambda x: x.name)


def _feedback(graph: Graph, outputs: list[Port]) -> list[list[int]]:
    """List the pairs of an output and the input that it becomes, by their indices."""
    ins, outs = [x.name for x in graph.inputs], [x.name for x in outputs]
    return sorted([outs.index(x.output), ins.index(x.input)] for x in graph.feedback)


def _reached(graph: Graph, outputs: list[Port]) -> Iterator[Node]:
    """Yield the nodes in the order in which the outputs reach them, each after its inputs."""
    ordered = _Ordered(graph)
    visited: set[str] = set()
    # a stack and no recursion: a graph may be deeper than Python's stack
    stack = [(x.source, False) for x in reversed(outputs)]
    while stack:
        path, ready = stack.pop()
        node = graph.by_path.get(path)
        if node is None or path in visited:
            continue
        if ready:
            visited.add(path)
            yield node
        else:
            stack.append((path, True))
            stack.extend((x, False) for x in reversed(ordered.inputs(node)))


class _Ordered:
    """An order of the inputs of sums and products that does not depend on the text.

    Each node has a digest of all that it is computed from, without numbers and names.
    """

    def __init__(self, graph: Graph) -> None:
        # `_Blind` gives all declarations one number: which is which depends on the order
        self.digests = {
            x.name: _digest([i, _space(x.space, _Blind())]) for i, x in enumerate(graph.inputs)
        }
        for node in graph.nodes:
            parts = [self.digests[x] for x in self.inputs(node)]
            self.digests[node.path] = _digest([_what(graph, node, _Blind()), parts])

    def inputs(self, node: Node) -> tuple[str, ...]:
        """Return the inputs of the node, sorted where their order means nothing."""
        if not node.block.commutative:
            return node.inputs
        return tuple(sorted(node.inputs, key=self.digests.__getitem__))


@dataclass(slots=True)
class _Numbers:
    """Names of declarations, numbered in the order in which they are first met."""

    known: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        """Return the number of a name."""
        return self.known.setdefault(name, len(self.known))


class _Blind(_Numbers):
    """A numbering that gives every name the number 0."""

    def of(self, name: str) -> int:  # noqa: ARG002  that is the point
        """Return 0."""
        return 0


def _node(graph: Graph, node: Node, place: Mapping[str, int], names: _Numbers) -> dict[str, Any]:
    inputs = [place[x] for x in node.inputs]
    record = _what(graph, node, names)
    record["inputs"] = sorted(inputs) if node.block.commutative else inputs
    if record.pop("trained"):
        record["weights"] = names.of(f"weights {node.shares or node.path}")
    return record


def _what(graph: Graph, node: Node, names: _Numbers) -> dict[str, Any]:
    """Describe a node by its block, its parameters and the space of its result."""
    x = graph.arguments(node)
    return {
        "block": node.keyword,
        "params": {k: _value(v, names) for k, v in meant(node, x).items() if not is_newer(k, v)},
        "space": _space(node.space, names),
        "trained": node.block.cost(*x).params > 0,
    }


# --- parameters as they are meant -------------------------------------------------------------


def _channels(value: object, node: Node, _: tuple[Space, ...]) -> object:
    # `out` counts the channels of one copy
    copies = getattr(node.block, "copies", 1)
    return node.space.channels // copies if value is None else value


def _target(value: object, node: Node, _: tuple[Space, ...]) -> object:
    return node.space.domain if value is None else value


def _each_axis(value: object, _: Node, x: tuple[Space, ...]) -> object:
    return (value,) * x[0].domain.dims if isinstance(value, int) and x else value


def _by_number(value: object, _: Node, x: tuple[Space, ...]) -> object:
    """Replace names of channels by their indices."""
    names = x[0].components if x else None
    if not names or not isinstance(value, tuple):
        return value
    return tuple(names.index(y) if y in names else y for y in value)


def _families(value: object, node: Node, x: tuple[Space, ...]) -> object:
    """Replace words of `basis` by the families of functions that they mean."""
    if not x or not hasattr(node.block, "modes"):  # a word for all axes, or one for each
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
    e = expansion(cast("Bases", value), cast("Modes", node.block.modes), x[0])
    if e is None:
        return "fourier"
    words = (a if a == b else "sine_cosine" for a, b in zip(e.terms[0], e.terms[-1], strict=True))
    return tuple(words)


def _around_periods(value: object, node: Node, x: tuple[Space, ...]) -> object:
    """Replace None by the default: distances wrap around where the points declare a period."""
    domains = (*(y.domain for y in x), node.space.domain)
    return any(any(y.period or ()) for y in domains) if value is None else value


# parameters that older versions did not have, with their defaults: these are left out of what is
# written, so that fingerprints of old programs stay
NEWER: Mapping[str, object] = {"basis": "fourier"}


def is_newer(name: str, value: object) -> bool:
    """Return whether a parameter of a block is newer than others and has its default."""
    return name in NEWER and NEWER[name] == value


Meaning = Callable[[object, Node, tuple[Space, ...]], object]
# the normal form of each of these parameters, in every block that has it; a test compares both ways
# of writing
MEANT: Mapping[str, Meaning] = {
    "basis": _families,
    "channels": _by_number,
    "modes": _each_axis,
    "out": _channels,
    "to": _target,
    "wrap": _around_periods,
}


# --- values without names ---------------------------------------------------------------------


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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
    return [_domain(space.domain, names), space.channels, space.field]


def _domain(domain: Domain, names: _Numbers) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": [domain.kind, domain.ambient, domain.geometry, domain.sampling],
        "steps": [_step(x, names) for x in domain.steps],
    }
    if domain.measure != MEASURED.get(domain.kind):
        record["measure"] = domain.measure
    if domain.period is not None:
        record["period"] = [p and p.hex() for p in domain.period]
    if domain.factors:
        record["factors"] = [_domain(x, names) for x in domain.factors]
        return record | {"modes": domain.modes, "halved": domain.halved}
    number = names.of(f"domain {domain.name}")
    return record | {"declared": number, "axes": [_axis(x) for x in domain.axes]}


def _axis(axis: Axis) -> list[Any]:
    declared = [axis.lo.hex(), axis.hi.hex(), axis.boundary, axis.fixed, axis.size]
    default = default_sampling(periodic=axis.periodic)
    return declared if axis.points == default else [*declared, axis.points]


def _step(step: Step, names: _Numbers) -> list[Any]:
    if isinstance(step, Coarsen):
        return ["coarsen", step.factor]
    number = names.of(f"extension {step.name}")
    kind = [] if step.kind == "zero" else [step.kind]
    rounding = [] if step.rounding == "up" else [step.rounding]
    parts = _value(step.numerator, names), step.denominator
    return ["extend", number, *parts, step.sides, *kind, *rounding]
