"""The choice of the statement that is blanked for a mistake, and of the names lost with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from opdsl.diagnostics import Diagnostic
from opdsl.syntax.error_context import ErrorContext
from opdsl.syntax.regions import DEFINITIONS, regions
from opdsl.syntax.scan import Piece, pieces
from opdsl.syntax.words import ITEMS, KEYWORDS, STATEMENTS


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake, the text to parse next, and the names that text no longer declares.

    That the text ends too early (`at_end`) is reported once, since the cure decides what follows.
    """

    diagnostic: Diagnostic
    text: str
    lost: tuple[str, ...] = ()
    at_end: bool = False


def refused(text: str, diagnostic: Diagnostic) -> Finding:
    """Build the finding for a text that the grammar accepts and the tree builder refuses."""
    tokens = [x for x in pieces(text) if x.kind != "comment"]
    start = diagnostic.labels[0].span.start
    at = next(i for i, x in enumerate(tokens) if x.end > start)
    region = next(x for x in regions(tokens) if x.first <= at < x.end)
    return blank(text, tokens, (region.first, region.whole), diagnostic)


def extent(context: ErrorContext) -> tuple[int, int]:
    """Return the pieces to blank: the statement to blame, or a whole definition with its head."""
    outside = context.outside and not context.unfinished and context.region.level != "stray"
    if outside and context.piece.text not in ITEMS:
        return context.region.first, _next_item(context)
    region = context.regions[context.culprit]
    if region.level == "close":
        region = context.region
    return region.first, region.whole


def _next_item(context: ErrorContext) -> int:
    """Return where the next item begins, after statements that stand outside all blocks."""
    rest = context.regions[context.number + 1 :]
    stray = context.starts(context.at)
    for x in rest:
        if context.pieces[x.first].text in ITEMS or not (stray or x.level == "stray"):
            return x.first
    return len(context.pieces)


def blank(
    text: str, tokens: list[Piece], extent: tuple[int, int], diagnostic: Diagnostic
) -> Finding:
    """Build the finding whose text has blanks for some pieces; offsets and lines stay."""
    first, end = extent
    start, stop = tokens[first].start, tokens[end - 1].end
    blank = re.sub(r"[^\n]", " ", text[start:stop])
    lost = declared(tokens[first:end])
    return Finding(diagnostic, text[:start] + blank + text[stop:], lost)


def declared(tokens: list[Piece]) -> tuple[str, ...]:
    """List the names that some pieces declare, as far as they can be recognised."""
    if tokens[0].text in DEFINITIONS:
        return tuple(x.text for x in tokens[1:2] if is_name(x))
    if tokens[0].text in ("from", "import"):
        return tuple(x.text for x in tokens if is_name(x))
    pairs = list(pairwise(tokens))
    names = [b.text for a, b in pairs if a.text in (*STATEMENTS, "const")]
    names += [a.text for a, b in pairs if b.text in ("=", ":")]
    for x in tokens:
        if x.text in ("=", ":"):
            break
        names.append(x.text)
    return tuple(dict.fromkeys(x for x in names if x.isidentifier() and x not in KEYWORDS))


def is_name(piece: Piece) -> bool:
    """Return whether the piece is a word that is not reserved."""
    return piece.kind == "name" and piece.text not in KEYWORDS
