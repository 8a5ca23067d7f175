"""Checks of the events of a YAML text before any object is built from it.

Aliases expand a small file to a large object, deep nesting makes a short file slow to read, and
PyYAML takes seconds for a megabyte.
"""

from __future__ import annotations

from typing import Any

LARGEST = 1 << 16  # characters of one file
DEEPEST = 16  # collections inside each other


class TrapError(ValueError):
    """A YAML text uses an alias or is too deeply nested.

    Attributes:
        message: the construct that is refused.
        event: the event of PyYAML, whose marks say where it is.
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
