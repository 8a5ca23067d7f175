"""The types of an expression of a loss, and what exists on which domain."""

from __future__ import annotations

from dataclasses import dataclass, replace

from opdsl.ir.dims import decided
from opdsl.ir.graph import Graph, Port
from opdsl.ir.spaces import VECTOR, Domain
from opdsl.ir.steps import Extend
from opdsl.sampling import points_at_ends
from opdsl.train.losses.expressions.nodes import (
    Channels,
    FunctionNode,
    Leaf,
    LeafRole,
    NumberNode,
    Ramp,
    WeightedTerm,
)

TIME = ("t", "time")  # names of axes of time


@dataclass(frozen=True, slots=True)
class NumberValue:
    """A number that is known before training."""

    value: float

    @property
    def node(self) -> FunctionNode:
        """The number as a function."""
        return NumberNode(self.value)


@dataclass(frozen=True, slots=True)
class WeightValue:
    """A number that changes during the training: a product of a number and ramps."""

    factor: float
    ramps: tuple[Ramp, ...]


@dataclass(frozen=True, slots=True)
class FunctionValue:
    """A function of a batch.

    Attributes:
        node: how it is computed.
        domain: where it lives.
        channels: how many.
        components: their names, where they have some.
    """

    node: FunctionNode
    domain: Domain
    channels: int
    components: tuple[str, ...] | None = None

    @property
    def is_vector(self) -> bool:
        """Whether it is one vector for each sample."""
        return self.domain.dims == 0

    @property
    def own_truth(self) -> FunctionNode | None:
        """The truth of an output, or of channels of an output; None for other functions."""
        match self.node:
            case Leaf("output", name):
                return Leaf("truth", name)
            case Channels(Leaf("output", name), first, count):
                return Channels(Leaf("truth", name), first, count)
        return None

    def with_node(self, node: FunctionNode) -> FunctionValue:
        """Return another function on the domain with as many channels."""
        return replace(self, node=node)

    def __str__(self) -> str:
        where = "a vector of" if self.is_vector else f"a function on {self.domain} with"
        return f"{where} {self.channels} channel{'s' if self.channels > 1 else ''}"


@dataclass(frozen=True, slots=True)
class TermsValue:
    """A sum of weighted errors, which is a loss."""

    terms: tuple[WeightedTerm, ...]


@dataclass(frozen=True, slots=True)
class WordValue:
    """A word that an operator may know, such as `spectral`."""

    text: str


TypedValue = NumberValue | WeightValue | FunctionValue | TermsValue | WordValue


def port_value(port: Port, role: LeafRole) -> FunctionValue:
    """Return an input or an output as a function of a batch."""
    space = port.space
    domain = space.domain if space.domain.dims else VECTOR
    return FunctionValue(Leaf(role, port.name), domain, decided(space.channels), space.components)


def missing_derivatives(domain: Domain, graph: Graph) -> str | None:
    """Return why functions on a domain have no derivatives; None where they have some."""
    if domain.dims == 0:
        return "it is one vector for each sample"
    if any(isinstance(step, Extend) for x in domain.parts for step in x.steps):
        return "its domain is an extension"
    if domain.regular:
        return None
    if domain.kind == "sphere":
        return None
    if domain.kind == "points":
        fed = next((x.name for x in graph.inputs if domain in x.space.domain.parts), None)
        if fed is None:
            return None
        return f"its points are also those of the input `{fed}`, and are no queries"
    kinds = ", ".join(sorted({x.kind for x in domain.parts}))
    return f"there are no derivatives on a {kinds}"


def axis_of_time(domain: Domain) -> int | None:
    """Return the axis of time of a domain, if it has one."""
    if not domain.regular:
        return None
    return next((i for i, x in enumerate(domain.axes) if x.name in TIME), None)


def space_axes(domain: Domain) -> int:
    """Return the number of components of a gradient: those of all axes but time."""
    if domain.kind == "points":
        return domain.ambient or domain.dims
    return domain.dims - (axis_of_time(domain) is not None)


def axes_with_ends(domain: Domain) -> tuple[int, ...]:
    """Return the axes of a grid that have a point at an end."""
    pairs = enumerate(zip(domain.periodic, domain.samplings, strict=True))
    return tuple(i for i, (ring, x) in pairs if not ring and any(points_at_ends(x)))


def channel_of(value: FunctionValue, index: int) -> FunctionValue:
    """Return one channel of a function."""
    if value.channels == 1:
        return replace(value, components=None)
    if isinstance(value.node, Channels):  # a channel of channels
        node = Channels(value.node.value, value.node.first + index, 1)
        return replace(value, node=node, channels=1, components=None)
    return replace(value, node=Channels(value.node, index, 1), channels=1, components=None)


def weight_of(value: NumberValue | WeightValue) -> tuple[float, tuple[Ramp, ...]]:
    """Return the number and the ramps of a weight."""
    return (value.value, ()) if isinstance(value, NumberValue) else (value.factor, value.ramps)


def scaled(value: TermsValue, factor: float, ramps: tuple[Ramp, ...]) -> TermsValue:
    """Multiply the weights of all terms."""
    return TermsValue(
        tuple(replace(x, weight=x.weight * factor, ramps=x.ramps + ramps) for x in value.terms)
    )


def in_words(value: TypedValue) -> str:
    """Describe a value in a message."""
    match value:
        case NumberValue():
            return "a number"
        case WeightValue():
            return "a weight"
        case FunctionValue():
            return str(value)
        case TermsValue():
            return "an error"
        case WordValue():
            return f"the word `{value.text}`"
