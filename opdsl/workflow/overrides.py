"""Values given from outside a program, and the settings of a run among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opdsl.diagnostics import OpError, Span
from opdsl.train.config.schema import Settings
from opdsl.train.config.settings import Assignment

MODEL = "model"  # `model.width` is a parameter of the model, all else a setting of the run


@dataclass(frozen=True, slots=True)
class Override:
    """One value that somebody gave.

    Attributes:
        path: `("optimizer", "lr")`.
        value: a number, a truth value, a text, None or a list of these.
        origin: `--set`, `run.yaml:4`.
        span: of the value.
        keys: of each key of the path.
        wrong: why the text is no value of the language; a setting may be any text.
    """

    path: tuple[str, ...]
    value: object
    origin: str
    span: Span
    keys: tuple[Span, ...]
    wrong: OpError | None = None


def assignments(overrides: Iterable[Override], models: Sequence[str]) -> list[Assignment]:
    """The settings among the overrides."""
    return [
        Assignment(x.path, x.value, x.origin, x.span, to_blame(x.path, x.keys))
        for x in overrides
        if x.path[0] not in {MODEL, *models}
    ]


def to_blame(path: tuple[str, ...], keys: tuple[Span, ...]) -> Span:
    """The key that an error about the path points to: the section, if there is none such."""
    return keys[-1 if path[0] in Settings.model_fields else 0]
