"""What people say beside the program: `--set model.width=96`, and each value of a settings file.

The texts become `Override`s, which know their places in these texts; those of the model become
values of its parameters. Settings of the run are for `opdsl.workflow.overrides.assignments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from opdsl.cli.console import UsageError
from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Source, Span, fault
from opdsl.elaborate import Argument
from opdsl.elaborate.evaluate.constants import constant
from opdsl.elaborate.evaluate.values import Value, Word
from opdsl.syntax.parser import parse_expr
from opdsl.train.config.settings import Assignment
from opdsl.workflow.overrides import MODEL, Override

OPTION = "--set"


def parse_set(text: str) -> Override:
    """The override in the text of one `--set`.

    Raises:
        UsageError: there is no key or no value.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip() or not value.strip():
        raise UsageError(f"`--set {text}`: write KEY=VALUE, as in `--set model.width=96`")
    source = Source(f"<{OPTION}>", text)
    keys = tuple(_words(source, key))
    stop = len(key) + 1 + len(value.rstrip())
    span = source.span(len(text) - len(value.lstrip()), stop)
    made = Override(tuple(x.text for x in keys), value.strip(), OPTION, span, keys)
    try:
        return replace(made, value=_parsed(source, len(key) + 1))
    except OpError as error:
        return replace(made, wrong=error)


def _words(source: Source, key: str) -> Iterator[Span]:
    """The keys between the dots, without blanks."""
    start = 0
    for word in key.split("."):
        first = start + len(word) - len(word.lstrip())
        yield source.span(first, first + len(word.strip()))
        start += len(word) + 1


def _parsed(source: Source, start: int) -> object:
    """The value behind the sign; blanks before it keep the places right."""
    try:
        return constant(parse_expr(Source(source.name, " " * start + source.text[start:])))
    except OpError as error:
        raise OpError(*(_moved(x, source) for x in error.diagnostics)) from None


def _moved(diagnostic: Diagnostic, source: Source) -> Diagnostic:
    """The same about the whole text."""
    labels = tuple(Label(replace(x.span, source=source), x.text) for x in diagnostic.labels)
    return replace(diagnostic, labels=labels, helps=tuple(Help(x.text) for x in diagnostic.helps))


# --------------------------------------------------------------------- parameters of the model


def parameters(overrides: Iterable[Override], models: Sequence[str]) -> dict[str, Argument]:
    """The parameters of the model among the overrides; `DarcyFNO.width` is `model.width`.

    Raises:
        OpError: a value that the language does not know, OP0207 for a path that is too long.
    """
    return {x.path[1]: _given(x) for x in overrides if _of_model(x, models)}


def _of_model(override: Override, models: Sequence[str]) -> bool:
    if override.path[0] not in {MODEL, *models}:
        return False
    if len(override.path) != 2:
        name = ".".join(override.path)
        message = f"`{name}` is no parameter of a model"
        helps = ("write `model.NAME=VALUE`, for example `model.width=96`",)
        raise fault("OP0207", message, Label(override.keys[-1]), helps=helps)
    return True


def _given(override: Override) -> Argument:
    if override.wrong:
        raise override.wrong
    return Argument(_value(override.value, override.span), override.span, override.keys[-1])


def _value(value: object, span: Span) -> Value:
    match value:
        case str():
            return Word(value, span)
        case list() | tuple():
            return tuple(_value(x, span) for x in value)
        case bool() | int() | float():
            return value
    raise fault("OP0208", f"a parameter cannot be {value}", Label(span))


def option(name: str, path: tuple[str, ...], value: object) -> Assignment:
    """The setting that an option of its own gives: `--epochs 5`."""
    source = Source(f"<{name}>", str(value))
    span = source.span(0, len(source.text))
    return Assignment(path, value, name, span, span)
