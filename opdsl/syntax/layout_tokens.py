"""The tokens of a program, with the facts that the printer needs.

These are, for each token of a text without syntax errors: the comments before it, whether a space
may stand before it, and the index of the matching bracket.
"""

from __future__ import annotations

from itertools import pairwise

from opdsl.diagnostics import Span
from opdsl.syntax.scan import Piece, pieces
from opdsl.syntax.words import CLOSING, KEYWORDS, OPENING

CONSTANTS = ("true", "false", "_")
TIGHT = (".", "..", "^")  # no space on either side


class Words:
    """The words of a text, in lists with one entry for each.

    Attributes:
        comments: the comments before each word.
        tail: the comments after the last word.
        spaces: whether a space stands before the word when it is not first on its line.
        partner: the index of the matching bracket; -1 for a word that is no bracket.
        gaps: the offsets of pieces with a blank line before them.
    """

    def __init__(self, text: str) -> None:
        self.pieces: list[Piece] = []
        self.comments: list[list[Piece]] = []
        self.tail: list[Piece] = []
        for x in pieces(text):
            if x.kind == "comment":
                self.tail.append(x)
            else:
                self.pieces.append(x)
                self.comments.append(self.tail)
                self.tail = []
        self.texts = [x.text for x in self.pieces]
        self.gaps = _gaps(text)
        self.partner = _partners(self.texts)
        self.unary = [self._is_unary(i) for i in range(len(self.texts))]
        self.spaces = [self._is_spaced(i) for i in range(len(self.texts))]
        self._starts = {x.start: i for i, x in enumerate(self.pieces)}
        self._ends = {x.end: i + 1 for i, x in enumerate(self.pieces)}

    def range(self, span: Span) -> tuple[int, int]:
        """Return the first word of a span, and the one after its last."""
        return self._starts[span.start], self._ends[span.end]

    def pipes(self, first: int, end: int) -> list[int]:
        """List the `|>` among some words that stand in no bracket."""
        return [i for i in self._level(first, end) if self.texts[i] == "|>"]

    def parts(self, opening: int, close: int) -> list[tuple[int, int]]:
        """Split the words between two brackets after each comma."""
        cuts = [i + 1 for i in self._level(opening + 1, close) if self.texts[i] == ","]
        edges = [opening + 1, *cuts, close]
        return [(a, b) for a, b in pairwise(edges) if a < b]

    def _level(self, first: int, end: int) -> list[int]:
        """List the words that stand in no bracket, opening brackets included."""
        offsets, at = [], first
        while at < end:
            offsets.append(at)
            at = self.partner[at] + 1 if at < self.partner[at] < end else at + 1
        return offsets

    def width(self, first: int, end: int) -> int:
        """Return the width of some words on one line, in columns."""
        texts = sum(len(x.split("\n", 1)[0]) for x in self.texts[first:end])
        return texts + sum(self.spaces[first + 1 : end])

    def broken(self, first: int, end: int) -> bool:
        """Return whether comments, or steps on lines of their own, force a break among words."""
        if any(self.comments[i] for i in range(first + 1, end)):
            return True
        for i in range(first, end - 1):
            after = self.pieces[i + 1].first
            if self.texts[i] == "|>" and (after or (i > first and self.pieces[i].first)):
                return True
            if after and self.is_body(i) and self.partner[i] < end:
                return True
        return False

    def is_body(self, at: int) -> bool:
        """Return whether the word is a `{` around statements or steps, not around names."""
        return self.texts[at] == "{" and self.texts[at - 1] != "^"

    def _is_unary(self, at: int) -> bool:
        if self.texts[at] not in ("+", "-"):
            return False
        before = self.pieces[at - 1]
        if before.kind == "name":
            return before.text in KEYWORDS and before.text not in CONSTANTS
        return before.kind == "sign" and before.text not in (*CLOSING, "_")

    def _is_spaced(self, at: int) -> bool:
        if at == 0 or self.unary[at - 1]:
            return False
        before, text = self.texts[at - 1], self.texts[at]
        if text == "}":
            return self.is_body(self.partner[at])
        if before == "{":
            return self.is_body(at - 1)
        if text in (*TIGHT, ",", ")", "]") or before in (*TIGHT, "(", "["):
            return False
        if text == ":":
            return not self._in_arguments(at)
        return not (text in ("(", "[") and self._is_value(at - 1))

    def _is_value(self, at: int) -> bool:
        """Return whether a value ends at the word: a bracket after it is a call or an index."""
        piece = self.pieces[at]
        if piece.kind == "name":
            return piece.text not in KEYWORDS or piece.text in CONSTANTS
        return piece.kind in ("number", "text") or piece.text in (")", "]", "_")

    def _in_arguments(self, at: int) -> bool:
        """Return whether the innermost bracket around a word is `(`."""
        while at > 0:
            at -= 1
            if self.texts[at] in CLOSING and self.partner[at] >= 0:
                at = self.partner[at]
            elif self.texts[at] in OPENING:
                return self.texts[at] == "("
        return False


def _gaps(text: str) -> set[int]:
    """Return the offsets of pieces with a blank line before them."""
    offsets, last = set(), 0
    for x in pieces(text):
        if text.count("\n", last, x.start) > 1:
            offsets.add(x.start)
        last = x.end
    return offsets


def _partners(texts: list[str]) -> list[int]:
    partner = [-1] * len(texts)
    stack: list[int] = []
    for i, x in enumerate(texts):
        if x in OPENING:
            stack.append(i)
        elif x in CLOSING:
            partner[i] = stack.pop()
            partner[partner[i]] = i
    return partner
