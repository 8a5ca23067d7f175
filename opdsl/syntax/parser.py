"""From text to tree: reports every syntax error, and builds the tree of all that can be parsed.

A text of a user never raises anything but diagnostics. The parser is built outside every `try` that
catches mistakes of users: a broken grammar is our fault.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Source, fault
from opdsl.syntax.words import CLOSING, EDITION, OPENING

if TYPE_CHECKING:
    from opdsl.syntax.tree import Edition, Expr, File

SIZE = 2**20  # characters of one file
NESTING = 64  # depth of nested brackets


def parse(source: Source) -> tuple[File, tuple[Diagnostic, ...]]:
    """Parse a program into its tree and its syntax errors, in the order of the text."""
    from opdsl.syntax.recovery import read

    bad = _beyond_limits(source)
    if bad:
        return _empty(source), (bad,)
    file, faults = read(source)
    wrong = _wrong_edition(source, file.edition)
    diagnostics = (*faults, wrong) if wrong else faults
    return file, tuple(sorted(diagnostics, key=lambda x: x.labels[0].span.start))


def parse_expr(source: Source) -> Expr:
    """Parse a text that holds one expression, such as the value of `--set`.

    Raises:
        OpError: OP0101 to OP0106.
    """
    from opdsl.syntax.build import TreeBuilder
    from opdsl.syntax.explain import explain
    from opdsl.syntax.grammar import machine
    from opdsl.syntax.lalr import Refused
    from opdsl.syntax.scan import plain

    bad = _beyond_limits(source)
    if bad:
        raise OpError(bad)
    parser = machine()
    try:
        parsed = parser.parse(plain(source.text), start="pipe")
    except Refused as error:
        raise OpError(explain(source, source.text, error).diagnostic) from None
    return TreeBuilder(source).expr(parsed)


def _empty(source: Source) -> File:
    from opdsl.syntax.tree import File

    return File(source, None, ())


def _beyond_limits(source: Source) -> Diagnostic | None:
    """Report OP0105 for a text that is too large or too deeply nested to be parsed."""
    if len(source.text) > SIZE:
        label = Label(source.span(0, 0), f"a file has at most {SIZE:,} characters")
        return _limit(f"this file has {len(source.text):,} characters", label)
    return _too_nested(source)


def _too_nested(source: Source) -> Diagnostic | None:
    depth = 0
    for match in BRACKET.finditer(source.text):
        if match[0] in OPENING:
            depth += 1
        elif match[0] in CLOSING:
            depth = max(0, depth - 1)
        if depth > NESTING:
            label = Label(source.span(*match.span()), f"bracket number {depth} inside each other")
            return _limit("this program is too deeply nested", label)
    return None


BRACKET = re.compile(
    r"""#[^\n]*|"{3}[^"]*(?:"{1,2}[^"]+)*(?:"{3}|$)|"(?:[^"\\\n]|\\.)*"?|[][(){}]"""
)


def _limit(message: str, label: Label) -> Diagnostic:
    return fault("OP0105", message, label).diagnostics[0]


def _wrong_edition(source: Source, edition: Edition | None) -> Diagnostic | None:
    """Report OP0104 for a program whose edition is missing or wrong."""
    if edition is None:
        return (
            None if re.search(r"^\s*edition\b", source.text, re.MULTILINE) else _no_edition(source)
        )
    if edition.year == EDITION:
        return None
    digits = re.search(r"[0-9]+$", edition.span.text)
    span = replace(edition.span, start=edition.span.start + (digits.start() if digits else 0))
    cure = Help(f"write `edition {EDITION}`", span, str(EDITION), "unsafe")
    label = Label(span, f"this version knows edition {EDITION}")
    return fault("OP0104", f"unknown edition {edition.year}", label, helps=(cure,)).diagnostics[0]


def _no_edition(source: Source) -> Diagnostic:
    match = re.compile(r"(?:\s|\ufeff|#[^\n]*)*").match(source.text)
    start = match.end() if match else 0
    word = re.compile(r"\w*").match(source.text, start)
    span = source.span(start, word.end() if word else start)
    place = source.span(start, start)
    cure = Help(f"begin with `edition {EDITION}`", place, f"edition {EDITION}\n\n", "safe")
    label = Label(span, "the first statement of a file is its edition")
    return fault("OP0104", "this file does not say its edition", label, helps=(cure,)).diagnostics[
        0
    ]
