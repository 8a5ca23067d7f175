"""`opdsl schema`: JSON schemas of what the commands read and write."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from opdsl.cli.console import show_json

TRAIN_FORMAT = 1  # of the settings: an old file that is read in another way is a new format


class Kind(StrEnum):
    """Of what."""

    IR = "ir"
    TRAIN = "train"
    BLOCKS = "blocks"


def command(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="ir, train or blocks.", show_default=False)
    ] = Kind.IR,
) -> None:
    """Print a JSON schema.

    Of graphs as `opdsl ir` writes them, of the settings of a run, or of the parameters of every
    block.

    Example: opdsl schema train
    """
    show_json(_schema(kind))


def _schema(kind: Kind) -> dict[str, Any]:
    from opdsl.export import blocks_schema, ir_schema
    from opdsl.export.schema import with_heading

    match kind:
        case Kind.IR:
            return ir_schema()
        case Kind.BLOCKS:
            return blocks_schema()
        case Kind.TRAIN:
            from opdsl.train.config.schema import Settings

            return with_heading("train", TRAIN_FORMAT, Settings.model_json_schema())
