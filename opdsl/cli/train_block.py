"""The settings that a program gives in its train block.

This is apart from `programs`, which also reads settings files and `--set`: `opdsl check` does not.
"""

from __future__ import annotations

from opdsl.compiler import Checked, train_settings
from opdsl.train.config.settings import Assignment
from opdsl.workflow.overrides import to_blame


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
