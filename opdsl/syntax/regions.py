"""Regions: the split of a text into statements, also where the text is wrong.

Regions cover all pieces of a text without its comments; each is a statement or the head of a
definition. The grammar needs no line ends, but people write them, so a statement begins at a line
that looks like one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from opdsl.records import value
from opdsl.syntax.scan import Piece
from opdsl.syntax.words import CLOSING, ITEMS, KEYWORDS, OPENING, STATEMENTS

DEFINITIONS = ("block", "model", "train")

RegionLevel = Literal["item", "head", "statement", "close", "stray"]


@value
class Region:
    """Pieces `first` to `end` (excluded); `whole` is where the definition that it opens ends."""

    level: RegionLevel
    first: int
    end: int
    whole: int


def regions(pieces: Sequence[Piece]) -> list[Region]:
    """Split a text into its regions, in order."""
    output: list[Region] = []
    at = 0
    while at < len(pieces):
        at = _item(pieces, at, output)
    return output


def is_binding(pieces: Sequence[Piece], at: int) -> bool:
    """Return whether `name =`, `name :` or `name, name =` begins at piece `at`."""
    while _is_name(pieces, at) and _text(pieces, at + 1) == ",":
        at += 2
    return _is_name(pieces, at) and _text(pieces, at + 1) in ("=", ":")


def _item(pieces: Sequence[Piece], at: int, output: list[Region]) -> int:
    """Append the regions of one item, and return where the next item begins."""
    if pieces[at].text == "}":
        output.append(Region("stray", at, at + 1, at + 1))
        return at + 1
    brace = _opening(pieces, at)
    if brace is None:
        end = _statement_end(pieces, at)
        output.append(Region("item", at, end, end))
        return end
    body: list[Region] = []
    end = _body(pieces, brace + 1, body)
    output.append(Region("head", at, brace + 1, end))
    output.extend(body)
    return end


def _opening(pieces: Sequence[Piece], at: int) -> int | None:
    """Return the `{` that opens the body of a definition that begins at `at`, or None."""
    if pieces[at].text not in DEFINITIONS or is_binding(pieces, at):
        return None
    for i in range(at + 1, len(pieces)):
        if pieces[i].text == "{":
            return i
        if pieces[i].first and pieces[i].kind == "name":
            return None
    return None


def _body(pieces: Sequence[Piece], at: int, output: list[Region]) -> int:
    """Append the statements of a body and its `}`, and return where the text goes on."""
    while at < len(pieces) and not _begins_item(pieces, at):
        if pieces[at].text == "}":
            output.append(Region("close", at, at + 1, at + 1))
            return at + 1
        end = _statement_end(pieces, at)
        output.append(Region("statement", at, end, end))
        at = end
    return at


def _statement_end(pieces: Sequence[Piece], first: int) -> int:
    indent = pieces[first].indent
    stack: list[str] = []
    for i in range(first, len(pieces)):
        piece = pieces[i]
        if i > first and piece.first and _begins(pieces, i, indent, inside=bool(stack)):
            return i
        if piece.text in OPENING:
            stack.append(piece.text)
        elif piece.text in CLOSING and piece.kind == "sign":
            if piece.text == "}" and i > first and "{" not in stack:
                return i
            _close(stack, piece.text)
    return len(pieces)


def _close(stack: list[str], sign: str) -> None:
    """Pop the partner of a closing sign from the stack, with all that was left open inside it."""
    if CLOSING[sign] in stack:
        while stack.pop() != CLOSING[sign]:
            pass


def _begins(pieces: Sequence[Piece], at: int, indent: int, *, inside: bool) -> bool:
    """Return whether a statement, or the end of the body, is at `at`, the first piece of a line."""
    piece = pieces[at]
    if piece.text == "}":
        return piece.indent < indent
    if piece.text in STATEMENTS or _begins_item(pieces, at):
        return True
    back = piece.indent <= indent
    if is_binding(pieces, at):
        return back or not inside
    return back and not inside and piece.kind == "name" and not _continues(piece)


def _continues(piece: Piece) -> bool:
    return piece.text in KEYWORDS and piece.text != "if"


def _begins_item(pieces: Sequence[Piece], at: int) -> bool:
    return pieces[at].first and pieces[at].text in ITEMS and not is_binding(pieces, at)


def _is_name(pieces: Sequence[Piece], at: int) -> bool:
    """Return whether piece `at` is a name or reserved word: `model = 3` is meant as a binding."""
    return at < len(pieces) and pieces[at].kind == "name"


def _text(pieces: Sequence[Piece], at: int) -> str:
    return pieces[at].text if at < len(pieces) else ""
