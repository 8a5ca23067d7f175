"""Levels of warnings, from comments in the program, options of the command, and defaults.

`allow` suppresses a warning, `warn` reports it, `deny` makes it an error. The narrowest comment
holds, then the comment for the file, then the option, then the default. Errors have no level.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from opdsl.checks.instructions import (
    LINTS,
    Instruction,
    by_code,
    code_of,
    faults,
    instructions,
)
from opdsl.diagnostics import CODES, Diagnostic, Help, Label, Source
from opdsl.diagnostics.codes import LEVELS, Level

LevelOptions = Mapping[str, Level]
OF_THE_TEXT = frozenset({"OP0401", "OP0402", "OP0403", "OP0404", "OP0405", "OP0406", "OP0415"})


def levelled(
    diagnostics: Sequence[Diagnostic], source: Source, options: LevelOptions, *, whole: bool
) -> list[Diagnostic]:
    """Apply the configured levels to diagnostics, and add those about the configuration.

    Args:
        diagnostics: all errors and warnings of the program.
        source: the program; warnings about an imported file follow the comments there.
        options: levels by code, for whole programs.
        whole: whether no further diagnostics of the program are possible. With other parameters or
            for its other models there may be more, which a comment that seems useless may concern.
    """
    used: set[Instruction] = set()
    result = _judged(diagnostics, source, options, used)
    judged = LINTS.values() if whole else OF_THE_TEXT
    useless = _useless(source, used, judged)
    return result + _judged([*faults(source), *useless], source, options, used)


def levels(source: Source, options: LevelOptions) -> dict[str, Level]:
    """Return the level that each warning has in the whole file, by slug."""
    in_file = {x.code: x.level for x in instructions(source) if x.last is None}
    return {slug: in_file.get(k) or options.get(k) or _default(k) for slug, k in LINTS.items()}


def chosen(
    allow: Sequence[str], warn: Sequence[str], deny: Sequence[str]
) -> Iterator[tuple[str, Level]]:
    """Yield levels by code from `--allow`, `--warn`, `--deny`, the stricter ones later.

    Raises:
        KeyError: there is no such warning; the word is its argument.
    """
    for level, words in zip(LEVELS, (allow, warn, deny), strict=True):
        for word in words:
            code = code_of(word)
            if code is None:
                raise KeyError(word)
            yield code, level


def _judged(
    diagnostics: Sequence[Diagnostic], source: Source, options: LevelOptions, used: set[Instruction]
) -> list[Diagnostic]:
    """Apply the levels to diagnostics; the instructions that took effect are added to `used`."""
    result = []
    for x in diagnostics:
        if CODES[x.code].level is None:
            result.append(x)
            continue
        instruction = _wish(x, source)
        used |= {instruction} if instruction else set()
        level = instruction.level if instruction else options.get(x.code) or _default(x.code)
        if level != "allow":
            result.append(replace(x, severity="error" if level == "deny" else "warning"))
    return result


def _wish(diagnostic: Diagnostic, source: Source) -> Instruction | None:
    """Find the narrowest instruction for a diagnostic, in the file that it is about."""
    if diagnostic.primary is None:
        candidates = by_code(source).get(diagnostic.code, [])
        fitting = [x for x in candidates if x.last is None]
    else:
        place = diagnostic.primary.span
        candidates = by_code(place.source).get(diagnostic.code, [])
        lines = (place.line, place.end_line) if candidates else (0, 0)
        fitting = [x for x in candidates if x.covers(*lines)]
    return min(reversed(fitting), key=lambda x: x.extent, default=None)


def _default(code: str) -> Level:
    return CODES[code].level or "deny"


def _useless(
    source: Source, used: Collection[Instruction], judged: Collection[str]
) -> list[Diagnostic]:
    return [
        Diagnostic(
            "OP0409",
            f"nothing {x.lines()} gives the warning `{CODES[x.code].slug}`",
            (Label(x.span, "allows nothing"),),
            helps=(Help("remove it"),),
            severity="warning",
        )
        for x in instructions(source)
        if x.level == "allow" and x.code in judged and x not in used
    ]
