"""The surroundings of the place where the parser stopped.

An `ErrorContext` holds the piece that is not accepted, what would have been accepted, and the
statements around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from opdsl.diagnostics import Source, Span
from opdsl.syntax.lalr import Refused
from opdsl.syntax.regions import Region, is_binding, regions
from opdsl.syntax.scan import Piece, pieces
from opdsl.syntax.words import CLOSING, ITEMS, OPENING, STATEMENTS

# tokens that may follow a complete value
FOLLOWERS = frozenset({"ADD", "MUL", "CMP", "AND", "OR", "RANGE", "DOT", "LPAR", "LSQB"})


@dataclass(frozen=True)
class ErrorContext:
    """A syntax error in its surroundings: the grammar does not accept piece number `at`."""

    source: Source
    text: str
    pieces: list[Piece]
    at: int
    accepts: frozenset[str]
    regions: list[Region] = field(repr=False)

    @property
    def piece(self) -> Piece:
        """The piece that is not accepted."""
        return self.pieces[self.at]

    @property
    def previous(self) -> Piece | None:
        """The piece before the one that is not accepted."""
        return self.pieces[self.at - 1] if self.at else None

    @property
    def next(self) -> Piece | None:
        """The piece after the one that is not accepted."""
        return self.pieces[self.at + 1] if self.at + 1 < len(self.pieces) else None

    @cached_property
    def number(self) -> int:
        """The index of the region that contains the piece."""
        return next((i for i, x in enumerate(self.regions) if x.first <= self.at < x.end), 0)

    @property
    def region(self) -> Region:
        """The region that contains the piece."""
        return self.regions[self.number]

    @property
    def complete(self) -> bool:
        """Whether a statement or an item may end before the piece."""
        train = "RBRACE" in self.accepts and self.accepts <= {"RBRACE", "NAME"} | FOLLOWERS
        return "$END" in self.accepts or "INPUT" in self.accepts or train

    @property
    def outside(self) -> bool:
        """Whether the piece stands outside all blocks."""
        return bool({"MODEL", "$END"} & self.accepts)

    @property
    def level_unclosed(self) -> bool:
        """Whether an item begins while the block before it is still open."""
        begins = self.region.level in ("item", "head") and self.at == self.region.first
        return begins and self.piece.text in ITEMS and "RBRACE" in self.accepts and self.complete

    @cached_property
    def culprit(self) -> int:
        """The index of the region to blame: an earlier one if it is unfinished."""
        bracket = self.never_closed
        if bracket is not None and self.regions[bracket].level in ("statement", "item"):
            return bracket
        return self.number - 1 if self._begins_well else self.number

    @property
    def _begins_well(self) -> bool:
        """Whether a good statement begins here and the one before it is incomplete."""
        first = self.region.first
        if self.number == 0 or self.at < first:
            return False
        if self.at == first:
            return not self.complete
        return is_binding(self.pieces, first) and self.at <= _binding_sign(self.pieces, first)

    @property
    def unfinished(self) -> bool:
        """Whether an earlier statement is to blame."""
        return self.culprit < self.number

    @cached_property
    def never_closed(self) -> int | None:
        """The index of an earlier region with a `(` or `[` that is never closed, or None."""
        starts = [i for i in _unclosed(self.pieces) if i < self.region.first]
        place = starts[-1] if starts else None
        tokens = (i for i, x in enumerate(self.regions) if place is not None and place < x.end)
        return next(tokens, None)

    def starts(self, at: int) -> bool:
        """Return whether a statement begins at a piece."""
        return self.pieces[at].text in STATEMENTS or is_binding(self.pieces, at)

    @property
    def last(self) -> Piece:
        """The last piece of the statement to blame."""
        end = self.region.first if self.unfinished else self.at
        return self.pieces[end - 1]

    def open(self, until: int) -> list[Piece]:
        """List the brackets that are open before a piece, outermost first."""
        stack: list[Piece] = []
        for x in self.pieces[:until]:
            if x.kind == "sign" and x.text in OPENING:
                stack.append(x)
            elif x.kind == "sign" and x.text in CLOSING and stack:
                stack.pop()
        return stack

    def span(self, piece: Piece) -> Span:
        """Return the span of a piece."""
        return self.source.span(piece.start, piece.end)


def context_of(source: Source, text: str, error: Refused) -> ErrorContext:
    """Build the context of an error; at the end of the file, `at` is one past the last piece."""
    tokens = [x for x in pieces(text) if x.kind != "comment"]
    place = len(text) if error.at is None else error.at
    at = next((i for i, x in enumerate(tokens) if x.end > place), len(tokens))
    return ErrorContext(source, text, tokens, at, error.accepts, regions(tokens))


def _unclosed(tokens: list[Piece]) -> list[int]:
    """List the indices of the `(` and `[` that have no partner."""
    stack: list[int] = []
    lost: list[int] = []
    for i, x in enumerate(tokens):
        if x.kind != "sign":
            continue
        if x.text in OPENING:
            stack.append(i)
        elif x.text in CLOSING and any(tokens[j].text == CLOSING[x.text] for j in stack):
            while tokens[j := stack.pop()].text != CLOSING[x.text]:
                lost.append(j)
    return sorted(i for i in lost + stack if tokens[i].text != "{")


def _binding_sign(tokens: list[Piece], at: int) -> int:
    """Return the index of the sign in `name, name =`."""
    return next(i for i in range(at, len(tokens)) if tokens[i].text in ("=", ":"))
