"""The settings that a program gives in its train block.

This is apart from `programs`, which also reads settings files and `--set`: `opdsl check` does not.
"""

from __future__ import annotations

from opdsl.compiler import Checked, train_settings
from opdsl.diagnostics import Span
from opdsl.train.sections import Settings
from opdsl.train.settings import Assignment


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
