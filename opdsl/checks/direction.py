"""OP0415: characters in a program that change the order in which its text is shown."""

from __future__ import annotations

from collections.abc import Iterator

from opdsl.checks.warned import on_purpose
from opdsl.diagnostics import Diagnostic, Help, Label, Source
from opdsl.diagnostics.terminal import BIDIRECTIONAL


def bidirectional(source: Source) -> Iterator[Diagnostic]:
    """Warn of the first such character of each line; in code it is an error already, OP0102."""
    if source.text.isascii():
        return
    lines: set[int] = set()
    for match in BIDIRECTIONAL.finditer(source.text):
        span = source.span(*match.span())
        if span.line in lines:
            continue
        lines.add(span.line)
        yield Diagnostic(
            "OP0415",
            f"the character U+{ord(match[0]):04X} changes the order in which this line is shown",
            (Label(span, "an editor may show what follows elsewhere"),),
            helps=(Help(f"remove it, or {on_purpose('OP0415')}"),),
            severity="warning",
        )
