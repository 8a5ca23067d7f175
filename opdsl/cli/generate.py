"""`opdsl data generate NAME`: a command for each generator, from its declaration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from opdsl.cli.console import result, show_json
from opdsl.cli.options import Json
from opdsl.cli.progress import SampleProgress
from opdsl.workflow.datasets.generation import (
    GENERATORS,
    Generator,
    Option,
    generate_dataset,
)

ENUM: Any = StrEnum  # made at run time, from the choices of an option


def __getattr__(name: str) -> Callable[..., None]:
    """Return the command of the generator `name`, which the group of commands looks up here."""
    generator = None if name.startswith("__") else GENERATORS.find(name)
    if generator is None:
        raise AttributeError(name)
    return _command(name, generator)


class GeneratorCommands(Mapping[str, str]):
    """The module and attribute of each command, by its name."""

    def __getitem__(self, command: str) -> str:
        name = command.replace("-", "_")
        if name not in GENERATORS.names() and name not in GENERATORS.known():
            raise KeyError(command)
        return f"generate.{name}"

    def __iter__(self) -> Iterator[str]:
        return (x.replace("_", "-") for x in GENERATORS.known())

    def __len__(self) -> int:
        return len(GENERATORS.known())


def _command(name: str, generator: Generator) -> Callable[..., None]:
    """Return a function whose signature has the options of a generator, for typer."""

    def command(*, out: Path, seed: int, as_json: bool, **options: Any) -> None:
        progress = SampleProgress()
        values = {k: x.value if isinstance(x, StrEnum) else x for k, x in options.items()}
        dataset = generate_dataset(name, out, seed=seed, progress=progress, **values)
        progress.end()
        if as_json:
            show_json(dataset.to_json())
        else:
            result(str(dataset))

    parameters = _parameters(generator)
    command.__name__ = name
    command.__doc__ = _help(name, generator)
    command.__annotations__ = {x.name: x.annotation for x in parameters} | {"return": None}
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as typer reads it
    return command


def _help(name: str, generator: Generator) -> str:
    example = f"Example: opdsl data generate {name.replace('_', '-')} {generator.example}"
    return f"{generator.description}\n\n{example}" if generator.example else generator.description


def _parameters(generator: Generator) -> list[inspect.Parameter]:
    """Return the required options, then the file and the seed, then the others."""
    required = [x for x in generator.options if x.default is None and not x.optional]
    optional = [x for x in generator.options if x not in required]
    is_file = generator.suffix.startswith(".")
    file_help = f"The {generator.suffix} file to make." if is_file else "The folder to make."
    out = typer.Option("--out", "-o", metavar="FILE", help=file_help)
    seed = typer.Option("--seed", metavar="S", help="Seed of the random samples.")
    return [
        *map(_parameter, required),
        _keyword("out", Annotated[Path, out]),
        _keyword("seed", Annotated[int, seed], 0),
        *map(_parameter, optional),
        _keyword("as_json", Json, False),
    ]


def _parameter(option: Option) -> inspect.Parameter:
    kind: Any = option.type
    default = option.default
    if option.choices:
        kind = ENUM(option.name, [(x.upper(), x) for x in option.choices])
        default = None if default is None else kind(default)
    text = typer.Option(f"--{option.name}", metavar=option.metavar, help=option.help)
    required = option.default is None and not option.optional
    value_type: Any = kind | None if option.optional else kind
    annotation = Annotated[value_type, text]
    return _keyword(option.name, annotation, inspect.Parameter.empty if required else default)


def _keyword(
    name: str, annotation: Any, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
