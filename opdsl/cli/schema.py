"""`opdsl schema`: JSON schemas of what the commands read and write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from opdsl.cli.console import show_json


class SchemaKind(StrEnum):
    """A kind of schema."""

    IR = "ir"
    TRAIN = "train"
    BLOCKS = "blocks"


def command(
    kind: Annotated[
        SchemaKind, typer.Argument(metavar="KIND", help="ir, train or blocks.", show_default=False)
    ] = SchemaKind.IR,
) -> None:
    """Print a JSON schema.

    Of graphs as `opdsl ir` writes them, of the settings of a run, or of the parameters of every
    block.

    Example: opdsl schema train
    """
    from opdsl.workflow.texts import json_schema

    show_json(json_schema(kind.value))
