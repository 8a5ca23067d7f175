"""Values of typed expressions on a batch: functions, and the errors made of them.

Steps in time become samples: a function is (batch * steps, channels, *grid). Values are in physical
units, except where an output is compared with its own truth: there the units of the batch, which
are near one, keep squares and gradients from overflowing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.points.batch import Values, all_values, concat_channels, map_values, match_packing
from opdsl.nn.points.packed import Packed
from opdsl.sampling import offset, spacings
from opdsl.train.losses import LOSSES
from opdsl.train.losses.expressions.broadcasting import (
    combined,
    is_smaller,
    mapped,
    split_channels,
    zeros_like,
)
from opdsl.train.losses.expressions.catalogue import ERRORS
from opdsl.train.losses.expressions.errors import MEASURES, ErrorInputs
from opdsl.train.losses.expressions.nodes import (
    ArithmeticNode,
    Channels,
    ConcatNode,
    Coordinate,
    ErrorTerm,
    FunctionNode,
    Leaf,
    NumberNode,
    OperatorNode,
    Pointwise,
    leaves,
)
from opdsl.train.losses.objective import LossInputs
from opdsl.train.metrics.norms import (
    GridAxes,
    measured_samples,
    nonzero_samples,
    step_weights,
    wide,
)
from opdsl.train.physics.calculus import Calculus, DerivativeOrder
from opdsl.train.physics.time import TIME_ORDER, step_derivative

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "-": torch.neg,
    "abs": torch.abs,
    "cos": torch.cos,
    "exp": torch.exp,
    "log": torch.log,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "sum": lambda x: x.sum(1, keepdim=True),
    "tanh": torch.tanh,
}
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "+": torch.add,
    "-": torch.sub,
    "*": torch.mul,
    "/": torch.div,
}

Calculi = Callable[["BatchFunctions", DerivativeOrder], Calculus]


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What losses need to know of a domain.

    Attributes:
        grid: the axes of a regular grid; none elsewhere.
        starts: the lower end of each axis of a grid.
        calculus: its derivatives and integrals for a batch; None where there are none.
        outputs: the outputs on it.
        time: the axis of time, if it has one.
    """

    grid: GridAxes = field(default_factory=lambda: GridAxes((), ()))
    starts: tuple[float, ...] = ()
    calculus: Calculi | None = None
    outputs: tuple[str, ...] = ()
    time: int | None = None


@dataclass(frozen=True, slots=True)
class SampleErrors:
    """The error of each sample, and which of them count, both (batch,)."""

    errors: Tensor
    counted: Tensor


@dataclass(frozen=True, slots=True)
class BatchFunctions:
    """The functions of a batch, of which expressions are made.

    Attributes:
        batch: predictions, inputs and truth.
        domains: by label.
    """

    batch: LossInputs
    domains: Mapping[str, DomainFacts]

    # --------------------------------------------------------------------------- functions

    def value(self, node: FunctionNode, *, units: bool = False) -> Values | float:
        """Return the value of a function on the batch.

        Args:
            node: the function.
            units: whether outputs and truth stay in the units of the batch.
        """
        match node:
            case NumberNode():
                return node.value
            case Leaf():
                return self._leaf(node, units=units)
            case Coordinate():
                return self._coordinate(node)
            case Channels():
                whole = self.function(node.value, units=units)
                return mapped(whole, lambda x: x.narrow(1, node.first, node.count))
            case ConcatNode():
                return self._concat(node)
            case Pointwise():
                value = self.value(node.value)
                if isinstance(value, float):
                    return float(FUNCTIONS[node.name](torch.tensor(value, dtype=torch.float64)))
                return mapped(value, FUNCTIONS[node.name])
            case ArithmeticNode():
                left, right = self.value(node.left), self.value(node.right)
                return combined(left, right, OPERATIONS[node.sign])
            case OperatorNode():
                return self._operated(node)

    def function(self, node: FunctionNode, *, units: bool = False) -> Values:
        """Return the value of a node that is no number."""
        value = self.value(node, units=units)
        assert not isinstance(value, float | int), "the check has refused numbers here"
        return value

    def _leaf(self, leaf: Leaf, *, units: bool) -> Values:
        x, known = self.batch, self.batch.units
        if leaf.role == "input":
            source, unit = x.batch.inputs, known.inputs.get(leaf.name, 1.0)
        else:
            source = x.outputs if leaf.role == "output" else x.batch.truth
            unit = known.outputs.get(leaf.name, 1.0)
        value = self._each_step(leaf, source[leaf.name])
        value = map_values(value, wide)
        return value if units or unit == 1 else map_values(value, lambda y: y * unit)

    def _each_step(self, leaf: Leaf, value: Values) -> Values:
        """Make steps in time samples; inputs without steps are repeated."""
        loop = self.batch.loop
        if loop is None:
            return value
        if leaf.role != "input" or loop.timed(leaf.name, value):
            return all_values(value).flatten(0, 1)
        steps = all_values(next(iter(self.batch.outputs.values()))).shape[1]
        return all_values(value).repeat_interleave(steps, 0)

    def _coordinate(self, node: Coordinate) -> Tensor:
        like, facts, k = all_values(self.function(node.like)), self.domains[node.domain], node.axis
        n, sampling = like.shape[k + 2], facts.grid.points[k]
        step = facts.grid.lengths[k] / spacings(sampling, n)
        places = torch.arange(n, dtype=like.dtype, device=like.device) + offset(sampling)
        shape = [n if axis == k + 2 else 1 for axis in range(like.dim())]
        return (facts.starts[k] + step * places).reshape(shape).expand_as(like[:, :1])

    def _concat(self, node: ConcatNode) -> Values:
        values = [self.value(x) for x in node.parts]
        like = next(x for x in values if not isinstance(x, float))
        parts = [
            combined(x, zeros_like(like), torch.add) if isinstance(x, float) else x for x in values
        ]
        return concat_channels(parts)

    def _operated(self, node: OperatorNode) -> Values:
        args = [self.function(x) for x in node.args]
        tensors = [all_values(x) for x in args]
        if node.name == "dt":
            return self._in_time(node, tensors[0])
        calculus = self.calculus(node.domain, node.order)
        if node.name == "d":
            result = self._derivative(calculus, tensors[0], node.axes)
        else:
            operator: Callable[..., Tensor] = getattr(calculus, node.name)
            result = operator(*tensors)
        packed = args[-1] if node.name not in {"mean", "integrate"} else None
        return Packed(result, packed.sizes) if isinstance(packed, Packed) else result

    def _in_time(self, node: OperatorNode, u: Tensor) -> Tensor:
        """Return the derivative along the axis of time, or along the steps of a rollout."""
        time = self.domains[node.domain].time
        if time is not None:
            return self.calculus(node.domain, node.order).d(u, time)
        steps = all_values(next(iter(self.batch.outputs.values()))).shape[1]
        order = node.order if isinstance(node.order, int) else TIME_ORDER
        series = u.reshape(-1, steps, *u.shape[1:])
        return step_derivative(series, node.step, order).flatten(0, 1)

    @staticmethod
    def _derivative(calculus: Calculus, u: Tensor, axes: tuple[int, ...]) -> Tensor:
        for axis in dict.fromkeys(axes):
            u = calculus.d(u, axis, axes.count(axis))
        return u

    def calculus(self, domain: str, order: DerivativeOrder = None) -> Calculus:
        """Return the derivatives and integrals of a domain."""
        build = self.domains[domain].calculus
        assert build is not None  # the check has refused other domains
        return build(self, order)

    # ------------------------------------------------------------------------------ errors

    def errors(self, term: ErrorTerm) -> SampleErrors:
        """Return the error of each sample."""
        output, kind = term.compares_output, ERRORS.get(term.error)
        degree = kind.degree if kind else (0 if _registered_relative(term.error) else None)
        units = output is not None and degree is not None and term.normalised is None
        pred, true = self._pair(term, units=units)
        functions = {k: self._like(self.value(x), pred) for k, x in term.functions.items()}
        weights = self._weights(term)
        weights = _fitting(weights, term.value, pred)
        if term.per_channel:
            weights = weights if weights is None else split_channels(weights, pred)
            pred, true = split_channels(pred, pred), split_channels(true, true)
            functions = {k: split_channels(x, x) for k, x in functions.items()}
        inputs = self._error_inputs(term, pred, true, weights, functions)
        errors = _measure(term.error)(inputs)
        if units and degree and output is not None:
            errors = errors * self.batch.units.outputs.get(output, 1.0) ** degree
        relative = kind.relative if kind else _registered_relative(term.error)
        return SampleErrors(errors, _counted(true, weights, relative=relative))

    def _pair(self, term: ErrorTerm, *, units: bool) -> tuple[Values, Values]:
        if term.normalised is not None:
            return self._normalised(term.value), self._normalised(term.target)
        value = self.value(term.value, units=units)
        target = 0.0 if term.target is None else self.value(term.target, units=units)
        if isinstance(value, float):
            assert not isinstance(target, float)
            value = self._like(value, target)
        if not isinstance(target, float) and all_values(target).dim() > 2:
            value = match_packing(value, target)
        if not isinstance(target, float) and term.error != "crps":
            value = self._like(value, target)
        return value, self._like(target, value)

    def _like(self, value: Values | float, like: Values) -> Values:
        """Broadcast a value to the shape of a function; members of `crps` keep their number."""
        if isinstance(value, float):
            return map_values(like, partial(torch.full_like, fill_value=value))
        return combined(value, zeros_like(like), torch.add) if is_smaller(value, like) else value

    def _normalised(self, node: FunctionNode | None) -> Values:
        match node:
            case Channels(inner, first, count):
                return mapped(self._normalised(inner), lambda x: x.narrow(1, first, count))
            case Leaf(role="output" | "truth", name=name):
                x = self.batch
                inputs = {
                    k: self._each_step(Leaf("input", k), v) for k, v in x.batch.inputs.items()
                }
                value = self._leaf(node, units=True)
                return x.scales.encode_output(name, value, inputs)
        raise AssertionError("the check has refused other functions")

    def _weights(self, term: ErrorTerm) -> Values | None:
        """Return the quadrature weights of the outputs that an error depends on."""
        known = self.batch.batch.weights
        some = [
            self._of_steps(self._of_samples(known[name], name, term), name)
            for name in term.masked_by
            if name in known
        ]
        if not some:
            return None
        first = some[0]
        for other in some[1:]:  # values that one of them leaves out do not count
            kept = map_values(other, lambda x: (x > 0).to(x.dtype))
            first = combined(first, kept, torch.mul)
        return first

    def _of_samples(self, weights: Values, name: str, term: ErrorTerm) -> Values:
        """Count every point of a sample without any truth, for terms that need no truth.

        On grids a sample of which all values are masked is an input whose solution is unknown.
        """
        read = (y for x in (term.value, term.target, *term.functions.values()) for y in leaves(x))
        is_mask = isinstance(weights, Tensor) and weights.dtype == torch.bool
        on_grid = bool(self.domains.get(term.domain, DomainFacts()).grid.periodic)
        if not is_mask or not on_grid or Leaf("truth", name) in read:
            return weights
        mask = all_values(weights)
        return mask | ~mask.flatten(1).any(1).reshape(-1, *[1] * (mask.dim() - 1))

    def _of_steps(self, weights: Values, name: str) -> Values:
        if self.batch.loop is None:
            return weights
        result = step_weights(weights, self.batch.outputs[name])
        assert result is not None
        return result

    def _error_inputs(
        self,
        term: ErrorTerm,
        pred: Values,
        true: Values,
        weights: Values | None,
        functions: Mapping[str, Values],
    ) -> ErrorInputs:
        facts = self.domains.get(term.domain, DomainFacts())
        options: dict[str, Any] = dict(term.options)
        inputs = ErrorInputs(pred, true, weights, facts.grid, None, options, functions)
        kind = ERRORS.get(term.error)
        needed = kind is not None and kind.domains in {"derivatives", "waves"}
        if needed and facts.calculus is not None:
            order: DerivativeOrder = "spectral" if facts.grid.periodic else None
            return replace(inputs, calculus=self.calculus(term.domain, order))
        return inputs


def _fitting(weights: Values | None, value: FunctionNode, like: Values) -> Values | None:
    """Return the weights of the channels of a function.

    Where masks of the channels differ, a point of a function made of them counts if all of them do.
    """
    if weights is None or all_values(weights).shape[1] == 1:
        return weights
    if isinstance(value, Channels) and isinstance(value.value, Leaf):
        return mapped(weights, lambda x: x.narrow(1, value.first, value.count))
    if all_values(weights).shape[1] == all_values(like).shape[1]:
        return weights
    return mapped(weights, lambda x: x.amin(1, keepdim=True))


def _measure(name: str) -> Callable[[ErrorInputs], Tensor]:
    if name in MEASURES:
        return MEASURES[name]
    loss = LOSSES.find(name)
    assert loss is not None  # the check has refused other names
    return lambda x: loss.error(x.pred, x.true, x.weights, x.grid)


def _registered_relative(name: str) -> bool:
    loss = None if name in ERRORS else LOSSES.find(name)
    return loss is not None and loss.relative


def _counted(true: Values, weights: Values | None, *, relative: bool) -> Tensor:
    if relative:
        return nonzero_samples(true, weights)
    return measured_samples(weights, len(true)).to(all_values(true).device)
