"""The pieces of any text: names, numbers, texts, signs, comments, and the rest.

The pieces hold every character but the white space. For a program without mistakes they are the
tokens of the grammar. Recovery and the printer read them.
"""

from __future__ import annotations

import re

from opdsl.records import value
from opdsl.syntax.words import SIGNS

PIECE = (
    r"""
      (?P<comment> \#[^\n]* )
    | (?P<text> \"{3} [^"]* (?: \"{1,2} [^"]+ )* \"{3} | "(?!"") (?: [^"\\\n] | \\. )* " )
    | (?P<open_text> \"{3} [^"]* (?: \"{1,2} [^"]+ )* \"{0,2} | " [^\n]* )
    | (?P<number> [0-9]+ \. [0-9]+ (?: [eE] [+-]? [0-9]+ )? | [0-9]+ [eE] [+-]? [0-9]+ | [0-9]+ )
    | (?P<name> [A-Za-z] [A-Za-z0-9_]* )
    | (?P<sign> """
    + " | ".join(re.escape(x) for x in SIGNS)
    + r""" )
    | (?P<bad> [^ \t\r\n] )
    """
)


@value
class Piece:
    """Characters `start` to `end`; whether it is first on its line, and that line's indent."""

    kind: str
    text: str
    start: int
    end: int
    first: bool
    indent: int


def pieces(text: str) -> list[Piece]:
    """Split a text into its pieces, in order, comments included."""
    output: list[Piece] = []
    begin, indent, last = 0, 0, 0
    for match in re.finditer(PIECE, plain(text), re.VERBOSE):
        start = match.start()
        first = not output or text.find("\n", last, start) >= 0
        if first:
            begin = text.rfind("\n", 0, start) + 1
            indent = len(text[begin:start].expandtabs(4))
        last = match.end()
        output.append(Piece(match.lastgroup or "", match[0], start, last, first, indent))
    return output


def plain(text: str) -> str:
    """Replace a byte order mark by a blank, so that no offset moves."""
    return " " + text[1:] if text.startswith("\ufeff") else text
