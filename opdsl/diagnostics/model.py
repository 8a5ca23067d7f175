"""Diagnostics as data: where a mistake of the user is, what is wrong, and what to do about it.

The text with carets (`carets.py`) and the JSON (`Diagnostic.to_json`) are two forms of this.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import field
from functools import lru_cache
from typing import Any, Literal

from opdsl.diagnostics.codes import CODES, Level
from opdsl.records import value

Severity = Literal["error", "warning"]
Applicability = Literal["safe", "unsafe", "hint"]


@value
class Source:
    """A text and the name under which the user knows it (a path, `<text>`, `<--set>`).

    `library` marks a text of ours, which is never to blame.
    """

    name: str
    text: str = field(repr=False)
    library: bool = False

    def span(self, start: int, end: int) -> Span:
        """Return the span from `start` (included) to `end` (excluded), clipped to the text."""
        size = len(self.text)
        start = max(0, min(start, size))
        return Span(self, start, max(start, min(end, size)))


@value
class Span:
    """Characters `start` to `end` (excluded) of a source; lines and columns count from 1."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """Line of the first character, from 1."""
        return bisect_left(_line_ends(self.source), self.start) + 1

    @property
    def column(self) -> int:
        """Column of the first character, from 1."""
        return self.start - self.source.text.rfind("\n", 0, self.start)

    @property
    def end_line(self) -> int:
        """Line of the last character, from 1."""
        return bisect_left(_line_ends(self.source), max(self.start, self.end - 1)) + 1

    @property
    def end_column(self) -> int:
        """Column after the last character, from 1."""
        last = max(self.start, self.end - 1)
        return last - self.source.text.rfind("\n", 0, last) + (1 if self.end > self.start else 0)

    @property
    def text(self) -> str:
        """The characters of the span."""
        return self.source.text[self.start : self.end]

    def cover(self, other: Span) -> Span:
        """Return the smallest span that contains both spans of one source."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))

    def place(self) -> str:
        """Write the place of the span as `file:line:column`."""
        return f"{self.source.name}:{self.line}:{self.column}"

    def to_json(self) -> dict[str, int]:
        """Return offsets, lines and columns."""
        return {
            "start": self.start,
            "end": self.end,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
        }


@lru_cache(maxsize=8)
def _line_ends(source: Source) -> list[int]:
    """List the offsets of the line ends of a text; cached, since many spans point into one."""
    return [i for i, sign in enumerate(source.text) if sign == "\n"]


@value
class Label:
    """A span and its text; the first label of a diagnostic is the primary."""

    span: Span
    text: str = ""


@value
class Help:
    """A cure; with `span` and `replacement` it is an edit that a tool can apply."""

    text: str
    span: Span | None = None
    replacement: str | None = None
    applicability: Applicability = "hint"

    def to_json(self) -> dict[str, Any]:
        """Return the text, and the edit if there is one."""
        if self.span is None or self.replacement is None:
            return {"text": self.text}
        return {
            "text": self.text,
            "span": self.span.to_json(),
            "replacement": self.replacement,
            "applicability": self.applicability,
        }


@value
class Diagnostic:
    """One root cause, said once.

    Attributes:
        code: `OP0309`; its page is grammar/diagnostics/OP0309.md.
        message: the problem, lower case, no full stop, never the cure.
        labels: where; the first is the primary. Empty when the mistake is not in a program.
        notes: why the rule exists.
        helps: what to do.
        file: what the diagnostic is about when there is no label (a data file, an input's name).
    """

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    helps: tuple[Help, ...] = ()
    severity: Severity = "error"
    file: str | None = None

    @property
    def primary(self) -> Label | None:
        """The label that is to blame, if the mistake has a place in a text."""
        return self.labels[0] if self.labels else None

    @property
    def where(self) -> str | None:
        """The file's name."""
        return self.labels[0].span.source.name if self.labels else self.file

    @property
    def level(self) -> Level | None:
        """`warn`, or `deny` for a warning raised to an error; an error as such has none."""
        if CODES[self.code].level is None:
            return None
        return "warn" if self.severity == "warning" else "deny"

    def to_json(self) -> dict[str, Any]:
        """Keys `code slug severity level message file span labels notes help`.

        Offsets are in characters; `level` is null for what is always an error.
        """
        return {
            "code": self.code,
            "slug": CODES[self.code].slug,
            "severity": self.severity,
            "level": self.level,
            "message": self.message,
            "file": self.where,
            "span": self.labels[0].span.to_json() if self.labels else None,
            "labels": [
                {"file": x.span.source.name, "span": x.span.to_json(), "text": x.text}
                for x in self.labels
            ],
            "notes": list(self.notes),
            "help": [x.to_json() for x in self.helps],
        }


class OpError(Exception):
    """One or more mistakes of the user, each a `Diagnostic`; `str()` is the text with carets."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        assert diagnostics, "an error says what is wrong"
        self.diagnostics = diagnostics
        super().__init__(diagnostics)

    def __reduce__(self) -> tuple[Any, ...]:
        # the arguments of `Exception` are not those of this class
        return OpError, self.diagnostics

    def __str__(self) -> str:
        from opdsl.diagnostics.carets import show

        return "\n" + "\n".join(show(x) for x in self.diagnostics)


def fault(
    code: str,
    message: str,
    *labels: Label,
    notes: tuple[str, ...] = (),
    helps: tuple[str | Help, ...] = (),
    file: str | None = None,
    severity: Severity = "error",
) -> OpError:
    """Build an `OpError` of one diagnostic, to be raised."""
    cures = tuple(Help(x) if isinstance(x, str) else x for x in helps)
    return OpError(Diagnostic(code, message, labels, notes, cures, severity, file))
