"""What a syntax error is called: the known stories first, else what was expected.

What comes in: lark's complaint about a text. What goes out: a `Finding`: the diagnostic and the
text without the statement to blame. A story looks at the pieces around the complaint and at what
the grammar would have accepted; the first that fits tells it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from opdsl.diagnostics import Diagnostic, Help, Label, Source, Span, nearest
from opdsl.syntax.regions import DEFINITIONS, Region, is_binding, regions
from opdsl.syntax.scan import Piece, pieces
from opdsl.syntax.words import CLOSING, EDITION, ITEMS, KEYWORDS, OPENING, STAGES, STATEMENTS

if TYPE_CHECKING:
    from lark import UnexpectedInput

VALUE = frozenset(
    {"NAME", "INT", "FLOAT", "STRING", "TRUE", "FALSE", "HOLE", "LPAR", "LSQB", "ADD", "NOT", "IF"}
)
OPERATOR = frozenset({"ADD", "MUL", "CMP", "AND", "OR", "RANGE"})
POSTFIX = frozenset({"DOT", "LPAR", "LSQB"})
SIGN_OF = {
    "EQUAL": "=", "COLON": ":", "COMMA": ",", "LPAR": "(", "RPAR": ")", "LSQB": "[", "RSQB": "]",
    "LBRACE": "{", "RBRACE": "}", "ARROW": "->", "PIPE": "|>", "VBAR": "|", "CIRCUMFLEX": "^",
    "DOT": ".", "RANGE": "..",
}  # fmt: skip
WORD_OF = {
    "NAME": "a name", "INT": "a whole number", "FLOAT": "a number", "STRING": "a text",
    "LONG_STRING": "a text", "CMP": "a comparison", "ADD": "`+` or `-`", "MUL": "`*` or `/`",
}  # fmt: skip
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


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake, the text to read next, and what that text no longer declares.

    `silent` findings are told only if they are the first: they follow from another.
    """

    diagnostic: Diagnostic
    text: str
    lost: tuple[str, ...] = ()
    silent: bool = False


def explain(source: Source, text: str, error: UnexpectedInput) -> Finding:
    """The finding for a text that the grammar refuses."""
    scene = _scene(source, text, error)
    if scene.at == len(scene.pieces):
        return _at_the_end(scene)
    if scene.level_unclosed:
        return _unclosed_body(scene)
    told = (story(scene) for story in (BLAMED if scene.blames_previous else STORIES))
    diagnostic = next((x for x in told if x), None) or _expected(scene)
    return _blank(text, scene.pieces, _extent(scene), diagnostic)


def explain_refusal(text: str, diagnostic: Diagnostic) -> Finding:
    """The finding for a text that the grammar accepts and the builder refuses."""
    found = [x for x in pieces(text) if x.kind != "comment"]
    start = diagnostic.labels[0].span.start
    at = next(i for i, x in enumerate(found) if x.end > start)
    region = next(x for x in regions(found) if x.first <= at < x.end)
    return _blank(text, found, (region.first, region.whole), diagnostic)


@dataclass(frozen=True)
class Scene:
    """A complaint: piece number `at` is not what the grammar accepts."""

    source: Source
    text: str
    pieces: list[Piece]
    at: int
    accepts: frozenset[str]
    regions: list[Region] = field(repr=False)

    @property
    def piece(self) -> Piece:
        return self.pieces[self.at]

    @property
    def previous(self) -> Piece | None:
        return self.pieces[self.at - 1] if self.at else None

    @property
    def next(self) -> Piece | None:
        return self.pieces[self.at + 1] if self.at + 1 < len(self.pieces) else None

    @cached_property
    def number(self) -> int:
        """Which region holds the piece."""
        return next((i for i, x in enumerate(self.regions) if x.first <= self.at < x.end), 0)

    @property
    def region(self) -> Region:
        return self.regions[self.number]

    @property
    def complete(self) -> bool:
        """Whether a statement or an item may end before the piece."""
        train = "RBRACE" in self.accepts and self.accepts <= {"RBRACE", "NAME"} | OPERATOR | POSTFIX
        return "$END" in self.accepts or "DOMAIN" in self.accepts or train

    @property
    def outside(self) -> bool:
        """Whether the piece stands outside all blocks."""
        return bool({"MODEL", "$END"} & self.accepts)

    @property
    def level_unclosed(self) -> bool:
        """Whether an item begins while the block before it is still open."""
        begins = self.region.level in ("item", "head") and self.at == self.region.first
        return begins and self.piece.text in ITEMS and "RBRACE" in self.accepts and self.complete

    @cached_property
    def blames_previous(self) -> bool:
        """Whether a good statement begins here and the one before it is incomplete."""
        first = self.region.first
        if self.number == 0 or self.at < first:
            return False
        if self.at == first:
            return not self.complete
        return is_binding(self.pieces, first) and self.at <= _binding_sign(self.pieces, first)

    def starts(self, at: int) -> bool:
        """Whether a statement begins at a piece."""
        return self.pieces[at].text in STATEMENTS or is_binding(self.pieces, at)

    @property
    def last(self) -> Piece:
        """The last piece of the statement to blame."""
        end = self.region.first if self.blames_previous else self.at
        return self.pieces[end - 1]

    def open(self, until: int) -> list[Piece]:
        """The brackets that are open before a piece, outermost first."""
        stack: list[Piece] = []
        for x in self.pieces[:until]:
            if x.kind == "sign" and x.text in OPENING:
                stack.append(x)
            elif x.kind == "sign" and x.text in CLOSING and stack:
                stack.pop()
        return stack

    def span(self, piece: Piece) -> Span:
        return self.source.span(piece.start, piece.end)


def _scene(source: Source, text: str, error: UnexpectedInput) -> Scene:
    from lark import UnexpectedToken

    found = [x for x in pieces(text) if x.kind != "comment"]
    accepts = frozenset(error.accepts or ()) if isinstance(error, UnexpectedToken) else frozenset()
    ended = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    place = len(text) if ended else error.pos_in_stream or 0
    at = next((i for i, x in enumerate(found) if x.end > place), len(found))
    return Scene(source, text, found, at, accepts, regions(found))


def _binding_sign(found: list[Piece], at: int) -> int:
    """The place of the sign in `name, name =`."""
    return next(i for i in range(at, len(found)) if found[i].text in ("=", ":"))


def _error(
    message: str,
    *labels: Label,
    helps: tuple[Help, ...] = (),
    code: str = "OP0101",
    notes: tuple[str, ...] = (),
) -> Diagnostic:
    return Diagnostic(code, message, labels, notes, helps)


# --------------------------------------------------------------- what is made blank


def _extent(scene: Scene) -> tuple[int, int]:
    """The pieces to make blank: the statement to blame, or a whole definition with its head."""
    if scene.outside and scene.region.level != "stray" and scene.piece.text not in ITEMS:
        return scene.region.first, _next_item(scene)
    region = scene.regions[scene.number - 1] if scene.blames_previous else scene.region
    if region.level == "close":
        region = scene.region
    return region.first, region.whole


def _next_item(scene: Scene) -> int:
    """Where the next item begins, after statements that stand outside all blocks."""
    rest = scene.regions[scene.number + 1 :]
    stray = scene.starts(scene.at)
    for x in rest:
        if scene.pieces[x.first].text in ITEMS or not (stray or x.level == "stray"):
            return x.first
    return len(scene.pieces)


def _blank(text: str, found: list[Piece], extent: tuple[int, int], told: Diagnostic) -> Finding:
    first, end = extent
    start, stop = found[first].start, found[end - 1].end
    blank = re.sub(r"[^\n]", " ", text[start:stop])
    lost = _declared(found[first:end])
    return Finding(told, text[:start] + blank + text[stop:], lost)


def _declared(found: list[Piece]) -> tuple[str, ...]:
    """The names that some pieces declare, as far as that can be seen."""
    if found[0].text in DEFINITIONS:
        return tuple(x.text for x in found[1:2] if _is_name(x))
    if found[0].text in ("from", "import"):
        return tuple(x.text for x in found if _is_name(x))
    names = [
        b.text for a, b in zip(found, found[1:], strict=False) if a.text in (*STATEMENTS, "const")
    ]
    names += [a.text for a, b in zip(found, found[1:], strict=False) if b.text in ("=", ":")]
    for x in found:
        if x.text in ("=", ":"):
            break
        names.append(x.text)
    return tuple(dict.fromkeys(x for x in names if x.isidentifier() and x not in KEYWORDS))


def _is_name(piece: Piece) -> bool:
    return piece.kind == "name" and piece.text not in KEYWORDS


# ------------------------------------------------------------------ blocks left open


def _at_the_end(scene: Scene) -> Finding:
    """The file ends too early."""
    stack = scene.open(len(scene.pieces))
    if not stack:
        last = scene.pieces[-1]
        told = _error(_after(scene, last), Label(scene.span(last), "the file ends here"))
        region = scene.regions[-1]
        return _blank(scene.text, scene.pieces, (region.first, region.whole), told)
    told = _error(
        f"this file ends inside an open {BRACKETS[stack[-1].text]}",
        Label(scene.span(scene.pieces[-1]), f"expected `{OPENING[stack[-1].text]}` after this"),
        Label(scene.span(stack[-1]), "opened here"),
        code="OP0103",
    )
    if scene.complete:
        return Finding(told, scene.text + "}" * sum(x.text == "{" for x in stack), silent=True)
    region = scene.regions[-1]
    found = _blank(scene.text, scene.pieces, (region.first, region.end), told)
    return Finding(told, found.text, found.lost, silent=True)


BRACKETS = {"{": "block", "(": "bracket", "[": "list"}


def _unclosed_body(scene: Scene) -> Finding:
    """An item begins inside a block: a `}` is missing before it."""
    braces = [x for x in scene.open(scene.at) if x.text == "{"]
    told = _error(
        "this block is not closed",
        Label(scene.span(scene.piece), "expected `}` before this"),
        *(Label(scene.span(x), "opened here") for x in braces[-1:]),
        code="OP0103",
    )
    start = scene.piece.start
    if scene.text[start - 1].isspace():
        return Finding(told, f"{scene.text[: start - 1]}}}{scene.text[start:]}")
    return _blank(scene.text, scene.pieces, (scene.region.first, scene.region.whole), told)


# -------------------------------------------------- the statement before is incomplete


def _left_open(scene: Scene) -> Diagnostic | None:
    begin = scene.regions[scene.number - 1]
    stack: list[Piece] = []
    for x in scene.pieces[begin.first : scene.region.first]:
        if x.text in OPENING:
            stack.append(x)
        elif x.text in CLOSING and stack:
            stack.pop()
    if not stack or begin.level == "head":
        return None
    first = scene.pieces[scene.region.first]
    return _error(
        f"this `{stack[-1].text}` is never closed",
        Label(scene.span(stack[-1]), "opened here"),
        Label(scene.span(first), f"expected `{OPENING[stack[-1].text]}` before this"),
    )


def _no_else(scene: Scene) -> Diagnostic | None:
    if "ELSE" not in scene.accepts:
        return None
    word = next((x for x in reversed(scene.pieces[: scene.at]) if x.text == "if"), None)
    return word and _error(
        "this `if` has no `else`",
        Label(scene.span(word), "a value is needed in both cases"),
        helps=(Help("write `if test then a else b`"),),
    )


def _nothing_after(scene: Scene) -> Diagnostic | None:
    """`u = a +`."""
    last = scene.last
    if last.text not in DANGLING or last.kind == "text":
        return None
    return _error(_after(scene, last), Label(scene.span(last), "nothing follows"))


def _after(scene: Scene, last: Piece) -> str:
    """What had to follow the last piece of a statement."""
    if last.text == "|>":
        return "expected a step after `|>`"
    if last.text in VALUE_FOLLOWS and last.kind != "text":
        return f"expected a value after `{last.text}`"
    return f"expected {_words(scene.accepts)} after `{_short(last)}`"


VALUE_FOLLOWS = frozenset(
    ("=", "+", "-", "*", "/", "%", "<", ">", "==", "!=", "<=", ">=", "..", "and", "or", "not")
    + ("if", "then", "else", "repeat", "require")
)
DANGLING = VALUE_FOLLOWS | {":", "->", "|>", "^", "|", "."} | KEYWORDS - {"true", "false", "shared"}


def _incomplete(scene: Scene) -> Diagnostic | None:
    last = scene.last
    return _error(
        f"expected {_words(scene.accepts)} after `{_short(last)}`",
        Label(scene.span(last), "the statement ends here"),
    )


# ------------------------------------------------------------------------- stories


def _bad_character(scene: Scene) -> Diagnostic | None:
    piece = scene.piece
    if piece.kind not in ("bad", "open_text") and not (piece.kind == "text" and not scene.accepts):
        return None
    if piece.kind == "open_text":
        first = piece.text.split("\n")[0]
        span = scene.source.span(piece.start, piece.start + len(first))
        cure = Help(f"end it with `{piece.text[:3] if piece.text[:3] == LONG else piece.text[0]}`")
        return _error(
            "this text is not closed",
            Label(span, "the quotes open here"),
            helps=(cure,),
            code="OP0102",
        )
    if piece.kind == "text":
        return _bad_escape(scene)
    return _unknown_sign(scene)


LONG = '"' * 3


def _bad_escape(scene: Scene) -> Diagnostic:
    piece = scene.piece
    match = re.search(r'\\[^"\\nt]', re.sub(r'\\["\\nt]', "..", piece.text))
    start = piece.start + (match.start() if match else 0)
    span = scene.source.span(start, start + 2)
    cures = (Help("write a backslash as `\\\\`"), Help("in paths `/` works everywhere"))
    return _error(
        f"unknown escape `{span.text}` in a text",
        Label(span, "not known"),
        helps=cures,
        code="OP0102",
    )


def _unknown_sign(scene: Scene) -> Diagnostic:
    piece = scene.piece
    sign, span = piece.text, scene.span(piece)
    shown = f"`{sign}`" if sign.isprintable() else f"U+{ord(sign):04X}"
    message, label, helps = f"unknown character {shown}", "not part of the language", ()
    if sign == "'":
        label, helps = "not a quote here", (Help('texts stand in double quotes: `"text"`'),)
    elif sign == ";":
        label = "statements need no separator"
        helps = (Help("remove it", span, "", "safe"),)
    elif sign in SPELLED:
        helps = (Help(f"write `{SPELLED[sign]}`", span, SPELLED[sign], "safe"),)
    elif sign.isalpha():
        label, helps = "not a letter of a name", (Help("names are made of a-z, A-Z, 0-9 and _"),)
    return _error(message, Label(span, label), helps=helps, code="OP0102")


def _reserved(scene: Scene) -> Diagnostic | None:
    piece = scene.piece
    bound = scene.next is not None and scene.next.text == "="
    if piece.text not in KEYWORDS or "NAME" not in scene.accepts:
        return None
    if scene.at == scene.region.first and not bound:
        return None
    return _error(
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
    return _error(f"`{word}` is a step of a chain", label, helps=(cure,))


def _late_edition(scene: Scene) -> Diagnostic | None:
    if scene.piece.text != "edition" or not scene.outside:
        return None
    return _error(
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
    return _edition(Label(scene.span(scene.piece), "expected a year"))


def _no_edition(scene: Scene) -> Diagnostic | None:
    """`edition`, and nothing behind it."""
    if scene.last.text != "edition":
        return None
    return _edition(Label(scene.span(scene.last), "expected a year after this"))


def _edition(label: Label) -> Diagnostic:
    cure = Help(f"write `edition {EDITION}`")
    return _error("this file does not say its edition", label, helps=(cure,), code="OP0104")


def _python(scene: Scene) -> Diagnostic | None:
    """A statement of another language."""
    first = scene.pieces[scene.region.first]
    if scene.at - scene.region.first > 1 or first.text not in PYTHON:
        return None
    return _error(
        f"the language has no statement `{first.text}`",
        Label(scene.span(first), "not a statement"),
        helps=(Help(PYTHON[first.text]),),
    )


def _import_from(scene: Scene) -> Diagnostic | None:
    """`import A, B from std.pointwise`."""
    return _late_from(scene, scene.region)


def _from_after(scene: Scene) -> Diagnostic | None:
    """`import A from std.pointwise`, noticed only at the next statement."""
    return _late_from(scene, scene.regions[scene.number - 1])


def _late_from(scene: Scene, region: Region) -> Diagnostic | None:
    found = scene.pieces[region.first : region.end]
    at = next((i for i, x in enumerate(found) if i and x.text == "from"), None)
    if found[0].text != "import" or at is None:
        return None
    names = scene.source.text[found[0].end : found[at].start].strip()
    source = _rest_of_path(scene, region.first + at + 1)
    return _error(
        "`from` stands behind the imported name",
        Label(scene.span(found[at]), "comes too late"),
        helps=(Help(f"write `from {source} import {names}`"),),
    )


def _import_all(scene: Scene) -> Diagnostic | None:
    """`from std.x import *`."""
    if scene.piece.text != "*" or scene.previous is None or scene.previous.text != "import":
        return None
    label = Label(scene.span(scene.piece), "a name is needed here")
    return _error("names are imported one by one", label, helps=(Help("list them: `A, B`"),))


def _rest_of_path(scene: Scene, at: int) -> str:
    text = ""
    for x in scene.pieces[at:]:
        if x.first or not (_is_name(x) or x.text == "." or x.kind == "text"):
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
    return _error(
        f"expected `:` before `{_short(scene.piece)}`",
        Label(scene.span(scene.piece), "a type follows a colon"),
        helps=(Help(f"write `{cure}`", place, " :", "safe"),),
    )


def _walrus(scene: Scene) -> Diagnostic | None:
    """`u := a`."""
    before = scene.previous
    if scene.piece.text != "=" or before is None or before.text != ":":
        return None
    span = scene.source.span(before.start, scene.piece.end)
    return _error(
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
    return _error(
        "`**` is not a sign of the language",
        Label(span, "there are no powers"),
        helps=(Help("multiply: `x * x`"),),
    )


def _equal_sign(scene: Scene) -> Diagnostic | None:
    """`if a = b then`."""
    if scene.piece.text != "=" or "CMP" not in scene.accepts:
        return None
    span = scene.span(scene.piece)
    return _error(
        "`=` does not compare",
        Label(span, "a comparison is needed here"),
        helps=(Help("write `==`", span, "==", "safe"),),
    )


def _arrow(scene: Scene) -> Diagnostic | None:
    """`a -> Lift(out = 64)`."""
    if scene.piece.text != "->" or "PIPE" not in scene.accepts:
        return None
    span = scene.span(scene.piece)
    return _error(
        "`->` stands in types only",
        Label(span, "a chain goes on with another sign"),
        helps=(Help("write `|>`", span, "|>", "safe"),),
    )


def _bare_step(scene: Scene) -> Diagnostic | None:
    """`a |> gelu |> ...`."""
    if not scene.accepts <= {"LPAR", "DOT"} or scene.previous is None:
        return None
    name = scene.previous
    place = scene.source.span(name.end, name.end)
    return _error(
        f"expected `(` after `{name.text}`",
        Label(scene.span(name), "a step is a call"),
        helps=(Help(f"write `{name.text}()`", place, "()", "unsafe"),),
    )


def _side_by_side(scene: Scene) -> Diagnostic | None:
    """`u = 64x`: the name begins a new statement, which was not meant."""
    last = scene.last
    if last.kind != "name" or last.first or not {"EQUAL", "COLON"} <= scene.accepts:
        return None
    label = Label(scene.span(last), "nothing joins it to what stands before")
    return _error(f"`{_short(last)}` is not expected here", label)


def _bare_step_blamed(scene: Scene) -> Diagnostic | None:
    if scene.at != scene.region.first:
        return None
    return _bare_step(scene)


def _separator(scene: Scene) -> Diagnostic | None:
    """`domain D = grid(x), input a : ...`."""
    if scene.piece.text != "," or not scene.complete:
        return None
    span = scene.span(scene.piece)
    if scene.next is not None and not scene.next.first and not scene.starts(scene.at + 1):
        cure = Help("a tuple stands in brackets: `(a, b)`")
        return _error("`,` is not expected here", Label(span, "not expected"), helps=(cure,))
    return _error(
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
    return _error(
        f"expected `,` before `{_short(piece)}`",
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
    return _error(
        f"expected `{OPENING[stack[-1].text]}` before `{piece.text}`",
        Label(scene.span(piece), f"does not close `{stack[-1].text}`"),
        Label(scene.span(stack[-1]), "opened here"),
    )


SIGNS_BACK = {sign: name for name, sign in SIGN_OF.items()}


def _stray(scene: Scene) -> Diagnostic | None:
    """A `}` too many."""
    if scene.piece.text != "}" or not scene.outside:
        return None
    return _error(
        "this `}` closes nothing", Label(scene.span(scene.piece), "no block is open here")
    )


def _outside(scene: Scene) -> Diagnostic | None:
    """A statement that stands in no block."""
    binding = is_binding(scene.pieces, scene.at)
    if not scene.outside or not scene.starts(scene.at):
        return None
    helps = (Help("it belongs inside the braces of a `block` or a `model`"),)
    if binding:
        helps += (Help("a value for the whole file is `const NAME = ...`"),)
    what = f"`{scene.piece.text}`"
    return _error(
        f"{what} stands outside all blocks",
        Label(scene.span(scene.piece), "not inside a block"),
        helps=helps,
    )


def _unknown_head(scene: Scene) -> Diagnostic | None:
    """`inptu a : D -> R^1`, `modle M { ... }`."""
    first = scene.pieces[scene.region.first]
    inside = scene.accepts == {"EQUAL", "COLON", "COMMA"} and scene.at == scene.region.first + 1
    if not _is_name(first) or not (inside or (scene.outside and scene.at == scene.region.first)):
        return None
    known = STATEMENTS if inside else ITEMS
    near = nearest(first.text, known)
    if near is None:
        known_words = ", ".join(f"`{x}`" for x in known)
        helps = (
            Help(
                f"a statement begins with {known_words}"
                + (" or is `name = value`" if inside else "")
            ),
        )
    else:
        helps = (Help(f"did you mean `{near}`?", scene.span(first), near, "unsafe"),)
    return _error(
        f"unknown statement `{_short(first)}`",
        Label(scene.span(first), "not a statement"),
        helps=helps,
    )


def _quoted_name(scene: Scene) -> Diagnostic | None:
    """`model "FNO" {`."""
    if scene.accepts != {"NAME"} or scene.piece.kind != "text":
        return None
    span, bare = scene.span(scene.piece), scene.piece.text.strip('"')
    cure = Help("write the name without quotes")
    if bare.isidentifier() and bare.isascii() and bare not in KEYWORDS:
        cure = Help(f"write `{bare}`", span, bare, "safe")
    return _error("a name stands without quotes", Label(span, "this is a text"), helps=(cure,))


def _chained(scene: Scene) -> Diagnostic | None:
    """`a < b < c`."""
    signs = ("<", ">", "<=", ">=", "==", "!=", "..")
    if scene.piece.text not in signs or not {"AND", "RANGE", "PIPE"} & scene.accepts:
        return None
    return _error(
        f"`{scene.piece.text}` does not go on from another comparison"
        if scene.piece.text != ".."
        else "a range has two ends",
        Label(scene.span(scene.piece), "one too many"),
        helps=(Help("write `a < b and b < c`"),) if scene.piece.text != ".." else (),
    )


def _no_value(scene: Scene) -> Diagnostic | None:
    """`out = )`."""
    before = scene.previous
    if before is None or not scene.accepts >= VALUE - {"IF"} or before.kind != "sign":
        return None
    if before.text in ("(", "[", ","):
        return None
    return _error(
        f"expected a value after `{before.text}`", Label(scene.span(scene.piece), "not a value")
    )


BLAMED: tuple[Callable[[Scene], Diagnostic | None], ...] = (
    _bad_character, _no_else, _no_edition, _from_after, _bare_step_blamed, _nothing_after,
    _left_open, _side_by_side, _incomplete,
)  # fmt: skip
STORIES: tuple[Callable[[Scene], Diagnostic | None], ...] = (
    _bad_character, _import_from, _import_all, _late_edition, _bad_edition, _python, _walrus, _power,
    _equal_sign, _stage_alone, _reserved, _missing_colon, _arrow, _bare_step, _separator, _stray, _outside,
    _unknown_head, _quoted_name, _mismatch, _missing_comma, _chained, _no_else, _no_value,
)  # fmt: skip


# ---------------------------------------------------------------------- expectations


def _expected(scene: Scene) -> Diagnostic:
    """No story fits: what the grammar would have accepted."""
    shown = _short(scene.piece)
    words = _choices(scene.accepts)
    if not words or len(words) > 3 or scene.complete:
        return _error(
            f"`{shown}` is not expected here", Label(scene.span(scene.piece), "not expected")
        )
    return _error(
        f"expected {_joined(words)} before `{shown}`",
        Label(scene.span(scene.piece), "not expected"),
    )


def _words(accepts: frozenset[str]) -> str:
    return _joined(_choices(accepts)[:3]) or "more"


def _joined(words: list[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1] if words else "")))


def _choices(accepts: frozenset[str]) -> list[str]:
    """The accepted tokens in words, the usual ones of every expression left out."""
    if accepts >= VALUE - {"IF"}:
        return ["a value", *(_word(x) for x in sorted(accepts - VALUE - {"REPEAT", "RESIDUAL"}))]
    if "DOMAIN" in accepts:
        return ["a new statement", "`}`"]
    if "MODEL" in accepts:
        return ["`block`", "`model`", "another item"]
    if accepts >= {"NAME", "REPEAT"}:
        return ["a step"]
    needed = accepts - OPERATOR - POSTFIX - {"CMP"}
    if needed & {"RPAR", "RSQB", "RBRACE", "THEN", "ELSE", "LBRACE"}:
        needed -= {"PIPE"}
    return list(dict.fromkeys(_word(x) for x in sorted(needed or accepts)))


def _word(name: str) -> str:
    if name in SIGN_OF:
        return f"`{SIGN_OF[name]}`"
    return WORD_OF.get(name) or f"`{name.lower()}`"


def _short(piece: Piece) -> str:
    """A piece as it is shown in a message, on one line."""
    text = piece.text.split("\n")[0]
    return text if len(text) <= 40 else text[:37] + "..."
