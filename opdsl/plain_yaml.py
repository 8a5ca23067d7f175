"""YAML that is plain data: looked through before anything is built of it.

Aliases make a small file large, deep nesting makes a short one slow, and the reader takes seconds
for a megabyte.
"""

from __future__ import annotations

from typing import Any

LARGEST = 1 << 16  # characters of one file
DEEPEST = 16  # collections inside each other


class TrapError(ValueError):
    """What plain data do not have.

    Attributes:
        message: what it is.
        event: where, with the marks of PyYAML.
    """

    def __init__(self, message: str, event: Any) -> None:
        super().__init__(message)
        self.message, self.event = message, event


def refuse_traps(text: str) -> None:
    """Refuse aliases and deep nesting.

    Raises:
        TrapError: with the first of them.
        yaml.YAMLError: it is no YAML.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise TrapError("it has aliases", event)
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise TrapError(f"it is nested {depth} levels deep", event)
