"""Comments that set the level of warnings.

    u = a |> conv(out = 4)  # op: allow(not-convergent), the stencil is meant

A comment after code is for the call or name on its line. One on a line of its own is for the
statement or definition that begins on the next line, and one above all imports and definitions for
the whole file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from opdsl.diagnostics import CODES, Diagnostic, Help, Label, Source, Span, did_you_mean
from opdsl.diagnostics.codes import LEVELS, Level
from opdsl.records import record, value
from opdsl.syntax.regions import Region, regions
from opdsl.syntax.scan import Piece, pieces

MARK = re.compile(r"#\s*op:")
FORM = re.compile(r"#\s*op:\s*(?P<level>\w+)\s*\((?P<names>[^()]*)\)")
NAME = re.compile(r"[^\s,]+")
LINTS = {x.slug: k for k, x in CODES.items() if x.level}
FORMS = "`# op: allow(unused-node)`, or `warn` or `deny` instead of `allow`"


@value
class Instruction:
    """A level for the warnings of one code that begin on the lines `first` to `last`.

    Attributes:
        last: None for the end of the file.
        trailing: whether code stands before the comment, so that it is also for what ends there.
        span: the name in the comment.
    """

    level: Level
    code: str
    first: int
    last: int | None
    trailing: bool
    span: Span

    @property
    def extent(self) -> float:
        """The length of the range in lines; of two instructions the one with fewer lines holds."""
        return float("inf") if self.last is None else self.last - self.first

    def covers(self, first: int, last: int) -> bool:
        """Return whether the instruction applies to what stands on the lines `first` to `last`."""
        if self.last is None or (self.trailing and last == self.first):
            return True
        return self.first <= first <= self.last

    def lines(self) -> str:
        """Describe the lines: `in this file`, `on line 8`, `on the lines 8 to 12`."""
        if self.last is None:
            return "in this file"
        single = self.first == self.last
        return f"on line {self.first}" if single else f"on the lines {self.first} to {self.last}"


def code_of(word: str) -> str | None:
    """Return the code of a warning, given its slug or number; None if there is none."""
    code = LINTS.get(word, word.upper())
    return code if code in LINTS.values() else None


@lru_cache(maxsize=64)
def instructions(source: Source) -> tuple[Instruction, ...]:
    """Return the instructions of a text, in order."""
    return tuple(
        Instruction(x.level, code, *x.lines, x.trailing, span)
        for x in _comments(source)
        if x.level is not None
        for name, span in x.names
        if (code := code_of(name)) is not None
    )


@lru_cache(maxsize=64)
def by_code(source: Source) -> dict[str, list[Instruction]]:
    """Group the instructions of a text by code, in order."""
    by_key: dict[str, list[Instruction]] = {}
    for x in instructions(source):
        by_key.setdefault(x.code, []).append(x)
    return by_key


def faults(source: Source) -> Iterator[Diagnostic]:
    """Report OP0410 for every comment or name that sets nothing."""
    for x in _comments(source):
        if not x.names:
            yield _fault("this comment names no warning", x.span, (f"write {FORMS}",))
        elif x.level is None:
            near = did_you_mean(x.word, LEVELS) or (f"write {FORMS}",)
            yield _fault(f"unknown level `{x.word}`", x.span, near)
        else:
            yield from (_unknown(n, span) for n, span in x.names if code_of(n) is None)


def _unknown(name: str, span: Span) -> Diagnostic:
    if name.upper() in CODES or name in {x.slug for x in CODES.values()}:
        helps = ("only warnings have levels; mend what it is about",)
        return _fault(f"`{name}` is an error, which always holds", span, helps)
    near = did_you_mean(name, list(LINTS)) or (f"warnings: {', '.join(LINTS)}",)
    return _fault(f"there is no warning `{name}`", span, near)


def _fault(message: str, span: Span, helps: tuple[str, ...]) -> Diagnostic:
    cures = tuple(Help(x) for x in helps)
    return Diagnostic("OP0410", message, (Label(span, "sets nothing"),), (), cures, "warning")


# ---------------------------------------------------------------------- the comments


@record
class _Comment:
    """A comment that begins with `# op:`.

    Attributes:
        word: the word in the place of the level.
        names: the names in its brackets; none where it has another form.
        lines: the first and the last line that it applies to.
        span: the level, or the whole comment where it has another form.
    """

    word: str
    names: tuple[tuple[str, Span], ...]
    lines: tuple[int, int | None]
    trailing: bool
    span: Span

    @property
    def level(self) -> Level | None:
        """The level that the comment sets, or None if there is no such level."""
        return next((x for x in LEVELS if x == self.word), None)


def _comments(source: Source) -> Iterator[_Comment]:
    if not MARK.search(source.text):
        return
    tokens = pieces(source.text)
    code = [x for x in tokens if x.kind != "comment"]
    # of regions that begin together the first one is the outermost
    by_key = {x.first: x for x in reversed(regions(code))}
    for piece in tokens:
        if piece.kind == "comment" and MARK.match(piece.text):
            yield _comment(source, piece, _lines(source, piece, code, by_key))


def _comment(source: Source, piece: Piece, lines: tuple[int, int | None]) -> _Comment:
    match = FORM.match(piece.text)
    if match is None:
        whole = source.span(piece.start, piece.start + len(piece.text.rstrip()))
        return _Comment("", (), lines, not piece.first, whole)
    start = piece.start + match.start("names")
    names = tuple(
        (x[0], source.span(start + x.start(), start + x.end()))
        for x in NAME.finditer(match["names"])
    )
    span = source.span(piece.start + match.start("level"), piece.start + match.end("level"))
    return _Comment(match["level"], names, lines, not piece.first, span)


def _lines(
    source: Source, comment: Piece, code: Sequence[Piece], by_key: Mapping[int, Region]
) -> tuple[int, int | None]:
    """Return the first and the last line that a comment applies to."""
    if not comment.first:
        line = _line(source, comment.start)
        return line, line
    after = bisect_right(code, comment.start, key=lambda x: x.start)
    if after == len(code) or after <= _edition(code):
        return 1, None
    region = by_key.get(after)
    last = code[after].start if region is None else code[region.whole - 1].start
    return _line(source, code[after].start), _line(source, last)


def _edition(code: Sequence[Piece]) -> int:
    """Count the pieces of `edition YEAR` at the beginning, before all imports and definitions."""
    return 2 if code and code[0].text == "edition" else 0


def _line(source: Source, offset: int) -> int:
    return source.text.count("\n", 0, offset) + 1
