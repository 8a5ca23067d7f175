"""Arguments and options that several commands share, with one wording."""

from pathlib import Path
from typing import Annotated

import typer

from opdsl.cli import completion
from opdsl.cli.console import UsageError

Spec = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A .op file, or a graph as .json.",
        show_default=False,
        autocompletion=completion.programs,
    ),
]
OptionalSpec = Annotated[
    str | None,
    typer.Argument(
        metavar="[SPEC]",
        help="A .op file, or a graph as .json; a run that goes on needs none.",
        show_default=False,
        autocompletion=completion.programs,
    ),
]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The folder of a run.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="The model, where the file has several.",
        autocompletion=completion.models,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a parameter (model.width=96) or a setting.",
        autocompletion=completion.settings,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a parameter, as model.width=96.",
        autocompletion=completion.parameters,
    ),
]
TrainingDataOption = Annotated[
    str | None, typer.Option("--data", metavar="PATH", help="Samples to learn from.")
]
Epochs = Annotated[
    int | None, typer.Option("--epochs", metavar="N", help="Passes over the samples.")
]
Config = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="FILE", help="Settings in YAML; may be repeated."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
InputFile = Annotated[
    str, typer.Option("--input", "-i", metavar="FILE", help="The inputs, a .h5, .npz or .pt file.")
]
OutputFile = Annotated[
    Path, typer.Option("--output", "-o", metavar="FILE", help="A new .h5 or .npz file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps ..."),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", metavar="NAME", help="fp32, mixed, bf16, fp16, fp64, ..."),
]
CoordinatesOption = Annotated[
    str | None,
    typer.Option(
        "--coordinates",
        metavar="WORD",
        help="If those of a file are not those of the domain: check, warn or ignore.",
    ),
]


def parse_box(text: str) -> tuple[tuple[float, float], ...]:
    """Parse `--box 0..1,-0.5..2`, the ends of each axis.

    Raises:
        UsageError: it is no such text.
    """
    try:
        ends = tuple(tuple(map(float, x.split(".."))) for x in text.split(","))
    except ValueError:
        ends = ()
    box = tuple((x[0], x[1]) for x in ends if len(x) == 2 and x[0] < x[1])
    if len(box) != len(ends) or not ends:
        raise UsageError(f"--box {text}: expected the ends of each axis, as 0..1,0..1,-0.5..2")
    return box
