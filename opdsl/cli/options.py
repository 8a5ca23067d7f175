"""Arguments and options that several commands share, with one wording."""

from typing import Annotated

import typer

from opdsl.cli import completion

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
