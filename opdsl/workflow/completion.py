"""Words that a shell can complete: models, parameters and settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from opdsl.compiler import check, read
from opdsl.elaborate import models
from opdsl.elaborate.evaluate.values import show
from opdsl.syntax.parser import parse


def models_of(path: str) -> Iterator[tuple[str, str]]:
    """Yield the models of a program, each with its documentation.

    Raises:
        OpError: OP0202, the program cannot be read.
    """
    source, _ = read(Path(path))
    for x in models(parse(source)[0]):
        yield x.name.text, x.doc.text if x.doc else ""


def parameters_of(path: str, model: str | None) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a model with their values as a program would write them.

    Raises:
        OpError: everything that is wrong with the program.
    """
    for name, value in check(Path(path), model=model).sound().params.items():
        yield name, value if isinstance(value, str) else show(value)  # type: ignore[arg-type]  # parameters are values of the language


def default_settings() -> Iterator[tuple[str, str]]:
    """Yield every setting of a run with its default; empty where that is no single value."""
    from opdsl.train.config.schema import Settings

    for key, value in Settings().rows():
        yield key, "" if value is None or isinstance(value, list | dict) else str(value)
