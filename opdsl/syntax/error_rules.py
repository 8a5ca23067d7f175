"""Stories of syntax errors: what a person meant who wrote this.

What comes in: a scene. What goes out: the diagnostic of the first story that fits, if one does. A
story looks at the pieces around the complaint and at what the grammar would have accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from opdsl.diagnostics import Diagnostic, Help, Label, Span, nearest
from opdsl.syntax.error_context import Scene
from opdsl.syntax.expected import SIGN_OF, VALUE, error, short
from opdsl.syntax.recovery_blanking import is_name
from opdsl.syntax.regions import Region, is_binding
from opdsl.syntax.words import CLOSING, EDITION, ITEMS, KEYWORDS, OPENING, STAGES, STATEMENTS

SPELLED = {
    "→": "->", "×": "*", "·": "*", "−": "-", "–": "-", "≥": ">=", "≤": "<=", "≠": "!=",
    "“": '"', "”": '"', "‘": '"', "’": '"', "&": "and", "!": "not", "÷": "/",
}  # fmt: skip
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


# ------------------------------------------------------------------------- stories


def bad_character(scene: Scene) -> Diagnostic | None:
    """`;`, `'`, a text without its end."""
    match scene.piece.kind:
        case "open_text":
            return _open_text(scene)
        case "text" if not scene.accepts:  # the lexer refused it
            return _bad_escape(scene)
        case "bad":
            return _unknown_sign(scene)
        case _:
            return None


def _open_text(scene: Scene) -> Diagnostic:
    piece = scene.piece
    first = piece.text.split("\n", 1)[0]
    span = scene.source.span(piece.start, piece.start + len(first))
    quotes = LONG if first.startswith(LONG) else '"'
    return error(
        "this text is not closed",
        Label(span, "the quotes open here"),
        helps=(Help(f"end it with `{quotes}`"),),
        code="OP0102",
    )


LONG = '"' * 3


def _bad_escape(scene: Scene) -> Diagnostic:
    piece = scene.piece
    match = re.search(r'\\[^"\\nt]', re.sub(r'\\["\\nt]', "..", piece.text))
    start = piece.start + (match.start() if match else 0)
    span = scene.source.span(start, start + 2)
    cures = (Help("write a backslash as `\\\\`"), Help("in paths `/` works everywhere"))
    return error(
        f"unknown escape `{span.text}` in a text",
        Label(span, "not known"),
        helps=cures,
        code="OP0102",
    )


def _unknown_sign(scene: Scene) -> Diagnostic:
    sign, span = scene.piece.text, scene.span(scene.piece)
    shown = f"`{sign}`" if sign.isprintable() else f"U+{ord(sign):04X}"
    label, *helps = _about_sign(sign, span)
    made = tuple(x for x in helps if isinstance(x, Help))
    return error(f"unknown character {shown}", Label(span, str(label)), helps=made, code="OP0102")


def _about_sign(sign: str, span: Span) -> tuple[str | Help, ...]:
    """What to say beside a sign, and the help."""
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


def _reserved(scene: Scene) -> Diagnostic | None:
    piece = scene.piece
    bound = scene.next is not None and scene.next.text == "="
    if piece.text not in KEYWORDS or "NAME" not in scene.accepts:
        return None
    if scene.at == scene.region.first and not bound:
        return None
    return error(
        f"`{piece.text}` is a reserved word",
        Label(scene.span(piece), "a name is needed here"),
        helps=(Help(f"choose another name, such as `{piece.text}_1`"),),
        code="OP0106",
    )


def _stage_alone(scene: Scene) -> Diagnostic | None:
    """`u = residual { ... }`."""
    word = scene.piece.text
    if word not in STAGES or "LPAR" not in scene.accepts:
        return None
    label = Label(scene.span(scene.piece), "no function comes in here")
    cure = Help(f"write `a |> {word}`" + (" ... { ... }" if word == "repeat" else " { ... }"))
    return error(f"`{word}` is a step of a chain", label, helps=(cure,))


def _late_edition(scene: Scene) -> Diagnostic | None:
    if scene.piece.text != "edition" or not scene.outside:
        return None
    return error(
        "`edition` is not the first statement",
        Label(scene.span(scene.piece), "comes too late"),
        helps=(Help("move it to the top of the file"),),
        code="OP0104",
    )


def _bad_edition(scene: Scene) -> Diagnostic | None:
    """`edition "2026"`."""
    before = scene.previous
    if before is None or before.text != "edition":
        return None
    return edition(Label(scene.span(scene.piece), "expected a year"))


def edition(label: Label) -> Diagnostic:
    """The program does not say by which rules it is written."""
    cure = Help(f"write `edition {EDITION}`")
    return error("this file does not say its edition", label, helps=(cure,), code="OP0104")


def _python(scene: Scene) -> Diagnostic | None:
    """A statement of another language."""
    first = scene.pieces[scene.region.first]
    if scene.at - scene.region.first > 1 or first.text not in PYTHON:
        return None
    return error(
        f"the language has no statement `{first.text}`",
        Label(scene.span(first), "not a statement"),
        helps=(Help(PYTHON[first.text]),),
    )


def _import_from(scene: Scene) -> Diagnostic | None:
    """`import A, B from std.pointwise`."""
    return late_from(scene, scene.region)


def late_from(scene: Scene, region: Region) -> Diagnostic | None:
    """`import A from std.pointwise` in a region."""
    found = scene.pieces[region.first : region.end]
    at = next((i for i, x in enumerate(found) if i and x.text == "from"), None)
    if found[0].text != "import" or at is None:
        return None
    names = scene.source.text[found[0].end : found[at].start].strip()
    source = _rest_of_path(scene, region.first + at + 1)
    return error(
        "`from` stands behind the imported name",
        Label(scene.span(found[at]), "comes too late"),
        helps=(Help(f"write `from {source} import {names}`"),),
    )


def _import_all(scene: Scene) -> Diagnostic | None:
    """`from std.x import *`."""
    if scene.piece.text != "*" or scene.previous is None or scene.previous.text != "import":
        return None
    label = Label(scene.span(scene.piece), "a name is needed here")
    return error("names are imported one by one", label, helps=(Help("list them: `A, B`"),))


def _rest_of_path(scene: Scene, at: int) -> str:
    text = ""
    for x in scene.pieces[at:]:
        if x.first or not (is_name(x) or x.text == "." or x.kind == "text"):
            break
        text += x.text
    return text


def _missing_colon(scene: Scene) -> Diagnostic | None:
    """`param width int = 64`."""
    if scene.accepts != {"COLON"} or scene.at < 2:
        return None
    word, name = scene.pieces[scene.at - 2 : scene.at]
    if word.text not in ("param", "input", "output"):
        return None
    written = re.split(r'[="#\n]', scene.source.text[scene.piece.start :], maxsplit=1)[0].strip()
    cure = f"{word.text} {name.text} : {written}"
    place = scene.source.span(name.end, name.end)
    return error(
        f"expected `:` before `{short(scene.piece)}`",
        Label(scene.span(scene.piece), "a type follows a colon"),
        helps=(Help(f"write `{cure}`", place, " :", "safe"),),
    )


def _walrus(scene: Scene) -> Diagnostic | None:
    """`u := a`."""
    before = scene.previous
    if scene.piece.text != "=" or before is None or before.text != ":":
        return None
    span = scene.source.span(before.start, scene.piece.end)
    return error(
        "`:=` is not a sign of the language",
        Label(span, "not known"),
        helps=(Help("a name is bound with `=`", span, "=", "safe"),),
    )


def _power(scene: Scene) -> Diagnostic | None:
    """`a ** 2`."""
    before = scene.previous
    if scene.piece.text != "*" or before is None or before.text != "*":
        return None
    span = scene.source.span(before.start, scene.piece.end)
    return error(
        "`**` is not a sign of the language",
        Label(span, "there are no powers"),
        helps=(Help("multiply: `x * x`"),),
    )


def _equal_sign(scene: Scene) -> Diagnostic | None:
    """`if a = b then`."""
    if scene.piece.text != "=" or "CMP" not in scene.accepts:
        return None
    span = scene.span(scene.piece)
    return error(
        "`=` does not compare",
        Label(span, "a comparison is needed here"),
        helps=(Help("write `==`", span, "==", "safe"),),
    )


def _arrow(scene: Scene) -> Diagnostic | None:
    """`a -> Lift(out = 64)`."""
    if scene.piece.text != "->" or "PIPE" not in scene.accepts:
        return None
    span = scene.span(scene.piece)
    return error(
        "`->` stands in types only",
        Label(span, "a chain goes on with another sign"),
        helps=(Help("write `|>`", span, "|>", "safe"),),
    )


def bare_step(scene: Scene) -> Diagnostic | None:
    """`a |> gelu |> ...`."""
    if "LPAR" not in scene.accepts or scene.accepts - {"LPAR", "DOT"} or not scene.previous:
        return None
    name = scene.previous
    place = scene.source.span(name.end, name.end)
    return error(
        f"expected `(` after `{name.text}`",
        Label(scene.span(name), "a step is a call"),
        helps=(Help(f"write `{name.text}()`", place, "()", "unsafe"),),
    )


def _separator(scene: Scene) -> Diagnostic | None:
    """`domain D = grid(x), input a : ...`."""
    if scene.piece.text != "," or not scene.complete:
        return None
    span = scene.span(scene.piece)
    if scene.next is not None and not scene.next.first and not scene.starts(scene.at + 1):
        cure = Help("a tuple stands in brackets: `(a, b)`")
        return error("`,` is not expected here", Label(span, "not expected"), helps=(cure,))
    return error(
        "`,` stands between two statements",
        Label(span, "statements need no separator"),
        helps=(Help("remove it", span, "", "safe"),),
    )


def _missing_comma(scene: Scene) -> Diagnostic | None:
    """`f(a b)`."""
    piece = scene.piece
    begins = piece.kind in ("name", "number", "text") or piece.text in ("(", "[")
    if "COMMA" not in scene.accepts or not begins:
        return None
    if not {"RPAR", "RSQB", "RBRACE"} & scene.accepts or scene.previous is None:
        return None
    end = scene.previous.end
    return error(
        f"expected `,` before `{short(piece)}`",
        Label(scene.span(piece), "a comma stands between two values"),
        helps=(Help("add the comma", scene.source.span(end, end), ",", "unsafe"),),
    )


def _mismatch(scene: Scene) -> Diagnostic | None:
    """`f(a]`."""
    stack = scene.open(scene.at)
    piece = scene.piece
    if piece.text not in CLOSING or not stack or OPENING[stack[-1].text] == piece.text:
        return None
    if SIGNS_BACK[OPENING[stack[-1].text]] not in scene.accepts:
        return None
    return error(
        f"expected `{OPENING[stack[-1].text]}` before `{piece.text}`",
        Label(scene.span(piece), f"does not close `{stack[-1].text}`"),
        Label(scene.span(stack[-1]), "opened here"),
    )


SIGNS_BACK = {sign: name for name, sign in SIGN_OF.items()}


def _stray(scene: Scene) -> Diagnostic | None:
    """A `}` too many."""
    if scene.piece.text != "}" or not scene.outside:
        return None
    return error("this `}` closes nothing", Label(scene.span(scene.piece), "no block is open here"))


def _outside(scene: Scene) -> Diagnostic | None:
    """A statement that stands in no block."""
    binding = is_binding(scene.pieces, scene.at)
    if not scene.outside or not scene.starts(scene.at):
        return None
    helps: tuple[Help, ...] = (Help("it belongs inside the braces of a `block` or a `model`"),)
    if binding:
        helps += (Help("a value for the whole file is `const NAME = ...`"),)
    return error(
        f"`{scene.piece.text}` stands outside all blocks",
        Label(scene.span(scene.piece), "not inside a block"),
        helps=helps,
    )


def _unknown_head(scene: Scene) -> Diagnostic | None:
    """`inptu a : D -> R^1`, `modle M { ... }`."""
    first = scene.pieces[scene.region.first]
    inside = scene.accepts == {"EQUAL", "COLON", "COMMA"} and scene.at == scene.region.first + 1
    if not is_name(first) or not (inside or (scene.outside and scene.at == scene.region.first)):
        return None
    known = STATEMENTS if inside else ITEMS
    near = nearest(first.text, known)
    cure = Help(f"did you mean `{near}`?", scene.span(first), near, "unsafe")
    if near is None:
        rest = ", or is `name = value`" if inside else ""
        cure = Help("a statement begins with " + ", ".join(f"`{x}`" for x in known) + rest)
    return error(
        f"unknown statement `{short(first)}`",
        Label(scene.span(first), "not a statement"),
        helps=(cure,),
    )


def _quoted_name(scene: Scene) -> Diagnostic | None:
    """`model "FNO" {`."""
    if scene.accepts != {"NAME"} or scene.piece.kind != "text":
        return None
    span, bare = scene.span(scene.piece), scene.piece.text.strip('"')
    cure = Help("write the name without quotes")
    if bare.isidentifier() and bare.isascii() and bare not in KEYWORDS:
        cure = Help(f"write `{bare}`", span, bare, "safe")
    return error("a name stands without quotes", Label(span, "this is a text"), helps=(cure,))


def _chained(scene: Scene) -> Diagnostic | None:
    """`a < b < c`."""
    signs = ("<", ">", "<=", ">=", "==", "!=", "..")
    if scene.piece.text not in signs or not {"AND", "RANGE", "PIPE"} & scene.accepts:
        return None
    label = Label(scene.span(scene.piece), "one too many")
    if scene.piece.text == "..":
        return error("a range has two ends", label)
    cure = Help("write `a < b and b < c`")
    return error("a comparison has two sides", label, helps=(cure,))


def _no_value(scene: Scene) -> Diagnostic | None:
    """`out = )`."""
    before = scene.previous
    if before is None or not scene.accepts >= VALUE - {"IF"} or before.kind != "sign":
        return None
    if before.text in ("(", "[", ","):
        return None
    return error(
        f"expected a value after `{before.text}`", Label(scene.span(scene.piece), "not a value")
    )


def no_else(scene: Scene) -> Diagnostic | None:
    """`if a then b`."""
    if "ELSE" not in scene.accepts:
        return None
    word = next((x for x in reversed(scene.pieces[: scene.at]) if x.text == "if"), None)
    return (
        None
        if word is None
        else error(
            "this `if` has no `else`",
            Label(scene.span(word), "a value is needed in both cases"),
            helps=(Help("write `if test then a else b`"),),
        )
    )


STORIES: tuple[Callable[[Scene], Diagnostic | None], ...] = (
    bad_character,
    _import_from,
    _import_all,
    _late_edition,
    _bad_edition,
    _python,
    _walrus,
    _power,
    _equal_sign,
    _stage_alone,
    _reserved,
    _missing_colon,
    _arrow,
    bare_step,
    _separator,
    _stray,
    _outside,
    _unknown_head,
    _quoted_name,
    _mismatch,
    _missing_comma,
    _chained,
    no_else,
    _no_value,
)
