"""Domains made from other domains: `extend(D, fraction = 0.125)` and `spectrum(D, 16)`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from opdsl.diagnostics import Label, Span
from opdsl.elaborate.bind.domain_options import DomainOptions, OptionReader
from opdsl.elaborate.evaluate.arithmetic import is_number
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Value, describe
from opdsl.ir.modes import axis_count
from opdsl.ir.spaces import KINDS, REGULAR, Domain
from opdsl.ir.steps import Extend
from opdsl.syntax.tree import Arg, Call

if TYPE_CHECKING:
    from fractions import Fraction

    from opdsl.ir.steps import Filling

FILLINGS = ("zero", "legendre", "gram")
ROUNDINGS = ("up", "nearest")
MAX_FRACTION = 8


def extended(reader: OptionReader, name: str, call: Call) -> Domain:
    """Build the domain `extend(D, fraction = 0.125)`, a longer grid.

    Raises:
        Poisoned: after the diagnostic.
    """
    options = reader.options(name, call, ("fraction", "sides", "kind", "rounding"))
    inner = reader.unnamed(call)
    if len(inner) != 1 or not isinstance(inner[0], Domain) or inner[0].kind not in REGULAR:
        raise reader.fail(
            "`extend` takes one grid",
            Label(call.span, f"this is {describe(inner[0])}" if inner else "none is given"),
            "write `extend(D, fraction = 0.125)`",
            code="OP0209",
        )
    sides = reader.choice(options, "sides", ("end", "both"))
    filling = reader.choice(options, "kind", FILLINGS)
    zero_allowed = filling == "zero"
    numerator, denominator = _fractions(reader, call, options, inner[0].dims, zero=zero_allowed)
    rounding = reader.choice(options, "rounding", ROUNDINGS)
    return inner[0].extended(
        Extend(
            name=name,
            numerator=numerator,
            denominator=denominator,
            sides="both" if sides == "both" else "end",
            kind=cast("Filling", filling),
            rounding="nearest" if rounding == "nearest" else "up",
        )
    )


def _fractions(
    reader: OptionReader, call: Call, options: DomainOptions, dims: int, *, zero: bool
) -> tuple[int | tuple[int, ...], int]:
    """Return the numerators, one or one for each axis, and their common denominator.

    Args:
        reader: the reader of the declaration.
        call: the call of `extend`.
        options: its named arguments.
        dims: the number of axes of the domain.
        zero: whether some axes may keep their length.
    """
    if "fraction" not in options:
        raise reader.fail(
            "`extend` needs `fraction`",
            Label(call.span, "how much longer is the extended domain?"),
            "write `extend(D, fraction = 0.125)`",
            code="OP0205",
        )
    arg, value = options["fraction"]
    each = value if isinstance(value, tuple) else (value,)
    if isinstance(value, tuple) and len(each) != dims:
        raise reader.fail(
            f"`fraction` has {len(each)} values for {dims} axes",
            Label(arg.value.span, f"this is {describe(value)}"),
            "write one number, or one for each axis",
        )
    fractions = [_fraction(reader, x, arg) for x in each]
    if not any(fractions) or not (zero or all(fractions)):
        raise _no_fraction(reader, 0, arg)
    denominator = math.lcm(*(x.denominator for x in fractions))
    numerators = tuple(int(x * denominator) for x in fractions)
    return numerators[0] if len(set(numerators)) == 1 else numerators, denominator


def _fraction(reader: OptionReader, value: Value, arg: Arg) -> Fraction:
    if not is_number(value) or not 0 <= value <= MAX_FRACTION:
        raise _no_fraction(reader, value, arg)
    from fractions import Fraction  # only for programs that extend a domain

    return Fraction(repr(value))


def _no_fraction(reader: OptionReader, value: Value, arg: Arg) -> Poisoned:
    return reader.fail(
        "`fraction` is a part of the domain's length",
        Label(arg.value.span, f"this is {describe(value)}"),
        f"write a number above 0, at most {MAX_FRACTION}: `fraction = 0.125`",
    )


# ---------------------------------------------------------------------- spectrum


def spectrum(reader: OptionReader, call: Call) -> Domain:
    """Build the domain `spectrum(D, 16)`, the modes |k| <= 16 of a regular grid.

    Raises:
        Poisoned: after the diagnostic.
    """
    values = [reader.evaluate(x.value) for x in call.args if not x.name]
    base = values[0] if values else None
    if len(values) != len(call.args) or len(values) != 2 or not isinstance(base, Domain):
        raise reader.fail(
            "`spectrum` takes a domain and the greatest frequency",
            Label(call.span, "these do not fit"),
            "write `spectrum(D, 16)`, or one number for each axis: `(16, 8)`",
            code="OP0209",
        )
    if not base.satisfies("grid"):
        raise reader.fail(
            "`spectrum` is defined on a regular grid only",
            Label(call.args[0].span, f"`{base}` is {KINDS[base.kind]}"),
            code="OP0301",
        )
    return base.spectrum(_modes(reader, values[1], base, call.args[1].span))


def _modes(reader: OptionReader, value: Value, base: Domain, span: Span) -> tuple[int, ...]:
    modes = value if isinstance(value, tuple) else (value,) * base.dims
    if len(modes) != base.dims:
        raise reader.problems.fail(
            "OP0308",
            f"`spectrum` has {len(modes)} frequencies; the domain has {axis_count(base.dims)}",
            Label(span, f"`{base}` has the axes {', '.join(x.name for x in base.axes)}"),
            notes=("one number stands for all axes",),
        )
    whole = tuple(x for x in modes if isinstance(x, int) and not isinstance(x, bool) and x >= 0)
    if len(whole) != len(modes):
        raise reader.fail(
            "a greatest frequency is a whole number",
            Label(span, f"this is {describe(value)}"),
        )
    return whole
