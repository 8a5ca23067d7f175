"""The nodes of a typed expression: functions of a batch, and the weighted errors made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LeafRole = Literal["output", "truth", "input"]
OptionValue = float | str | bool


@dataclass(frozen=True, slots=True)
class NumberNode:
    """A number, a function that is constant."""

    value: float


@dataclass(frozen=True, slots=True)
class Leaf:
    """A predicted output, its truth, or an input."""

    role: LeafRole
    name: str


@dataclass(frozen=True, slots=True)
class Coordinate:
    """A coordinate of the points of a grid.

    Attributes:
        domain: the label of the grid.
        axis: which coordinate.
        like: a function on the grid, from which the number of points is taken.
    """

    domain: str
    axis: int
    like: Leaf


@dataclass(frozen=True, slots=True)
class Channels:
    """Some channels of a function: `u.vx`, `u[0]`."""

    value: FunctionNode
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class ConcatNode:
    """Functions on one domain as the channels of one: `[u, v]`."""

    parts: tuple[FunctionNode, ...]


@dataclass(frozen=True, slots=True)
class Pointwise:
    """A function of the values at each point: `-`, `abs`, `exp`; `sum` adds the channels."""

    name: str
    value: FunctionNode


@dataclass(frozen=True, slots=True)
class ArithmeticNode:
    """`left sign right` at each point; a single channel, a vector and a number broadcast."""

    sign: str
    left: FunctionNode
    right: FunctionNode


@dataclass(frozen=True, slots=True)
class OperatorNode:
    """A derivative or an integral of functions on a domain.

    Attributes:
        name: `grad`, `div`, `curl`, `laplace`, `d`, `diffusion`, `dt`, `mean`, `integrate`.
        args: the functions.
        domain: the label of their domain.
        axes: along which `d` derives, one after the other.
        order: of finite differences, `spectral`, or None for the choice of the calculus.
        step: the time between two steps of a rollout, for `dt`.
    """

    name: str
    args: tuple[FunctionNode, ...]
    domain: str
    axes: tuple[int, ...] = ()
    order: int | Literal["spectral"] | None = None
    step: float = 1.0


FunctionNode = (
    NumberNode
    | Leaf
    | Coordinate
    | Channels
    | ConcatNode
    | Pointwise
    | ArithmeticNode
    | OperatorNode
)


@dataclass(frozen=True, slots=True)
class ErrorTerm:
    """An error of each sample: `rel_l2(u)`, `mse(darcy(a, u))`.

    Attributes:
        error: its name in `catalogue.ERRORS`, or of a registered loss.
        value: the function.
        target: what it is compared with; None for zero.
        domain: the label of the domain of both.
        options: of the error.
        functions: options that are functions, such as the deviation of a normal distribution.
        per_channel: whether each channel has an error of its own, of which the mean is taken.
        normalised: the output by whose statistics both are normalised; None in physical units.
        masked_by: outputs whose quadrature weights and masks apply.
    """

    error: str
    value: FunctionNode
    target: FunctionNode | None
    domain: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    functions: Mapping[str, FunctionNode] = field(default_factory=dict)
    per_channel: bool = False
    normalised: str | None = None
    masked_by: tuple[str, ...] = ()

    @property
    def compares_output(self) -> str | None:
        """The output that is compared with its own truth, channel by channel; else None."""
        if self.functions:
            return None
        match self.value, self.target:
            case Leaf("output", name), Leaf("truth", other) if name == other:
                return name
            case Channels(Leaf("output", name), a, n), Channels(Leaf("truth", other), b, m):
                return name if (name, a, n) == (other, b, m) else None
        return None


@dataclass(frozen=True, slots=True)
class Ramp:
    """A weight that changes linearly from one value to another over some epochs.

    Attributes:
        first, last: the values.
        epochs: how long it takes.
        start: the epoch in which it begins.
    """

    first: float
    last: float
    epochs: float
    start: float = 0.0

    def at(self, epoch: float) -> float:
        """Return the weight after so many epochs."""
        done = min(1.0, max(0.0, (epoch - self.start) / self.epochs))
        return self.first + done * (self.last - self.first)


@dataclass(frozen=True, slots=True)
class WeightedTerm:
    """A term of a loss: its weight times an error.

    Attributes:
        text: of the error, without the weight.
        weight: the product of the numbers before and behind the error.
        ramps: factors of the weight that change from epoch to epoch.
        error: the error.
    """

    text: str
    weight: float
    ramps: tuple[Ramp, ...]
    error: ErrorTerm

    def weight_at(self, epoch: float) -> float:
        """Return the weight after so many epochs."""
        weight = self.weight
        for ramp in self.ramps:
            weight *= ramp.at(epoch)
        return weight


def leaves(node: FunctionNode | None) -> tuple[Leaf, ...]:
    """Return every output, truth and input that a function depends on, as often as it is read."""
    match node:
        case Leaf():
            return (node,)
        case Coordinate():
            return (node.like,)
        case Channels() | Pointwise():
            return leaves(node.value)
        case ConcatNode():
            return tuple(y for x in node.parts for y in leaves(x))
        case ArithmeticNode():
            return leaves(node.left) + leaves(node.right)
        case OperatorNode():
            return tuple(y for x in node.args for y in leaves(x))
    return ()


def depends_on_outputs(node: FunctionNode | None) -> bool:
    """Return whether predictions change the values of a function; coordinates do not."""
    match node:
        case Leaf():
            return node.role == "output"
        case Channels() | Pointwise():
            return depends_on_outputs(node.value)
        case ConcatNode():
            return any(depends_on_outputs(x) for x in node.parts)
        case ArithmeticNode():
            return depends_on_outputs(node.left) or depends_on_outputs(node.right)
        case OperatorNode():
            return any(depends_on_outputs(x) for x in node.args)
    return False


def operators(node: FunctionNode | None) -> tuple[OperatorNode, ...]:
    """Return every operator of a function, the outermost first."""
    match node:
        case OperatorNode():
            return (node, *(y for x in node.args for y in operators(x)))
        case Channels() | Pointwise():
            return operators(node.value)
        case ConcatNode():
            return tuple(y for x in node.parts for y in operators(x))
        case ArithmeticNode():
            return operators(node.left) + operators(node.right)
    return ()
