"""Parameters of blocks written in Python, checked by pydantic; errors with their places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from opdsl.diagnostics import Label, Span, did_you_mean
from opdsl.elaborate.bind.param_types import activations
from opdsl.elaborate.bind.scope import NameScope
from opdsl.elaborate.evaluate.faults import unknown_name
from opdsl.elaborate.evaluate.problems import Poisoned
from opdsl.elaborate.evaluate.values import (
    Argument,
    Function,
    Word,
    WordPair,
    describe,
    plain,
    show,
)
from opdsl.ir.block import Block, literal_words
from opdsl.ir.dims import Poly

Named = Mapping[str, Argument]


def block_parameters(
    scope: NameScope, cls: type[Block], positional: tuple[Argument, ...], named: Named, span: Span
) -> dict[str, Argument]:
    """Return all arguments by name; those without one get the names of their parameters.

    Args:
        scope: where the block is called.
        cls: the block.
        positional: arguments without a name that are no functions.
        named: arguments with a name.
        span: the span of the call.

    Raises:
        Poisoned: after a diagnostic; there are too many without a name.
    """
    for argument in positional:
        if isinstance(argument.value, Word) and not cls.positional:
            raise unknown_name(scope, argument.value, argument.span)
    free = [x for x in cls.positional if x not in named]
    if len(positional) > len(free):
        extra = positional[len(free)]
        takes = ", ".join(cls.model_fields)
        raise scope.problems.fail(
            "OP0206",
            f"`{cls.keyword()}` takes functions here",
            Label(extra.span, f"this is {describe(extra.value)}"),
            frames=(*scope.frames, span),
            notes=(f"`{cls.keyword()}` takes: {takes}",) if takes else (),
            helps=("parameters are given by name",),
        )
    return {**dict(zip(free, positional, strict=False)), **named}


def make_block(scope: NameScope, cls: type[Block], named: Named, span: Span) -> Block:
    """Build the block with its parameters.

    Raises:
        Poisoned: after a diagnostic for each parameter that does not fit.
    """
    values = {key: _parameter(scope, cls, key, x) for key, x in named.items()}
    try:
        return cls(**values)
    except ValidationError as error:
        invalid = {str(x["loc"][0]) for x in error.errors() if x["loc"]}
        open_sizes = {x for x in invalid if _open_size(values.get(x))}
        if open_sizes:
            ones = {x: Argument(1, named[x].span, named[x].key) for x in open_sizes}
            return make_block(scope, cls, {**named, **ones}, span)
        faults = [_invalid(scope, cls, dict(x), named, span) for x in _roots(error)]
        raise faults[0] from error


def _open_size(value: object) -> bool:
    """Return whether the value is a size that a definition leaves open."""
    return isinstance(value, Poly) and value.range()[1] >= 1


def _roots(error: ValidationError) -> list[Any]:
    """Select one error for each parameter, since a union reports each of its alternatives.

    A misspelt name is also missing under its right one; only the misspelling is reported.
    """
    roots = list({x["loc"][:1]: x for x in reversed(error.errors())}.values())
    return [x for x in roots if x["type"] == "extra_forbidden"] or roots


def _parameter(scope: NameScope, cls: type[Block], key: str, argument: Argument) -> object:
    """Return the value of an argument in the form that pydantic reads."""
    value = argument.value
    if isinstance(value, Function):
        raise scope.fail(
            "OP0209",
            f"`{key}` of `{cls.keyword()}` is not a function",
            Label(argument.span, f"this is {describe(value)}"),
        )
    if isinstance(value, Word) and key in cls.model_fields and not _takes_words(cls, key):
        if value.text not in activations():
            raise unknown_name(scope, value, argument.span)
        raise scope.fail(
            "OP0208",
            f"`{key}` of `{cls.keyword()}` cannot be {describe(value)}",
            Label(argument.span, "a number or another value is needed"),
        )
    return plain(value) if isinstance(value, Word | WordPair | tuple) else value


def _takes_words(cls: type[Block], key: str) -> bool:
    return bool(literal_words(cls, key)) or cls.model_fields[key].annotation is str


def _invalid(
    scope: NameScope, cls: type[Block], error: dict[str, Any], named: Named, span: Span
) -> Poisoned:
    key = str(error["loc"][0]) if error["loc"] else ""
    name, takes = cls.keyword(), ", ".join(cls.model_fields)
    match error["type"]:
        case "extra_forbidden":
            return scope.fail(
                "OP0207",
                f"`{name}` has no parameter `{key}`",
                Label(named[key].key, "unknown parameter"),
                notes=(f"`{name}` takes: {takes}" if takes else f"`{name}` takes no parameters",),
                helps=did_you_mean(key, cls.model_fields),
            )
        case "missing":
            return scope.fail(
                "OP0205",
                f"`{name}` needs `{key}`",
                Label(span, f"`{key}` is not given"),
                helps=(f"add `{key} = ...`",),
            )
    argument = named.get(key)
    words = literal_words(cls, key) if key in cls.model_fields else ()
    reason = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    text = show(argument.value) if argument else key
    return scope.fail(
        "OP0208",
        f"`{key}` of `{name}` cannot be `{text}`",
        Label(argument.span if argument else span, "unknown word" if words else reason.lower()),
        notes=(f"`{key}` is one of: {', '.join(words)}",) if words else (),
        helps=did_you_mean(text, words) if words else (),
    )
