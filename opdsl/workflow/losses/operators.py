"""Types of derivatives and integrals in losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from opdsl.diagnostics import did_you_mean
from opdsl.ir.spaces import VECTOR
from opdsl.syntax import tree
from opdsl.syntax.unparse import expr as text_of
from opdsl.train.losses.expressions.catalogue import OPERATORS
from opdsl.train.losses.expressions.nodes import Coordinate, OperatorNode
from opdsl.workflow.losses.values import (
    FunctionValue,
    WordValue,
    axis_of_time,
    missing_derivatives,
    space_axes,
)

if TYPE_CHECKING:
    from opdsl.workflow.losses.expressions import Typing

ORDERS = (2, 4, 6, 8)
USAGE = {"d": "d(u, x)", "diffusion": "diffusion(a, u)"}


def operator(typing: Typing, expr: tree.Call, name: str) -> FunctionValue:
    """Return the type of a call of an operator.

    Raises:
        OpError: OP0702, other arguments; OP0703, there is no such derivative; OP0705, channels that
            are no vectors.
    """
    kind = OPERATORS[name]
    known = ("order", "step") if name == "dt" else ("order",) if kind.derivative else ()
    options = typing.options(expr, known)
    order = _order(typing, options.get("order"))
    usage = USAGE.get(name, f"{name}(u)")
    if name == "d":
        plain = [x.value for x in expr.args if x.name is None]
        if len(plain) < 2:
            message = "`d` takes a function and the axes along which it is derived"
            raise typing.fail("OP0702", message, expr.span, helps=(f"write `{usage}`",))
    else:
        plain = typing.plain_arguments(expr, kind.args, usage)
    values = [typing.function(x) for x in plain[: kind.args]]
    value = values[-1]
    if len(values) > 1:
        typing.same_shape(values[0], value, expr.span)
    _refuse_missing(typing, expr, value, derivative=kind.derivative)
    axes: tuple[int, ...] = ()
    if name == "d":
        axes = tuple(_axis(typing, x, value) for x in plain[1:])
    if name == "dt":
        _refuse_no_time(typing, expr, value)
    channels = _channels(typing, expr, value, name)
    domain = value.domain if kind.derivative else VECTOR
    step = typing.number(options["step"]) if "step" in options else 1.0
    if step <= 0:
        raise typing.fail("OP0702", "the time between two steps is above 0", options["step"].span)
    node = OperatorNode(name, tuple(x.node for x in values), value.domain.label, axes, order, step)
    components = _components(value, name)
    return FunctionValue(node, domain, channels, components)


def _refuse_missing(
    typing: Typing, expr: tree.Call, value: FunctionValue, *, derivative: bool
) -> None:
    shown = text_of(expr.args[-1].value if expr.name == "diffusion" else expr.args[0].value)
    if not derivative:
        if value.is_vector:
            message = f"`{shown}` is one vector for each sample, without a domain to average over"
            raise typing.fail("OP0703", message, expr.span)
        return
    reason = missing_derivatives(value.domain, typing.graph)
    if reason is not None:
        message = f"`{shown}` has no derivatives: {reason}"
        helps = ("derivatives exist on grids, on spheres, and at query points",)
        raise typing.fail("OP0703", message, expr.span, helps=helps)


def _refuse_no_time(typing: Typing, expr: tree.Call, value: FunctionValue) -> None:
    if axis_of_time(value.domain) is None and not typing.steps:
        message = f"`{text_of(expr.args[0].value)}` has no axis of time and no steps in time"
        helps = ("an axis of time is named `t` or `time`", "steps are those of `rollout`")
        raise typing.fail("OP0703", message, expr.span, helps=helps)


def _axis(typing: Typing, expr: tree.Expr, value: FunctionValue) -> int:
    """Return the axis that an argument of `d` names."""
    names = [x.name for x in value.domain.axes]
    if isinstance(expr, tree.Name):
        if not typing.scopes and expr.text in names:
            return names.index(expr.text)
        found = typing.find(expr.text)
        if isinstance(found, FunctionValue) and found.domain == value.domain:
            node = found.node
            if isinstance(node, Coordinate):
                return node.axis
        if expr.text in names:
            return names.index(expr.text)
    message = f"`{text_of(expr)}` is no axis of `{value.domain}`"
    notes = (f"its axes are: {', '.join(names)}",)
    helps = did_you_mean(text_of(expr), names)
    raise typing.fail("OP0703", message, expr.span, notes=notes, helps=helps)


def _order(typing: Typing, expr: tree.Expr | None) -> int | Literal["spectral"] | None:
    if expr is None:
        return None
    value = typing.value(expr)
    if isinstance(value, WordValue):
        return "spectral"
    number = typing.number(expr)
    if number not in ORDERS:
        message = f"finite differences have the order {', '.join(map(str, ORDERS))}"
        helps = ("`order = spectral` derives in the basis of the domain",)
        raise typing.fail("OP0702", message, expr.span, helps=helps)
    return int(number)


def _channels(typing: Typing, expr: tree.Call, value: FunctionValue, name: str) -> int:
    dims, channels = space_axes(value.domain), value.channels
    if name in {"grad", "velocity"}:
        return _known_channels(typing, expr, value, name) * dims
    if name not in {"div", "curl"}:
        return channels
    if name == "curl" and dims not in {2, 3}:
        message = f"`curl` needs two or three axes, `{value.domain}` has {dims}"
        raise typing.fail("OP0703", message, expr.span)
    if channels % dims:
        message = f"`{name}` of {channels} channel{'s' if channels > 1 else ''} on {dims} axes"
        helps = (f"a vector has {dims} channels: `[vx, vy]` joins some",)
        raise typing.fail("OP0705", message, expr.span, helps=helps)
    return channels if name == "curl" and dims == 3 else channels // dims


def _known_channels(typing: Typing, expr: tree.Call, value: FunctionValue, name: str) -> int:
    """Return the channels of a function; `velocity` needs a periodic plane or a sphere."""
    domain = value.domain
    time = axis_of_time(domain)
    periodic = all(x for i, x in enumerate(domain.periodic) if i != time)
    plane = domain.regular and space_axes(domain) == 2 and periodic
    if name == "velocity" and not (domain.kind == "sphere" or plane):
        message = f"`velocity` needs a periodic plane or a sphere, and `{domain}` is neither"
        helps = ("with walls, the model predicts the velocity, and `curl` is its vorticity",)
        raise typing.fail("OP0703", message, expr.span, helps=helps)
    return value.channels


def _components(value: FunctionValue, name: str) -> tuple[str, ...] | None:
    """Return the names of the channels of a result; those of a gradient are the axes."""
    if name == "grad":
        time = axis_of_time(value.domain)
        axes = tuple(x.name for i, x in enumerate(value.domain.axes) if i != time)
        return axes if value.channels == 1 and value.domain.regular else None
    return value.components if name in {"d", "dt", "laplace", "mean", "integrate"} else None
