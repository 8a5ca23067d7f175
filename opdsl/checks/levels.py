"""Levels of warnings: comments in the program and options of the command.

    u = a |> conv(out = 4)  # op: allow(not-convergent)

A comment behind code is for its line, a comment on a line of its own for the next line, and one
above everything else for the file. `allow` says nothing, `warn` warns, `deny` makes an error of it.
Errors have no level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from opdsl.diagnostics import CODES, Diagnostic, Help, Label, Source, Span, did_you_mean
from opdsl.syntax.scan import Piece, pieces

COMMENT = re.compile(r"#\s*op:\s*(?P<level>\w+)\s*\((?P<names>[^)]*)\)")
NAME = re.compile(r"[\w-]+")
LEVELS = ("allow", "warn", "deny")
LINTS = {x.slug: k for k, x in CODES.items() if k.startswith("OP04")}


@dataclass(frozen=True, slots=True)
class Wish:
    """A level for a code, on one line or (0) in the whole file."""

    level: str
    code: str
    line: int
    span: Span


def levelled(
    found: Sequence[Diagnostic], source: Source, options: Mapping[str, str] | None = None
) -> list[Diagnostic]:
    """The diagnostics at the levels that are wished for.

    Args:
        found: all that is to be said, no error among it.
        source: the program; only its own comments count.
        options: levels by code, for the whole program; a comment on a line goes before.
    """
    wishes, faults = _wishes(source)
    used: set[Wish] = set()
    kept = []
    for diagnostic in found:
        level, wish = _level(diagnostic, wishes, options or {})
        used |= {wish} if wish else set()
        if level != "allow":
            kept.append(replace(diagnostic, severity="error" if level == "deny" else "warning"))
    useless = [_useless(x) for x in wishes if x.level == "allow" and x not in used]
    rest = [(x, _level(x, wishes, options or {})[0]) for x in (*faults, *useless)]
    return [*kept, *(x for x, level in rest if level != "allow")]


def code_of(word: str) -> str | None:
    """The code of a warning, by its slug or its number."""
    code = LINTS.get(word, word.upper())
    return code if code in LINTS.values() else None


def _level(
    diagnostic: Diagnostic, wishes: list[Wish], options: Mapping[str, str]
) -> tuple[str, Wish | None]:
    lines = {x.span.line for x in diagnostic.labels[:1]}
    fitting = [x for x in wishes if x.code == diagnostic.code and x.line in lines | {0}]
    if not fitting:
        return options.get(diagnostic.code, "warn"), None
    best = max(fitting, key=lambda x: x.line)
    return best.level, best


def _wishes(source: Source) -> tuple[list[Wish], list[Diagnostic]]:
    wishes: list[Wish] = []
    faults: list[Diagnostic] = []
    tokens = pieces(source.text)
    for i, piece in enumerate(tokens):
        match = COMMENT.match(piece.text) if piece.kind == "comment" else None
        if match is None:
            continue
        line = _line(source, tokens, i)
        for name in NAME.finditer(match["names"]):
            start = piece.start + match.start("names") + name.start()
            span = source.span(start, start + len(name[0]))
            code = code_of(name[0])
            if code is None or match["level"] not in LEVELS:
                faults.append(_unknown(match["level"], name[0], span))
            else:
                wishes.append(Wish(match["level"], code, line, span))
    return wishes, faults


def _line(source: Source, tokens: list[Piece], i: int) -> int:
    """The line that a comment is for; 0 above everything else."""
    here = source.text.count("\n", 0, tokens[i].start) + 1
    if not tokens[i].first:
        return here
    behind = next((x for x in tokens[i + 1 :] if x.kind != "comment"), None)
    if all(x.kind == "comment" for x in tokens[:i]) or behind is None:
        return 0
    return source.text.count("\n", 0, behind.start) + 1


def _unknown(level: str, name: str, span: Span) -> Diagnostic:
    if level not in LEVELS:
        message, near = f"unknown level `{level}`", did_you_mean(level, LEVELS)
    else:
        message, near = f"there is no warning `{name}`", did_you_mean(name, list(LINTS))
    helps = near or (f"warnings: {', '.join(LINTS)}",)
    made = tuple(Help(x) if isinstance(x, str) else x for x in helps)
    return Diagnostic("OP0410", message, (Label(span, "not found"),), (), made, severity="warning")


def _useless(wish: Wish) -> Diagnostic:
    where = "in this file" if wish.line == 0 else f"on line {wish.line}"
    return Diagnostic(
        "OP0409",
        f"nothing {where} gives the warning `{CODES[wish.code].slug}`",
        (Label(wish.span, "allows nothing"),),
        helps=(Help("remove the comment"),),
        severity="warning",
    )


def chosen(
    allow: Sequence[str], warn: Sequence[str], deny: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Levels by code, of the options `--allow`, `--warn`, `--deny`.

    Raises:
        KeyError: there is no such warning; the word is its argument.
    """
    for level, words in zip(LEVELS, (allow, warn, deny), strict=True):
        for word in words:
            code = code_of(word)
            if code is None:
                raise KeyError(word)
            yield code, level
