"""Stories of what was not finished: a statement, a bracket, a block, the file.

What comes in: a scene whose piece begins something new, or the end of the file. What goes out: the
diagnostic that blames what stands before.
"""

from __future__ import annotations

from collections.abc import Callable

from opdsl.diagnostics import Diagnostic, Label
from opdsl.syntax.error_context import Scene
from opdsl.syntax.error_rules import bad_character, bare_step, edition, late_from, no_else
from opdsl.syntax.expected import error, short, words
from opdsl.syntax.recovery_blanking import Finding, blank
from opdsl.syntax.scan import Piece
from opdsl.syntax.words import CLOSING, KEYWORDS, OPENING

# ------------------------------------------------------------------ blocks left open


def at_the_end(scene: Scene) -> Finding:
    """The text ends too early."""
    if not scene.pieces:
        label = Label(scene.source.span(0, 0), "nothing is here")
        return Finding(error("expected a value", label), "")
    stack = scene.open(len(scene.pieces))
    if not stack:
        last = scene.pieces[-1]
        told = error(_after(scene, last), Label(scene.span(last), "nothing follows"))
        region = scene.regions[-1]
        return blank(scene.text, scene.pieces, (region.first, region.whole), told)
    text = "text" if scene.source.name.startswith("<") else "file"
    told = error(
        f"this {text} ends inside an open {BRACKETS[stack[-1].text]}",
        Label(scene.span(scene.pieces[-1]), f"expected `{OPENING[stack[-1].text]}` after this"),
        Label(scene.span(stack[-1]), "opened here"),
        code="OP0103",
    )
    if scene.complete:
        return Finding(told, scene.text + "}" * sum(x.text == "{" for x in stack), at_end=True)
    region = scene.regions[-1]
    found = blank(scene.text, scene.pieces, (region.first, region.end), told)
    return Finding(told, found.text, found.lost, at_end=True)


BRACKETS = {"{": "block", "(": "bracket", "[": "list"}


def unclosed_body(scene: Scene) -> Finding:
    """An item begins inside a block: a `}` is missing before it."""
    braces = [x for x in scene.open(scene.at) if x.text == "{"]
    told = error(
        "this block is not closed",
        Label(scene.span(scene.piece), "expected `}` before this"),
        *(Label(scene.span(x), "opened here") for x in braces[-1:]),
        code="OP0103",
    )
    end, count = scene.last.end, len(braces)
    if scene.text[end : end + count].isspace():
        return Finding(told, scene.text[:end] + "}" * count + scene.text[end + count :])
    return blank(scene.text, scene.pieces, (scene.region.first, scene.region.whole), told)


# -------------------------------------------------- the statement before is incomplete


def _left_open(scene: Scene) -> Diagnostic | None:
    begin, following = scene.regions[scene.culprit : scene.culprit + 2]
    stack: list[Piece] = []
    for x in scene.pieces[begin.first : begin.end]:
        if x.text in OPENING:
            stack.append(x)
        elif x.text in CLOSING and stack:
            stack.pop()
    if not stack or begin.level == "head":
        return None
    first = scene.pieces[following.first]
    return error(
        f"this `{stack[-1].text}` is never closed",
        Label(scene.span(stack[-1]), "opened here"),
        Label(scene.span(first), f"expected `{OPENING[stack[-1].text]}` before this"),
    )


def _nothing_after(scene: Scene) -> Diagnostic | None:
    """`u = a +`."""
    last = scene.last
    if last.text not in DANGLING or last.kind == "text":
        return None
    return error(_after(scene, last), Label(scene.span(last), "nothing follows"))


def _after(scene: Scene, last: Piece) -> str:
    """What had to follow the last piece of a statement."""
    if last.text == "|>":
        return "expected a step after `|>`"
    if last.text in VALUE_FOLLOWS and last.kind != "text":
        return f"expected a value after `{last.text}`"
    return f"expected {words(scene.accepts)} after `{short(last)}`"


VALUE_FOLLOWS = {
    "=", "+", "-", "*", "/", "%", "<", ">", "==", "!=", "<=", ">=", "..", "and", "or", "not",
    "if", "then", "else", "repeat", "require",
}  # fmt: skip
DANGLING = VALUE_FOLLOWS | {":", "->", "|>", "^", "|", "."} | KEYWORDS - {"true", "false", "shared"}


def _incomplete(scene: Scene) -> Diagnostic | None:
    last = scene.last
    return error(
        f"expected {words(scene.accepts)} after `{short(last)}`",
        Label(scene.span(last), "the statement ends here"),
    )


def _side_by_side(scene: Scene) -> Diagnostic | None:
    """`u = 64x`: the name begins a new statement, which was not meant."""
    last = scene.last
    if last.kind != "name" or last.first or not {"EQUAL", "COLON"} <= scene.accepts:
        return None
    label = Label(scene.span(last), "nothing joins it to what stands before")
    return error(f"`{short(last)}` is not expected here", label)


def _bare_step_blamed(scene: Scene) -> Diagnostic | None:
    if scene.at != scene.region.first:
        return None
    return bare_step(scene)


def _no_edition(scene: Scene) -> Diagnostic | None:
    """`edition`, and nothing behind it."""
    if scene.last.text != "edition":
        return None
    return edition(Label(scene.span(scene.last), "expected a year after this"))


def _from_after(scene: Scene) -> Diagnostic | None:
    """`import A from std.pointwise`, noticed only at the next statement."""
    return late_from(scene, scene.regions[scene.culprit])


UNFINISHED: tuple[Callable[[Scene], Diagnostic | None], ...] = (
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
