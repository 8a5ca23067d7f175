"""The parsing machine: from `grammar/op.lark` to lark's tables, kept in the user's cache folder.

What leaves is a lark parser; lark's own types do not leave `opdsl.syntax`. A cold start builds the
tables (0.3 s); a warm one reads them. The cache is only a convenience: whatever is wrong with its
folder, the parser is built from the text.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from opdsl import resources
from opdsl.files import only_ours

if TYPE_CHECKING:
    from lark import Lark


@cache
def machine() -> Lark:
    """The parser of a program (`start`) and of one value (`pipe`)."""
    text = (resources.root("grammar") / "op.lark").read_text(encoding="utf-8")
    file = _cache_file(text)
    return _stored(file) or _built(text, file)


def _built(text: str, file: Path | None) -> Lark:
    from lark import Lark

    made = Lark(
        text,
        parser="lalr",
        lexer="basic",
        strict=True,
        keep_all_tokens=True,  # the first and the last token of a node are its span
        maybe_placeholders=False,
        start=["start", "pipe"],
    )
    if file is not None:
        _store(made, file)
    return made


def _cache_file(text: str) -> Path | None:
    """The place of the tables, named by everything that they depend on."""
    import lark

    key = f"{text}\0{lark.__version__}\0{sys.version}".encode()
    folder = os.environ.get("XDG_CACHE_HOME", "")
    try:
        base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # no home
        return None
    return base / "opdsl" / f"grammar-{hashlib.sha256(key).hexdigest()[:24]}.tables"


def _stored(file: Path | None) -> Lark | None:
    """The tables of an earlier run, or None; only a file that nobody else can write is read."""
    from lark import Lark

    try:
        if file is None or not only_ours(file) or not only_ours(file.parent):
            return None
        with file.open("rb") as stream:
            return Lark.load(stream)
    except Exception:  # noqa: BLE001  a damaged cache may raise anything, and is built anew
        return None


def _store(made: Lark, file: Path) -> None:
    """Write the tables whole or not at all, readable by their owner only."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".tables-")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            made.save(stream)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
