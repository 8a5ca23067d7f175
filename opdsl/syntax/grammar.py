"""The parser of the language, from the tables in `grammar/op.tables.json`.

The tables name the `grammar/op.lark` that they come from by its hash. If it is another one, as
after an edit of the grammar, lark generates the tables anew (0.3 s in each process).
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from opdsl import resources
from opdsl.syntax.lalr import Parser

GRAMMAR = "op.lark"
TABLES = "op.tables.json"


@cache
def machine() -> Parser:
    """Build the parser of programs (start rule `start`) and of single values (`pipe`)."""
    return Parser(tables(resources.root("grammar")))


def tables(folder: Path) -> dict[str, Any]:
    """Load the tables of the grammar in a folder; `opdsl.syntax.tables` describes their form."""
    grammar = (folder / GRAMMAR).read_text(encoding="utf-8")
    stored = _stored(folder / TABLES)
    if stored.get("grammar") == digest(grammar):
        return stored
    from opdsl.syntax.tables import build

    return build(grammar)


def _stored(file: Path) -> dict[str, Any]:
    try:
        tables: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the file is missing, or half written
        return {}
    return tables


def digest(grammar: str) -> str:
    """Return the hash by which the file of the tables identifies its grammar."""
    return hashlib.sha256(grammar.encode()).hexdigest()
