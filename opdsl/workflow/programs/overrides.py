"""Values from outside a program: options, `--set`, settings files and arguments of Python.

A `Setting` knows the text that it is from, so that a diagnostic can point into it. Those of the
model become values of its parameters, all others become settings of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike, fspath
from typing import Any

from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Source, Span, fault
from opdsl.elaborate import Argument
from opdsl.elaborate.evaluate.constants import constant
from opdsl.elaborate.evaluate.values import Value, Word
from opdsl.setting import CallText, Setting
from opdsl.syntax.parser import parse_expr
from opdsl.workflow.errors import ArgumentError

MODEL = "model"  # `model.width` is a parameter of the model, all else a setting of the run
OPTION = "--set"
PYTHON = "an argument of Python"  # the origin of a setting
SHORT = {"epochs": "schedule.epochs"}  # settings that have a name of their own in Python


def assignments(overrides: Iterable[Setting], models: Sequence[str]) -> list[Setting]:
    """Select the overrides that are settings of the run."""
    return [x for x in overrides if x.path[0] not in {MODEL, *models}]


# ----------------------------------------------------------------------- texts of the command line


def parse_set(text: str, option: str = OPTION) -> Setting:
    """Parse the text of one `--set`, or of another `option` of its form, `KEY=VALUE`.

    Raises:
        ArgumentError: the key or the value is missing.
    """
    key, sign, value = text.partition("=")
    if not sign or not key.strip() or not value.strip():
        raise ArgumentError(f"`{option} {text}`: write KEY=VALUE, as in `--set model.width=96`")
    source = Source(f"<{option}>", text)
    keys = tuple(_words(source, key))
    stop = len(key) + 1 + len(value.rstrip())
    span = source.span(len(text) - len(value.lstrip()), stop)
    override = Setting(tuple(x.text for x in keys), value.strip(), option, span, keys)
    try:
        return replace(override, value=_parsed(source, len(key) + 1))
    except OpError as error:
        return replace(override, invalid=error)


def _words(source: Source, key: str) -> Iterator[Span]:
    """Yield the keys between the dots, without blanks."""
    start = 0
    for word in key.split("."):
        begin = start + len(word) - len(word.lstrip())
        yield source.span(begin, begin + len(word.strip()))
        start += len(word) + 1


def _parsed(source: Source, start: int) -> object:
    """Parse the value behind `=`; the text before it is blanked, which keeps positions right."""
    try:
        return constant(parse_expr(Source(source.name, " " * start + source.text[start:])))
    except OpError as error:
        raise OpError(*(_moved(x, source) for x in error.diagnostics)) from None


def _moved(diagnostic: Diagnostic, source: Source) -> Diagnostic:
    """Move the labels of a diagnostic from the blanked text to the whole text."""
    labels = tuple(Label(replace(x.span, source=source), x.text) for x in diagnostic.labels)
    return replace(diagnostic, labels=labels, helps=tuple(Help(x.text) for x in diagnostic.helps))


def option(name: str, path: tuple[str, ...], value: object) -> Setting:
    """Make the setting of an option that has a name of its own: `--epochs 5`."""
    source = Source(f"<{name}>", str(value))
    span = source.span(0, len(source.text))
    return Setting(path, value, name, span, (span,))


# --------------------------------------------------------------------------- arguments of Python


def settings_in_python(values: Mapping[str, Any], origin: str = PYTHON) -> list[Setting]:
    """Flatten keyword arguments of Python to settings of a run.

    Args:
        values: by section and name, `{"optimizer": {"lr": 1e-3}}`, or with dots,
            `{"optimizer.lr": 1e-3}`; `epochs` stands for `schedule.epochs`.
        origin: who gave them, for the folder of the run.
    """
    return [_in_python(path, value, origin) for path, value in _flat((), values)]


def _flat(
    above: tuple[str, ...], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        name = SHORT.get(key, key) if not above else key
        path = (*above, *str(name).split("."))
        if isinstance(value, Mapping):
            yield from _flat(path, value)
        else:
            yield path, _plain(value)


def _plain(value: Any) -> Any:
    """Convert numbers of NumPy, paths and tuples to the types that a settings file holds."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, list | tuple):
        return [_plain(x) for x in value]
    item = getattr(value, "item", None)  # a number of NumPy or torch
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _in_python(path: tuple[str, ...], value: Any, origin: str) -> Setting:
    key = ".".join(path)
    source = Source("<arguments>", f"{key} = {value!r}")
    span = source.span(len(key) + 3, len(source.text))
    return Setting(path, value, origin, span, (source.span(0, len(key)),))


# --------------------------------------------------------------------- parameters of the model


def parameters(overrides: Iterable[Setting], models: Sequence[str]) -> dict[str, Argument]:
    """Select the parameters of the model; `DarcyFNO.width` is `model.width`.

    Raises:
        OpError: a value that the language does not know, OP0207 for a path that is too long.
    """
    return {x.path[1]: _given(x) for x in overrides if _of_model(x, models)}


def _of_model(override: Setting, models: Sequence[str]) -> bool:
    if override.path[0] not in {MODEL, *models}:
        return False
    if len(override.path) != 2:
        name = ".".join(override.path)
        message = f"`{name}` is no parameter of a model"
        helps = ("write `model.NAME=VALUE`, for example `model.width=96`",)
        raise fault("OP0207", message, Label(override.keys[-1]), helps=helps)
    return True


def _given(override: Setting) -> Argument:
    assert override.span is not None  # every text of `--set` and of a file has places
    if override.invalid:
        raise override.invalid
    return Argument(_value(override.value, override.span), override.span, override.keys[-1])


def _value(value: object, span: Span) -> Value:
    match value:
        case CallText():
            pass
        case str():
            return Word(value, span)
        case list() | tuple():
            return tuple(_value(x, span) for x in value)
        case bool() | int() | float():
            return value
    raise fault("OP0208", f"a parameter cannot be {value}", Label(span))
