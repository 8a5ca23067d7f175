"""Values for the parameters of a definition: params, dims, domain variables."""

from __future__ import annotations

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.bind.domain_kinds import wrong_kind
from opdsl.elaborate.bind.param_types import accepted, describe_type, words
from opdsl.elaborate.bind.site import Site
from opdsl.elaborate.evaluate.arithmetic import is_count
from opdsl.elaborate.evaluate.values import Value, Word, describe, show
from opdsl.ir.dims import Dim
from opdsl.ir.spaces import BOUNDS, Domain
from opdsl.syntax import tree

Parameter = tree.Param | tree.Dim | tree.Domain


def convert(site: Site, parameter: Parameter, value: Value, span: Span) -> Value:
    """Convert a value to the type of a parameter.

    Args:
        site: the site of the definition that declares the parameter.
        parameter: its declaration.
        value: the value from a call, or the default.
        span: the span of the value.

    Raises:
        Poisoned: after a diagnostic; it does not fit.
    """
    match parameter:
        case tree.Domain():
            return as_domain(site, parameter, value, span)
        case tree.Dim():
            return _as_dim(site, parameter, value, span)
    converted = accepted(value, parameter.type)
    if converted is not None:
        return converted
    near = did_you_mean(show(value), words(parameter.type)) if isinstance(value, Word) else ()
    raise site.fail(
        "OP0208",
        f"`{parameter.name.text}` of `{site.title}` cannot be {describe(value)}",
        Label(span, f"expected {describe_type(parameter.type)}"),
        Label(parameter.span, "declared here"),
        helps=near,
    )


def _as_dim(site: Site, dim: tree.Dim, value: Value, span: Span) -> Dim:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if is_count(value) and value >= 1:
        return value
    raise site.fail(
        "OP0208",
        f"`{dim.name.text}` of `{site.title}` is a number of channels",
        Label(span, f"this is {describe(value)}"),
        helps=("round it: `int(...)`",) if isinstance(value, float) else (),
    )


def as_domain(site: Site, variable: tree.Domain, value: Value, span: Span) -> Domain:
    """Return the value of a domain variable, which must be of the declared kind.

    Raises:
        Poisoned: after a diagnostic; it is no domain, or one of another kind.
    """
    if not isinstance(value, Domain):
        raise site.fail(
            "OP0209",
            f"`{variable.name.text}` of `{site.title}` is a domain",
            Label(span, f"this is {describe(value)}"),
        )
    check_kind(site, variable, value, span)
    return value


def check_kind(site: Site, variable: tree.Domain, domain: Domain, span: Span) -> None:
    """Check that a domain is of the kind that the declaration asks for.

    Raises:
        Poisoned: after a diagnostic.
    """
    bound = variable.kind.name.text if variable.kind else "any"
    if bound not in BOUNDS:
        raise site.problems.fail(
            "OP0201",
            f"unknown kind of domain `{bound}`",
            Label(variable.kind.name.span if variable.kind else span, "not found"),
            notes=(f"kinds of domain: {', '.join(BOUNDS)}",),
            helps=did_you_mean(bound, BOUNDS),
        )
    if not domain.satisfies(bound):
        raise wrong_kind(site, site.title, domain, (bound,), span)
