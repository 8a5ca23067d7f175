"""Types of errors in losses: what they compare, their options, and where they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opdsl.diagnostics import did_you_mean
from opdsl.ir.spaces import Domain
from opdsl.ir.steps import Extend
from opdsl.sampling import points_at_ends
from opdsl.syntax import tree
from opdsl.syntax.unparse import expr as text_of
from opdsl.train.losses import LOSSES
from opdsl.train.losses.expressions.catalogue import (
    ERRORS,
    PER,
    UNITS,
    ErrorKind,
    OptionKind,
)
from opdsl.train.losses.expressions.nodes import (
    ErrorTerm,
    FunctionNode,
    OptionValue,
    WeightedTerm,
    leaves,
)
from opdsl.workflow.losses.values import (
    FunctionValue,
    NumberValue,
    TermsValue,
    axes_with_ends,
    missing_derivatives,
    space_axes,
)

if TYPE_CHECKING:
    from opdsl.workflow.losses.expressions import Typing


def error(typing: Typing, expr: tree.Call, name: str) -> TermsValue:
    """Return the type of a call of an error, which is a term of a loss.

    Raises:
        OpError: OP0702, other arguments or options; OP0704, an error that functions on this domain
            do not have; OP0705, functions that cannot be compared.
    """
    kind = _kind(name)
    options = typing.options(expr, (*kind.options, "per", "units"))
    plain = [x.value for x in expr.args if x.name is None]
    if not 1 <= len(plain) <= 2:
        message = f"`{name}` takes one function or two, not {len(plain)}"
        usage = f"write `{name}(u)` or `{name}(f, g)`"
        raise typing.fail("OP0702", message, expr.span, helps=(usage,))
    value = typing.function(plain[0])
    target = _target(typing, value, plain[1] if len(plain) > 1 else None)
    plain_target = target
    if name == "boundary" and "value" in options:
        if len(plain) > 1:
            raise typing.fail("OP0702", "both a second function and `value`", expr.span)
        target = _comparable(typing, options["value"], value)
    if target is None and kind.relative:
        message = f"`{name}` divides by the size of what it compares with, which is zero here"
        helps = (f"write `{name}(f, g)`", "or take an absolute error such as `mse`")
        raise typing.fail("OP0702", message, expr.span, helps=helps)
    _refuse_missing(typing, expr, name, kind, value)
    if name == "crps":
        _refuse_no_members(typing, expr, value, plain_target, options)
    elif isinstance(target, FunctionValue):
        typing.same_shape(value, target, expr.span)
    numbers, functions = _options(typing, expr, name, kind, options, value)
    node = None if target is None else target.node
    normalised = _normalised(typing, options.get("units"), value, node)
    term = ErrorTerm(
        name,
        value.node,
        node,
        value.domain.label,
        numbers,
        functions,
        per_channel=_per(typing, options.get("per"), kind),
        normalised=normalised,
        masked_by=_masked_by(typing, value, node),
    )
    text = " ".join(typing.frames[0].text.split()) if typing.frames else text_of(expr)
    return TermsValue((WeightedTerm(text, 1.0, (), term),))


def _kind(name: str) -> ErrorKind:
    if name in ERRORS:
        return ERRORS[name]
    loss = LOSSES.find(name)
    assert loss is not None  # the caller has looked
    domains = "grid" if loss.needs_grid else "any"
    return ErrorKind(loss.description, relative=loss.relative, degree=None, domains=domains)  # type: ignore[arg-type]  # one of both words


def _target(
    typing: Typing, value: FunctionValue, other: tree.Expr | None
) -> FunctionValue | NumberValue | None:
    """Return what a function is compared with: its truth if it is an output, else zero."""
    if other is not None:
        return _comparable(typing, other, value)
    return None if value.own_truth is None else value.with_node(value.own_truth)


def _comparable(
    typing: Typing, expr: tree.Expr, value: FunctionValue
) -> FunctionValue | NumberValue:
    result = typing.value(expr)
    if isinstance(result, NumberValue | FunctionValue):
        if isinstance(result, FunctionValue) and result.is_vector and not value.is_vector:
            return FunctionValue(result.node, value.domain, result.channels)
        return result
    raise typing.fail("OP0706", "a function is compared with a function or a number", expr.span)


# ------------------------------------------------------------------------------ where errors exist


def _refuse_missing(
    typing: Typing, expr: tree.Call, name: str, kind: ErrorKind, value: FunctionValue
) -> None:
    """Refuse an error that functions on this domain do not have."""
    domain, shown = value.domain, text_of(expr.args[0].value)
    where = "one vector for each sample" if value.is_vector else f"a function on `{domain}`"
    message = f"`{name}` of `{shown}`, {where}"
    if kind.domains == "any":
        return
    if kind.domains == "derivatives":
        reason = missing_derivatives(domain, typing.graph)
        if reason is None and domain.kind == "points":
            reason = "it needs a grid or a sphere"
        if reason is not None:
            helps = ("take `rel_l2` or `l2`, which need no derivatives",)
            raise typing.fail("OP0704", f"{message}: {reason}", expr.span, helps=helps)
        if "div" in name and value.channels % space_axes(domain):
            message = f"`{name}` of {value.channels} channels on {space_axes(domain)} axes"
            raise typing.fail("OP0705", message, expr.span)
        return
    if kind.domains == "waves" and domain.kind == "sphere":
        return
    if not (domain.regular and domain.dims):
        helps = ("take `rel_l2` or `l2`, which need no grid",)
        raise typing.fail("OP0704", f"{message}, which is no regular grid", expr.span, helps=helps)
    if kind.domains in {"grid", "waves"} and any(
        isinstance(s, Extend) for x in domain.parts for s in x.steps
    ):
        helps = ("crop the function to its declared domain",)
        raise typing.fail("OP0704", f"{message}, which is an extension", expr.span, helps=helps)
    if kind.domains == "ends" and not axes_with_ends(domain):
        message += ", which has no points at an end of an axis"
        notes = ("periodic axes have no ends, and cell centres do not lie on them",)
        raise typing.fail("OP0704", message, expr.span, notes=notes)


def _refuse_no_members(
    typing: Typing,
    expr: tree.Call,
    value: FunctionValue,
    target: FunctionValue | NumberValue | None,
    options: dict[str, tree.Expr],
) -> None:
    """Refuse a CRPS whose members are no multiple of the channels of what they predict."""
    channels = target.channels if isinstance(target, FunctionValue) else 1
    if "deviation" in options:
        deviation = typing.value(options["deviation"])
        if isinstance(deviation, NumberValue) and deviation.value <= 0:
            message = "a deviation is above 0"
            usage = "write the output that predicts it: `crps(u, deviation = w)`"
            raise typing.fail("OP0702", message, options["deviation"].span, helps=(usage,))
        if isinstance(target, FunctionValue):
            typing.same_shape(value, target, expr.span)
        return
    members = value.channels // channels
    if value.channels % channels or members < 2:
        message = f"`crps` of {value.channels} channels for {channels} channels has no members"
        helps = (
            "write `crps([u1, u2, u3], v)` for members",
            "or `crps(u, deviation = w)` for a normal distribution",
        )
        raise typing.fail("OP0702", message, expr.span, helps=helps)


# ------------------------------------------------------------------------------ options


def _options(
    typing: Typing,
    expr: tree.Call,
    name: str,
    kind: ErrorKind,
    given: dict[str, tree.Expr],
    value: FunctionValue,
) -> tuple[dict[str, OptionValue], dict[str, FunctionNode]]:
    numbers: dict[str, OptionValue] = {}
    functions: dict[str, FunctionNode] = {}
    for key in kind.required:
        if key not in given:
            message, cure = f"`{name}` needs its option `{key}`", f"{name}(u, {key} = ...)"
            raise typing.fail("OP0702", message, expr.span, helps=(f"write `{cure}`",))
    for key, what in kind.options.items():
        if key not in given or key == "value":
            continue
        if what == "function":
            node = _comparable(typing, given[key], value)
            if isinstance(node, FunctionValue):
                typing.same_shape(value, node, given[key].span)
            functions[key] = node.node
        else:
            numbers[key] = _option(typing, given[key], what, value.domain)
    if "low" in kind.options and numbers.get("high", 1) <= numbers.get("low", 0):  # type: ignore[operator]  # both are numbers
        raise typing.fail("OP0702", "the band is empty: `low` is not below `high`", expr.span)
    if kind.domains == "ends":
        _refuse_no_end(typing, expr, numbers, value.domain)
    return numbers, functions


def _refuse_no_end(
    typing: Typing, expr: tree.Call, options: dict[str, OptionValue], domain: Domain
) -> None:
    axes, side = axes_with_ends(domain), options.get("side")
    chosen = [i for i in axes if options.get("axis") in (None, i)]
    if side is not None:
        place = 0 if side == "lower" else 1
        chosen = [i for i in chosen if points_at_ends(domain.samplings[i])[place]]
    if not chosen:
        names = ", ".join(domain.axes[i].name for i in axes)
        message = "there are no points at this end"
        raise typing.fail("OP0704", message, expr.span, notes=(f"axes with ends: {names}",))


def _option(typing: Typing, expr: tree.Expr, what: OptionKind, domain: Domain) -> OptionValue:
    if what == "axis":
        names = [x.name for x in domain.axes]
        return names.index(_word(typing, expr, names))
    if what == "side":
        return _word(typing, expr, ("lower", "upper"))
    if what == "bool":
        if isinstance(expr, tree.Literal) and isinstance(expr.value, bool):
            return expr.value
        raise typing.fail("OP0702", "expected true or false", expr.span)
    number = typing.number(expr)
    rules = {
        "positive": (number > 0, "a number above 0"),
        "fraction": (0 < number < 1, "a number between 0 and 1"),
        "count": (number >= 0 and number.is_integer(), "a whole number from 0"),
    }
    fits, words = rules.get(what, (True, "a number"))
    if not fits:
        raise typing.fail("OP0702", f"expected {words}", expr.span)
    return int(number) if what == "count" else number


def _word(typing: Typing, expr: tree.Expr, known: tuple[str, ...] | list[str]) -> str:
    if isinstance(expr, tree.Name) and expr.text in known:
        return expr.text
    message = f"expected one of {', '.join(known)}"
    raise typing.fail("OP0702", message, expr.span, helps=did_you_mean(text_of(expr), known))


def _per(typing: Typing, expr: tree.Expr | None, kind: ErrorKind) -> bool:
    return kind.channels if expr is None else _word(typing, expr, PER) == "channel"


def _normalised(
    typing: Typing, expr: tree.Expr | None, value: FunctionValue, target: FunctionNode | None
) -> str | None:
    """Return the output by whose statistics an error is normalised; None in physical units."""
    if expr is None or _word(typing, expr, UNITS) == "physical":
        return None
    output = ErrorTerm("", value.node, target, "").compares_output
    if output is None:
        message = "only the error of an output against its truth can be normalised"
        raise typing.fail("OP0702", message, expr.span, helps=("leave `units` out",))
    return output


def _masked_by(
    typing: Typing, value: FunctionValue, target: FunctionNode | None
) -> tuple[str, ...]:
    """Return the outputs on the domain that an error depends on, else the first one on it."""
    if value.is_vector:
        return ()
    there = [x.name for x in typing.graph.outputs if x.space.domain == value.domain]
    read = [x.name for x in (*leaves(value.node), *leaves(target)) if x.role != "input"]
    return tuple(x for x in dict.fromkeys(read) if x in there) or tuple(there[:1])
