"""Rules that recognise common syntax errors and the intention behind them.

The first rule that fits an `ErrorContext` gives the diagnostic. A rule looks at the pieces around
the place where the parser stopped, and at what the grammar would have accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from opdsl.diagnostics import Diagnostic, Help, Label, nearest
from opdsl.syntax.error_context import ErrorContext
from opdsl.syntax.expected import VALUE, error, short
from opdsl.syntax.recovery_blanking import is_name
from opdsl.syntax.regions import Region, is_binding
from opdsl.syntax.sign_rules import (
    arrow,
    bad_character,
    chained,
    equal_sign,
    mismatch,
    missing_comma,
    power,
    separator,
    stray,
    walrus,
)
from opdsl.syntax.words import EDITION, ITEMS, KEYWORDS, STAGES, STATEMENTS

PYTHON = {
    "def": "`block Name { ... }` makes a part that can be used again",
    "class": "`block Name { ... }` makes a part, `model Name { ... }` a whole",
    "for": "`repeat count { ... }` applies a chain several times",
    "while": "`repeat count { ... }` applies a chain several times",
    "return": "name the result: `output u : D -> R^1` and `u = ...`",
    "let": "write `name = value`",
    "var": "write `name = value`",
    "with": "write each statement by itself",
}


# ------------------------------------------------------------------------- rules


def _reserved(context: ErrorContext) -> Diagnostic | None:
    piece = context.piece
    bound = context.next is not None and context.next.text == "="
    if piece.text not in KEYWORDS or "NAME" not in context.accepts:
        return None
    if context.at == context.region.first and not bound:
        return None
    return error(
        f"`{piece.text}` is a reserved word",
        Label(context.span(piece), "a name is needed here"),
        helps=(Help(f"choose another name, such as `{piece.text}_1`"),),
        code="OP0106",
    )


def _stage_alone(context: ErrorContext) -> Diagnostic | None:
    """Recognise a step without a function before it: `u = residual { ... }`."""
    word = context.piece.text
    if word not in STAGES or "LPAR" not in context.accepts:
        return None
    label = Label(context.span(context.piece), "no function comes in here")
    cure = Help(f"write `a |> {word}`" + (" ... { ... }" if word == "repeat" else " { ... }"))
    return error(f"`{word}` is a step of a chain", label, helps=(cure,))


def _late_edition(context: ErrorContext) -> Diagnostic | None:
    if context.piece.text != "edition" or not context.outside:
        return None
    return error(
        "`edition` is not the first statement",
        Label(context.span(context.piece), "comes too late"),
        helps=(Help("move it to the top of the file"),),
        code="OP0104",
    )


def _bad_edition(context: ErrorContext) -> Diagnostic | None:
    """Recognise an edition that is no year: `edition "2026"`."""
    before = context.previous
    if before is None or before.text != "edition":
        return None
    return edition(Label(context.span(context.piece), "expected a year"))


def edition(label: Label) -> Diagnostic:
    """Report OP0104: the program does not say by which edition of the rules it is written."""
    cure = Help(f"write `edition {EDITION}`")
    return error("this file does not say its edition", label, helps=(cure,), code="OP0104")


def _python(context: ErrorContext) -> Diagnostic | None:
    """Recognise a statement of another language: `def f():`."""
    first = context.pieces[context.region.first]
    if context.at - context.region.first > 1 or first.text not in PYTHON:
        return None
    return error(
        f"the language has no statement `{first.text}`",
        Label(context.span(first), "not a statement"),
        helps=(Help(PYTHON[first.text]),),
    )


def _import_from(context: ErrorContext) -> Diagnostic | None:
    """Recognise `from` after the names: `import A, B from std.pointwise`."""
    return late_from(context, context.region)


def late_from(context: ErrorContext, region: Region) -> Diagnostic | None:
    """Recognise `import A from std.pointwise` in a region."""
    pieces = context.pieces[region.first : region.end]
    at = next((i for i, x in enumerate(pieces) if i and x.text == "from"), None)
    if pieces[0].text != "import" or at is None:
        return None
    names = context.source.text[pieces[0].end : pieces[at].start].strip()
    source = _rest_of_path(context, region.first + at + 1)
    return error(
        "`from` stands behind the imported name",
        Label(context.span(pieces[at]), "comes too late"),
        helps=(Help(f"write `from {source} import {names}`"),),
    )


def _import_all(context: ErrorContext) -> Diagnostic | None:
    """Recognise an import of all names: `from std.x import *`."""
    if context.piece.text != "*" or context.previous is None or context.previous.text != "import":
        return None
    label = Label(context.span(context.piece), "a name is needed here")
    return error("names are imported one by one", label, helps=(Help("list them: `A, B`"),))


def _rest_of_path(context: ErrorContext, at: int) -> str:
    text = ""
    for x in context.pieces[at:]:
        if x.first or not (is_name(x) or x.text == "." or x.kind == "text"):
            break
        text += x.text
    return text


def _missing_colon(context: ErrorContext) -> Diagnostic | None:
    """Recognise a declaration without its colon: `param width int = 64`."""
    if context.accepts != {"COLON"} or context.at < 2:
        return None
    word, name = context.pieces[context.at - 2 : context.at]
    if word.text not in ("param", "input", "output"):
        return None
    type_ = re.split(r'[="#\n]', context.source.text[context.piece.start :], maxsplit=1)[0].strip()
    cure = f"{word.text} {name.text} : {type_}"
    place = context.source.span(name.end, name.end)
    return error(
        f"expected `:` before `{short(context.piece)}`",
        Label(context.span(context.piece), "a type follows a colon"),
        helps=(Help(f"write `{cure}`", place, " :", "safe"),),
    )


def bare_step(context: ErrorContext) -> Diagnostic | None:
    """Recognise a step without brackets: `a |> gelu |> ...`."""
    if "LPAR" not in context.accepts or context.accepts - {"LPAR", "DOT"} or not context.previous:
        return None
    name = context.previous
    place = context.source.span(name.end, name.end)
    return error(
        f"expected `(` after `{name.text}`",
        Label(context.span(name), "a step is a call"),
        helps=(Help(f"write `{name.text}()`", place, "()", "unsafe"),),
    )


def _outside(context: ErrorContext) -> Diagnostic | None:
    """Recognise a statement outside all blocks."""
    binding = is_binding(context.pieces, context.at)
    if not context.outside or not context.starts(context.at):
        return None
    helps: tuple[Help, ...] = (Help("it belongs inside the braces of a `block` or a `model`"),)
    if binding:
        helps += (Help("a value for the whole file is `const NAME = ...`"),)
    return error(
        f"`{context.piece.text}` stands outside all blocks",
        Label(context.span(context.piece), "not inside a block"),
        helps=helps,
    )


def _unknown_head(context: ErrorContext) -> Diagnostic | None:
    """Recognise a misspelt keyword: `inptu a : D -> R^1`, `modle M { ... }`."""
    first = context.pieces[context.region.first]
    inside = (
        context.accepts == {"EQUAL", "COLON", "COMMA"} and context.at == context.region.first + 1
    )
    if not is_name(first) or not (
        inside or (context.outside and context.at == context.region.first)
    ):
        return None
    keywords = STATEMENTS if inside else ITEMS
    near = nearest(first.text, keywords)
    cure = Help(f"did you mean `{near}`?", context.span(first), near, "unsafe")
    if near is None:
        rest = ", or is `name = value`" if inside else ""
        cure = Help("a statement begins with " + ", ".join(f"`{x}`" for x in keywords) + rest)
    return error(
        f"unknown statement `{short(first)}`",
        Label(context.span(first), "not a statement"),
        helps=(cure,),
    )


def _quoted_name(context: ErrorContext) -> Diagnostic | None:
    """Recognise a name in quotes: `model "FNO" {`."""
    if context.accepts != {"NAME"} or context.piece.kind != "text":
        return None
    span, bare = context.span(context.piece), context.piece.text.strip('"')
    cure = Help("write the name without quotes")
    if bare.isidentifier() and bare.isascii() and bare not in KEYWORDS:
        cure = Help(f"write `{bare}`", span, bare, "safe")
    return error("a name stands without quotes", Label(span, "this is a text"), helps=(cure,))


def _no_value(context: ErrorContext) -> Diagnostic | None:
    """Recognise a missing value: `out = )`."""
    before = context.previous
    if before is None or not context.accepts >= VALUE - {"IF"} or before.kind != "sign":
        return None
    if before.text in ("(", "[", ","):
        return None
    return error(
        f"expected a value after `{before.text}`", Label(context.span(context.piece), "not a value")
    )


def no_else(context: ErrorContext) -> Diagnostic | None:
    """Recognise a condition without its other branch: `if a then b`."""
    if "ELSE" not in context.accepts:
        return None
    word = next((x for x in reversed(context.pieces[: context.at]) if x.text == "if"), None)
    return (
        None
        if word is None
        else error(
            "this `if` has no `else`",
            Label(context.span(word), "a value is needed in both cases"),
            helps=(Help("write `if test then a else b`"),),
        )
    )


RULES: tuple[Callable[[ErrorContext], Diagnostic | None], ...] = (
    bad_character,
    _import_from,
    _import_all,
    _late_edition,
    _bad_edition,
    _python,
    walrus,
    power,
    equal_sign,
    _stage_alone,
    _reserved,
    _missing_colon,
    arrow,
    bare_step,
    separator,
    stray,
    _outside,
    _unknown_head,
    _quoted_name,
    mismatch,
    missing_comma,
    chained,
    no_else,
    _no_value,
)
