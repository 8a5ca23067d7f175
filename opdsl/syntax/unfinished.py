"""Rules for errors in an unfinished statement, bracket, block or file.

The parser stops at a piece that begins something new, or at the end of the file; the diagnostic
blames the unfinished part before it.
"""

from __future__ import annotations

from collections.abc import Callable

from opdsl.diagnostics import Diagnostic, Label
from opdsl.syntax.error_context import ErrorContext
from opdsl.syntax.error_rules import bare_step, edition, late_from, no_else
from opdsl.syntax.expected import error, short, words
from opdsl.syntax.recovery_blanking import Finding, blank
from opdsl.syntax.scan import Piece
from opdsl.syntax.sign_rules import bad_character
from opdsl.syntax.words import CLOSING, KEYWORDS, OPENING

# ------------------------------------------------------------------ blocks left open


def at_the_end(context: ErrorContext) -> Finding:
    """Build the finding for a text that ends too early."""
    if not context.pieces:
        label = Label(context.source.span(0, 0), "nothing is here")
        return Finding(error("expected a value", label), "")
    stack = context.open(len(context.pieces))
    if not stack:
        last = context.pieces[-1]
        diagnostic = error(_after(context, last), Label(context.span(last), "nothing follows"))
        region = context.regions[-1]
        return blank(context.text, context.pieces, (region.first, region.whole), diagnostic)
    text = "text" if context.source.name.startswith("<") else "file"
    diagnostic = error(
        f"this {text} ends inside an open {BRACKETS[stack[-1].text]}",
        Label(context.span(context.pieces[-1]), f"expected `{OPENING[stack[-1].text]}` after this"),
        Label(context.span(stack[-1]), "opened here"),
        code="OP0103",
    )
    if context.complete:
        repaired = context.text + "}" * sum(x.text == "{" for x in stack)
        return Finding(diagnostic, repaired, at_end=True)
    region = context.regions[-1]
    finding = blank(context.text, context.pieces, (region.first, region.end), diagnostic)
    return Finding(diagnostic, finding.text, finding.lost, at_end=True)


BRACKETS = {"{": "block", "(": "bracket", "[": "list"}


def unclosed_body(context: ErrorContext) -> Finding:
    """Build the finding for an item that begins inside a block: a `}` is missing before it."""
    braces = [x for x in context.open(context.at) if x.text == "{"]
    diagnostic = error(
        "this block is not closed",
        Label(context.span(context.piece), "expected `}` before this"),
        *(Label(context.span(x), "opened here") for x in braces[-1:]),
        code="OP0103",
    )
    end, count = context.last.end, len(braces)
    if context.text[end : end + count].isspace():
        repaired = context.text[:end] + "}" * count + context.text[end + count :]
        return Finding(diagnostic, repaired)
    statement = (context.region.first, context.region.whole)
    return blank(context.text, context.pieces, statement, diagnostic)


# -------------------------------------------------- the statement before is incomplete


def _left_open(context: ErrorContext) -> Diagnostic | None:
    begin, following = context.regions[context.culprit : context.culprit + 2]
    stack: list[Piece] = []
    for x in context.pieces[begin.first : begin.end]:
        if x.text in OPENING:
            stack.append(x)
        elif x.text in CLOSING and stack:
            stack.pop()
    if not stack or begin.level == "head":
        return None
    first = context.pieces[following.first]
    return error(
        f"this `{stack[-1].text}` is never closed",
        Label(context.span(stack[-1]), "opened here"),
        Label(context.span(first), f"expected `{OPENING[stack[-1].text]}` before this"),
    )


def _nothing_after(context: ErrorContext) -> Diagnostic | None:
    """Recognise a statement that ends with an operator: `u = a +`."""
    last = context.last
    if last.text not in DANGLING or last.kind == "text":
        return None
    return error(_after(context, last), Label(context.span(last), "nothing follows"))


def _after(context: ErrorContext, last: Piece) -> str:
    """Describe what had to follow the last piece of a statement."""
    if last.text == "|>":
        return "expected a step after `|>`"
    if last.text in VALUE_FOLLOWS and last.kind != "text":
        return f"expected a value after `{last.text}`"
    return f"expected {words(context.accepts)} after `{short(last)}`"


VALUE_FOLLOWS = {
    "=", "+", "-", "*", "/", "%", "<", ">", "==", "!=", "<=", ">=", "..", "and", "or", "not",
    "if", "then", "else", "repeat", "require",
}  # fmt: skip
DANGLING = VALUE_FOLLOWS | {":", "->", "|>", "^", "|", "."} | KEYWORDS - {"true", "false", "shared"}


def _incomplete(context: ErrorContext) -> Diagnostic | None:
    last = context.last
    return error(
        f"expected {words(context.accepts)} after `{short(last)}`",
        Label(context.span(last), "the statement ends here"),
    )


def _side_by_side(context: ErrorContext) -> Diagnostic | None:
    """Recognise a name right after a value: in `u = 64x` it seems to begin a statement."""
    last = context.last
    if last.kind != "name" or last.first or not {"EQUAL", "COLON"} <= context.accepts:
        return None
    label = Label(context.span(last), "nothing joins it to what stands before")
    return error(f"`{short(last)}` is not expected here", label)


def _bare_step_blamed(context: ErrorContext) -> Diagnostic | None:
    if context.at != context.region.first:
        return None
    return bare_step(context)


def _no_edition(context: ErrorContext) -> Diagnostic | None:
    """Recognise `edition` without a year at the end of the file."""
    if context.last.text != "edition":
        return None
    return edition(Label(context.span(context.last), "expected a year after this"))


def _from_after(context: ErrorContext) -> Diagnostic | None:
    """Recognise `import A from std.pointwise`, which fails only at the next statement."""
    return late_from(context, context.regions[context.culprit])


UNFINISHED: tuple[Callable[[ErrorContext], Diagnostic | None], ...] = (
    bad_character,
    no_else,
    _no_edition,
    _from_after,
    _bare_step_blamed,
    _nothing_after,
    _left_open,
    _side_by_side,
    _incomplete,
)
