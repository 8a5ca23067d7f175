"""A program's text, and the settings that it gives itself.

These are apart from `programs`, which also reads settings files and the command line: `opdsl check`
needs no more than this.
"""

from __future__ import annotations

import sys
from pathlib import Path

from opdsl.compiler import Checked, read, train_settings
from opdsl.diagnostics import Source, Span
from opdsl.train.sections import Settings
from opdsl.train.settings import Assignment

STDIN = "-"


def open_source(path: str) -> tuple[Source, Path]:
    """The text of a file, or of stdin for `-`, and its folder.

    Raises:
        OpError: OP0202.
    """
    if path == STDIN:
        return Source("<stdin>", sys.stdin.buffer.read().decode("utf-8-sig", "replace")), Path()
    source, folder = read(Path(path))
    return source, folder or Path()


def from_train_block(checked: Checked) -> list[Assignment]:
    """The settings of the model's train block, each with its place."""
    return [
        Assignment(
            x.path,
            x.value,
            f"train block {x.key.source.name}:{x.key.line}",
            x.span,
            to_blame(x.path, x.keys),
        )
        for x in train_settings(checked)
    ]


def to_blame(path: tuple[str, ...], keys: tuple[Span, ...]) -> Span:
    """The key that an error about the path points to: the section, if there is none such."""
    return keys[-1 if path[0] in Settings.model_fields else 0]
