"""The one layout of a program, for `opdsl fmt` and for printing a tree.

The printer keeps all tokens in their order, comments included, and changes only the white space. It
looks at nothing but tokens, so a program that does not type-check is laid out as well.

A line has at most 88 columns where it can be broken. A chain that was on one line stays so if it
fits, else every step has a line; the body of a repeat or a residual likewise. Arguments stand on
lines of their own only if they must. A comment stays after the word that it follows, or above the
word that it precedes.
"""

from __future__ import annotations

from opdsl.diagnostics import OpError, Source
from opdsl.syntax import tree as t
from opdsl.syntax.layout_tokens import Words
from opdsl.syntax.parser import parse
from opdsl.syntax.scan import Piece
from opdsl.syntax.unparse import unparse

WIDTH = 88
STEP = 2
STAGE = len("|> ")

Body = tuple[t.Statement, ...] | tuple[t.Setting | t.SettingBlock, ...]


def format_text(text: str, name: str) -> str:
    """Lay out the text of a program.

    Args:
        text: the program.
        name: the name under which its errors are reported.

    Raises:
        OpError: the syntax errors of the text.
    """
    source = Source(name, text.removeprefix("\ufeff").replace("\r\n", "\n"))
    file, faults = parse(source)
    if faults:
        raise OpError(*faults)
    return _Layout(file).text()


def print_file(file: t.File) -> str:
    """Write the text of a tree; parsing it gives the tree again, with other spans."""
    return format_text(unparse(file), file.source.name)


class _Layout:
    """Writes the words of a file one by one, each after a space, a new line or nothing.

    Attributes:
        line: the line that is being written; a text of several lines may make it several lines.
        opened: the word for which `line` is ready, with its comments written.
    """

    def __init__(self, file: t.File) -> None:
        self.file = file
        self.words = Words(file.source.text)
        self.lines: list[str] = []
        self.line = ""
        self.opened = -1

    def text(self) -> str:
        """Lay out the whole file."""
        previous = None
        for node in [x for x in (self.file.edition, *self.file.items) if x]:
            first, end = self.words.range(node.span)
            self._begin(first, 0, apart=_apart(previous, node), top=previous is None)
            if isinstance(node, t.Definition | t.Train):
                self._braced(first, end, node.body, 0)
            else:
                self._sequence(first, end, 0)
            previous = node
        self._comments(self.words.tail, 0, top=previous is None)
        self.lines.append(self.line)
        return "".join(f"{x}\n" for x in self.lines)

    # ------------------------------------------------------------------ statements

    def _braced(self, first: int, end: int, body: Body, indent: int) -> None:
        """Write `keyword name { body }` with each statement on its line."""
        close = end - 1
        brace = self.words.partner[close]
        self._sequence(first, brace + 1, indent)
        if not body and not self.words.comments[close]:
            self._put(close, indent)
            return
        for i, x in enumerate(body):
            a, b = self.words.range(x.span)
            self._begin(a, indent + STEP, top=i == 0)
            if isinstance(x, t.SettingBlock) and not self._stays(a, b):
                self._braced(a, b, x.body, indent + STEP)
            else:
                self._sequence(a, b, indent + STEP)
        self._comments(self.words.comments[close], indent + STEP, top=not body)
        self._new_line(indent)
        self.line += "}"

    def _stays(self, first: int, end: int) -> bool:
        """Return whether a block of settings was on one line and fits there."""
        return self._fits(first, end) and not any(
            x.first for x in self.words.pieces[first + 1 : end]
        )

    def _begin(self, word: int, indent: int, *, apart: bool = False, top: bool = False) -> None:
        """Begin a line for a statement, with the comments and the blank line before it."""
        comments = self.words.comments[word]
        trailing = [x for x in comments if not x.first]
        self._comments(trailing, indent)
        leading = [*comments[len(trailing) :], self.words.pieces[word]]
        gaps = [x.start in self.words.gaps for x in leading]
        gaps[0] = not top and (gaps[0] or (apart and not any(gaps)))
        for x, gap in zip(leading, gaps, strict=True):
            if self.line or self.lines:
                self._new_line(indent, blank=gap)
            self.line += "" if x is leading[-1] else x.text.rstrip()
        self.opened = word

    def _comments(self, comments: list[Piece], indent: int, *, top: bool = False) -> None:
        """Write comments after the last word, or on lines of their own."""
        for x in comments:
            if x.first and (self.line or self.lines):
                self._new_line(indent, blank=x.start in self.words.gaps and not top)
            elif not x.first:
                self.line += "  "
            self.line += x.text.rstrip()
            top = False

    def _new_line(self, indent: int, *, blank: bool = False) -> None:
        self.lines.append(self.line.rstrip(" "))
        if blank:
            self.lines.append("")
        self.line = " " * indent

    # ----------------------------------------------------------------- expressions

    def _sequence(self, first: int, end: int, indent: int) -> None:
        """Write the words `first` to `end`, with or without `|>`, of a statement at `indent`."""
        pipes = self.words.pipes(first, end)
        if self._fits(first, end):
            self._flat(first, end, indent)
        elif not pipes:
            self._groups(first, end, indent)
        elif self._hugs(first, end):
            brace = self.words.partner[end - 1]
            self._flat(first, brace, indent)
            self._group(brace, end - 1, indent)
        else:
            self._sequence(first, pipes[0], indent)
            for a, b in zip(pipes, [*pipes[1:], end], strict=True):
                self._open(a, indent + STEP)
                self._put(a, indent)
                self._sequence(a + 1, b, indent + STEP + STAGE)

    def _hugs(self, first: int, end: int) -> bool:
        """Return whether a chain ends in a broken body and fits on one line up to it."""
        if self.words.texts[end - 1] != "}":
            return False
        brace = self.words.partner[end - 1]
        if not self.words.is_body(brace) or not self.words.pieces[brace + 1].first:
            return False
        return self._fits(first, brace + 1)

    def _flat(self, first: int, end: int, indent: int) -> None:
        for i in range(first, end):
            self._put(i, indent + STEP)

    def _groups(self, first: int, end: int, indent: int) -> None:
        """Write words without a chain, breaking brackets where the line would be too long."""
        at = first
        while at < end:
            close = self.words.partner[at]
            if not at < close < end:
                self._put(at, indent + STEP)
                at += 1
            elif self._fits(at, close + 1, self._tail(close + 1, end)):
                self._flat(at, close + 1, indent)
                at = close + 1
            else:
                self._group(at, close, indent)
                at = close + 1

    def _tail(self, first: int, end: int) -> int:
        """Return the width of the words up to and including the next opening bracket."""
        for i in range(first, end):
            if i < self.words.partner[i] < end:
                return self.words.width(first, i + 1) + self.words.spaces[first]
        return self.words.width(first, end) + (first < end and self.words.spaces[first])

    def _group(self, opening: int, close: int, indent: int) -> None:
        """Write a bracket, each of its parts on a line, and the closing bracket."""
        self._put(opening, indent + STEP)
        for a, b in self.words.parts(opening, close):
            self._open(a, indent + STEP)
            self._sequence(a, b, indent + STEP)
        self._open(close, indent, inside=indent + STEP)
        self._put(close, indent)

    def _open(self, word: int, indent: int, *, inside: int | None = None) -> None:
        """Begin a line for a word, below its comments, without blank lines."""
        for x in self.words.comments[word]:
            if x.first:
                self._new_line(indent if inside is None else inside)
            else:
                self.line += "  "
            self.line += x.text.rstrip()
        self._new_line(indent)
        self.opened = word

    def _put(self, word: int, indent: int) -> None:
        """Append a word, on a new line if comments come before it."""
        if self.opened != word:
            if self.words.comments[word]:
                self._open(word, indent)
            elif self.words.spaces[word]:
                self.line += " "
        self.line += self.words.texts[word]
        self.opened = -1

    def _fits(self, first: int, end: int, more: int = 0) -> bool:
        """Return whether words may and can follow on this line, with `more` columns after them."""
        if self.words.broken(first, end):
            return False
        column = len(self.line.rsplit("\n", 1)[-1])
        if self.opened != first:
            if self.words.comments[first]:
                return False
            column += self.words.spaces[first]
        return column + self.words.width(first, end) + more <= WIDTH


def _apart(previous: object, node: object) -> bool:
    """Return whether a blank line must separate two items; imports may stand together."""
    together = type(previous) is type(node) and not isinstance(node, t.Definition | t.Train)
    return previous is not None and not together
