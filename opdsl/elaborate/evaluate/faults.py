"""Diagnostics about values that do not fit where they stand."""

from __future__ import annotations

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.evaluate.environment import Environment
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import Value, Word, describe


def unknown_name(env: Environment, word: Word, span: Span) -> Poisoned:
    """Report OP0201 for a word that should be the name of something declared."""
    names = [x for x in env.names() if x != word.text]
    return env.fail(
        "OP0201",
        f"unknown name `{word.text}`",
        Label(word.span or span, "not found"),
        helps=did_you_mean(word.text, names),
    )


def not_defined(
    env: Environment, span: Span, sign: str, values: tuple[Value, ...], spans: tuple[Span, ...]
) -> Poisoned:
    """Report OP0209 for an operator that is not defined for its operands.

    Args:
        env: the environment in which the operator is evaluated.
        span: the span of the sign.
        sign: the operator.
        values: its operands.
        spans: the span of each operand.
    """
    for value, where in zip(values, spans, strict=True):
        if isinstance(value, Word):
            return unknown_name(env, value, where)
    if sign in "/%" and values[-1] == 0:
        return env.fail("OP0209", "a division by zero", Label(spans[-1], "this is zero"))
    labels = [Label(s, f"this is {describe(v)}") for s, v in zip(spans, values, strict=True)]
    return env.fail(
        "OP0209",
        f"`{sign}` has no meaning here",
        Label(span, "not defined for these values"),
        *labels,
    )
