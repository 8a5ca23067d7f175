"""Rules for syntax errors of characters and signs: quotes, separators, brackets, operators."""

from __future__ import annotations

import re

from opdsl.diagnostics import Diagnostic, Help, Label, Span
from opdsl.syntax.error_context import ErrorContext
from opdsl.syntax.expected import SIGN_OF, error, short
from opdsl.syntax.words import CLOSING, OPENING

SPELLED = {
    "→": "->", "×": "*", "·": "*", "−": "-", "–": "-", "≥": ">=", "≤": "<=", "≠": "!=",
    "“": '"', "”": '"', "‘": '"', "’": '"', "&": "and", "!": "not", "÷": "/",
}  # fmt: skip
LONG = '"' * 3
NAME_OF = {sign: name for name, sign in SIGN_OF.items()}


def bad_character(context: ErrorContext) -> Diagnostic | None:
    """Recognise a character outside the language (`;`, `'`), or a text without its end."""
    match context.piece.kind:
        case "open_text":
            return _open_text(context)
        case "text" if not context.accepts:  # the lexer refused it
            return _bad_escape(context)
        case "bad":
            return _unknown_sign(context)
        case _:
            return None


def _open_text(context: ErrorContext) -> Diagnostic:
    piece = context.piece
    first = piece.text.split("\n", 1)[0]
    span = context.source.span(piece.start, piece.start + len(first))
    quotes = LONG if first.startswith(LONG) else '"'
    return error(
        "this text is not closed",
        Label(span, "the quotes open here"),
        helps=(Help(f"end it with `{quotes}`"),),
        code="OP0102",
    )


def _bad_escape(context: ErrorContext) -> Diagnostic:
    piece = context.piece
    match = re.search(r'\\[^"\\nt]', re.sub(r'\\["\\nt]', "..", piece.text))
    start = piece.start + (match.start() if match else 0)
    span = context.source.span(start, start + 2)
    cures = (Help("write a backslash as `\\\\`"), Help("in paths `/` works everywhere"))
    return error(
        f"unknown escape `{span.text}` in a text",
        Label(span, "not known"),
        helps=cures,
        code="OP0102",
    )


def _unknown_sign(context: ErrorContext) -> Diagnostic:
    sign, span = context.piece.text, context.span(context.piece)
    text = f"`{sign}`" if sign.isprintable() else f"U+{ord(sign):04X}"
    label, *helps = _about_sign(sign, span)
    cures = tuple(x for x in helps if isinstance(x, Help))
    return error(f"unknown character {text}", Label(span, str(label)), helps=cures, code="OP0102")


def _about_sign(sign: str, span: Span) -> tuple[str | Help, ...]:
    """Return the label for a sign outside the language, and the help."""
    if sign == "'":
        return "not a quote here", Help('texts stand in double quotes: `"text"`')
    if sign == ";":
        return "statements need no separator", Help("remove it", span, "", "safe")
    if sign in SPELLED:
        cure = Help(f"write `{SPELLED[sign]}`", span, SPELLED[sign], "unsafe")
        return "not part of the language", cure
    if sign.isalpha():
        return "not a letter of a name", Help("names are made of a-z, A-Z, 0-9 and _")
    return ("not part of the language",)


def walrus(context: ErrorContext) -> Diagnostic | None:
    """Recognise `:=` as an assignment: `u := a`."""
    before = context.previous
    if context.piece.text != "=" or before is None or before.text != ":":
        return None
    span = context.source.span(before.start, context.piece.end)
    return error(
        "`:=` is not a sign of the language",
        Label(span, "not known"),
        helps=(Help("a name is bound with `=`", span, "=", "safe"),),
    )


def power(context: ErrorContext) -> Diagnostic | None:
    """Recognise `**` and `^` as powers: `a ** 2`, `a^2`."""
    before, piece = context.previous, context.piece
    if before is not None and (before.text, piece.text) == ("*", "*"):
        sign, start = "**", before.start
    elif piece.text == "^" and "MUL" in context.accepts:
        sign, start = "^", piece.start
    else:
        return None
    span = context.source.span(start, piece.end)
    return error(
        f"`{sign}` is not a sign of expressions",
        Label(span, "there are no powers"),
        helps=(Help("multiply: `x * x`"),),
    )


def equal_sign(context: ErrorContext) -> Diagnostic | None:
    """Recognise `=` as a comparison: `if a = b then`."""
    if context.piece.text != "=" or "CMP" not in context.accepts:
        return None
    span = context.span(context.piece)
    return error(
        "`=` does not compare",
        Label(span, "a comparison is needed here"),
        helps=(Help("write `==`", span, "==", "safe"),),
    )


def arrow(context: ErrorContext) -> Diagnostic | None:
    """Recognise `->` in place of `|>`: `a -> Lift(out = 64)`."""
    if context.piece.text != "->" or "PIPE" not in context.accepts:
        return None
    span = context.span(context.piece)
    return error(
        "`->` stands in types only",
        Label(span, "a chain goes on with another sign"),
        helps=(Help("write `|>`", span, "|>", "safe"),),
    )


def separator(context: ErrorContext) -> Diagnostic | None:
    """Recognise a comma between statements: `domain D = grid(x), input a : ...`."""
    if context.piece.text != "," or not context.complete:
        return None
    span = context.span(context.piece)
    if context.next is not None and not context.next.first and not context.starts(context.at + 1):
        cure = Help("a tuple stands in brackets: `(a, b)`")
        return error("`,` is not expected here", Label(span, "not expected"), helps=(cure,))
    return error(
        "`,` stands between two statements",
        Label(span, "statements need no separator"),
        helps=(Help("remove it", span, "", "safe"),),
    )


def missing_comma(context: ErrorContext) -> Diagnostic | None:
    """Recognise a missing comma: `f(a b)`."""
    piece = context.piece
    begins = piece.kind in ("name", "number", "text") or piece.text in ("(", "[")
    if "COMMA" not in context.accepts or not begins:
        return None
    if not {"RPAR", "RSQB", "RBRACE"} & context.accepts or context.previous is None:
        return None
    end = context.previous.end
    return error(
        f"expected `,` before `{short(piece)}`",
        Label(context.span(piece), "a comma stands between two values"),
        helps=(Help("add the comma", context.source.span(end, end), ",", "unsafe"),),
    )


def mismatch(context: ErrorContext) -> Diagnostic | None:
    """Recognise a bracket with the wrong partner: `f(a]`."""
    stack = context.open(context.at)
    piece = context.piece
    if piece.text not in CLOSING or not stack or OPENING[stack[-1].text] == piece.text:
        return None
    if NAME_OF[OPENING[stack[-1].text]] not in context.accepts:
        return None
    return error(
        f"expected `{OPENING[stack[-1].text]}` before `{piece.text}`",
        Label(context.span(piece), f"does not close `{stack[-1].text}`"),
        Label(context.span(stack[-1]), "opened here"),
    )


def stray(context: ErrorContext) -> Diagnostic | None:
    """Recognise a closing bracket without a partner."""
    if context.piece.text != "}" or not context.outside:
        return None
    return error(
        "this `}` closes nothing", Label(context.span(context.piece), "no block is open here")
    )


def chained(context: ErrorContext) -> Diagnostic | None:
    """Recognise a chain of comparisons: `a < b < c`."""
    signs = ("<", ">", "<=", ">=", "==", "!=", "..")
    if context.piece.text not in signs or not {"AND", "RANGE", "PIPE"} & context.accepts:
        return None
    label = Label(context.span(context.piece), "one too many")
    if context.piece.text == "..":
        return error("a range has two ends", label)
    cure = Help("write `a < b and b < c`")
    return error("a comparison has two sides", label, helps=(cure,))
