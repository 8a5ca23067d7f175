"""A diagnostic as text: the lines of the program, with carets under what is wrong.

The text is plain ASCII but for quotations of the program; with `color` it has ANSI colours.
Characters that could steer a terminal are shown as signs. The layout is that of rustc: `-->` the
file, `:::` a second file, `...` lines left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from opdsl.diagnostics.model import Diagnostic, Label, Source, Span
from opdsl.diagnostics.terminal import cell

WIDEST = 200  # columns of a line when the terminal does not say

RED, YELLOW, BLUE, BOLD, END = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[1m", "\x1b[0m"


def show(diagnostic: Diagnostic, *, color: bool = False, width: int | None = None) -> str:
    """Format a diagnostic, without a final line end.

    Args:
        diagnostic: what to show.
        color: ANSI colours.
        width: columns of the terminal; longer lines of the program are cut around their labels.
    """
    paint = Paint(color, RED if diagnostic.severity == "error" else YELLOW)
    gutter = _gutter(diagnostic)
    lines = [_title(diagnostic, paint), *_snippets(diagnostic, gutter, width or WIDEST, paint)]
    if diagnostic.notes or diagnostic.helps:
        lines.append(paint.frame(f"{' ' * gutter} |"))
    for word, texts in (("note", diagnostic.notes), ("help", [x.text for x in diagnostic.helps])):
        lines += [_remark(word, clean(x), gutter, paint) for x in texts]
    return "\n".join(x.rstrip() for x in lines)


@dataclass(frozen=True, slots=True)
class Paint:
    """The colours of a report, or none."""

    on: bool
    main: str

    def __call__(self, text: str, style: str) -> str:
        """Return the text in a style."""
        return f"{style}{text}{END}" if self.on and text.strip() else text

    def frame(self, text: str) -> str:
        """Return the text in the colour of the gutter."""
        return self(text, BLUE)


def _title(diagnostic: Diagnostic, paint: Paint) -> str:
    head = paint(f"{diagnostic.severity}[{diagnostic.code}]", paint.main)
    return head + paint(f": {clean(diagnostic.message)}", BOLD)


def _gutter(diagnostic: Diagnostic) -> int:
    """Return the width of the largest line number; 2 where no line is shown."""
    return max((len(str(x.span.line)) for x in diagnostic.labels), default=2)


def _remark(word: str, text: str, gutter: int, paint: Paint) -> str:
    first, *rest = text.split("\n")
    indent = " " * (gutter + len(" = note: "))
    head = f"{' ' * gutter} {paint.frame('=')} {paint(word, BOLD)}: {first}"
    return "\n".join([head, *(indent + x for x in rest)])


# -------------------------------------------------------------------- lines of programs


def _snippets(diagnostic: Diagnostic, gutter: int, width: int, paint: Paint) -> list[str]:
    """Write for each file its name and its lines, the file of the primary label first."""
    if not diagnostic.labels:
        name = diagnostic.file
        return [] if name is None else [f"{' ' * gutter}{paint.frame('-->')} {clean(name)}"]
    lines: list[str] = []
    for source in dict.fromkeys(x.span.source for x in diagnostic.labels):
        labels = [x for x in diagnostic.labels if x.span.source is source]
        arrow = paint.frame(":::" if lines else "-->")
        lines.append(f"{' ' * gutter}{arrow} {clean(labels[0].span.place())}")
        lines.append(paint.frame(f"{' ' * gutter} |"))
        lines += _snippet(source, labels, diagnostic.labels[0], gutter, width, paint)
    return lines


def _snippet(
    source: Source, labels: Sequence[Label], primary: Label, gutter: int, width: int, paint: Paint
) -> Iterable[str]:
    """Yield the lines of one file that carry labels, and what lies between them."""
    texts = _lines(source)
    last = 0
    for number in sorted({x.span.line for x in labels}):
        if last and number == last + 2:
            text = Line(texts[last], width - gutter - 3, ()).shown
            yield f"{paint.frame(f'{last + 1:>{gutter}} |')} {text}"
        elif last and number > last + 2:
            yield paint.frame("...")
        last = number
        on_line = [x for x in labels if x.span.line == number]
        line = Line(texts[number - 1], width - gutter - 3, [_columns(x.span) for x in on_line])
        yield f"{paint.frame(f'{number:>{gutter}} |')} {line.shown}"
        marks = [Mark(*line.place(x), clean(x.text), x is primary) for x in on_line]
        empty = paint.frame(f"{' ' * gutter} |")
        yield from (f"{empty} {x}" for x in _marked(marks, paint))


@lru_cache(maxsize=8)
def _lines(source: Source) -> list[str]:
    """Split a text into lines; cached, since many diagnostics may point into one."""
    return source.text.split("\n")


def _columns(span: Span) -> tuple[int, int]:
    """Return the columns that a span covers on its first line, counted from 0."""
    first = span.column - 1
    return first, first + len(span.text.split("\n", 1)[0].rstrip("\r"))


class Line:
    """A line of a program as a terminal shows it, cut to a width around its labels."""

    def __init__(self, text: str, width: int, spans: Sequence[tuple[int, int]]) -> None:
        cells = [cell(x) for x in text.rstrip("\r")]
        edges = [0]
        for x in cells:
            edges.append(edges[-1] + _width(x))
        first = min((edges[min(a, len(cells))] for a, _ in spans), default=0)
        self.edges = edges
        self.shift = 0
        if edges[-1] <= width:
            self.shown = "".join(cells)
            return
        room = max(width, 20) - 6
        begin = 0 if first <= room // 2 else next(i for i, x in enumerate(edges) if x >= first - 8)
        end = next((i for i, x in enumerate(edges) if x > edges[begin] + room), len(edges)) - 1
        head, tail = "..." if begin else "", "..." if end < len(cells) else ""
        self.shift = edges[begin] - len(head)
        self.limit = edges[end] - self.shift
        self.shown = head + "".join(cells[begin:end]) + tail

    limit = 10**9

    def place(self, label: Label) -> tuple[int, int]:
        """Return the columns of a label on the screen, from 0, at least one wide."""
        first, end = (self._edge(x) for x in _columns(label.span))
        first = min(first, self.limit)
        return first, max(first + 1, min(end, self.limit))

    def _edge(self, column: int) -> int:
        return max(0, self.edges[min(column, len(self.edges) - 1)] - self.shift)


@dataclass(frozen=True, slots=True)
class Mark:
    """Columns `first` to `end` of a line, and the text of their label."""

    first: int
    end: int
    text: str
    primary: bool


def _marked(marks: Sequence[Mark], paint: Paint) -> list[str]:
    """Write the rows under a line: carets, then the texts, the rightmost next to its carets."""
    row = _underlines(marks)
    right = max(marks, key=lambda x: (x.first, x.end))
    hanging = [x for x in marks if x.text]
    if right.text and right.end >= max(x.end for x in marks):
        hanging.remove(right)
        inline = " " + paint(right.text, _style(right, paint))
    else:
        inline = ""
    rows = ["".join(paint(x, paint.main if x[0] == "^" else BLUE) for x in _runs(row)) + inline]
    hanging.sort(key=lambda x: x.first)
    while hanging:
        rows.append(_bars(hanging, paint))
        mark = hanging.pop()
        before = [x for x in hanging if x.first < mark.first]
        gap = mark.first - max((x.first + 1 for x in before), default=0)
        rows.append(_bars(before, paint) + " " * gap + paint(mark.text, _style(mark, paint)))
    return rows


def _underlines(marks: Sequence[Mark]) -> str:
    """Draw `^` under the primary label and `-` under the others, shorter ones on top."""
    row = [" "] * max(x.end for x in marks)
    for x in sorted(marks, key=lambda x: (x.first - x.end, x.primary)):
        row[x.first : x.end] = ("^" if x.primary else "-") * (x.end - x.first)
    return "".join(row)


def _runs(row: str) -> list[str]:
    """Split a row into runs of equal signs."""
    cuts = [0, *(i for i in range(1, len(row)) if row[i] != row[i - 1]), len(row)]
    return [row[a:b] for a, b in pairwise(cuts)]


def _bars(marks: Sequence[Mark], paint: Paint) -> str:
    row, at = "", 0
    for x in marks:
        if x.first >= at:
            row += " " * (x.first - at) + paint("|", _style(x, paint))
            at = x.first + 1
    return row


def _style(mark: Mark, paint: Paint) -> str:
    return paint.main if mark.primary else BLUE


# --------------------------------------------------------------------------- characters


def clean(text: str) -> str:
    """Replace the characters of a text that steer a terminal; line ends stay."""
    return "\n".join("".join(map(cell, line)) for line in text.split("\n"))


def _width(cell: str) -> int:
    """Return the number of columns that a character takes on the screen."""
    if len(cell) != 1 or cell.isascii():
        return len(cell)
    if unicodedata.combining(cell):
        return 0
    return 2 if unicodedata.east_asian_width(cell) in "WF" else 1
