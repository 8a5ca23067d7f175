"""From the place where the parser stopped to the diagnostic and the next text to parse."""

from __future__ import annotations

from dataclasses import replace

from opdsl.diagnostics import Source
from opdsl.syntax.error_context import context_of
from opdsl.syntax.error_rules import RULES
from opdsl.syntax.expected import expected
from opdsl.syntax.lalr import Refused
from opdsl.syntax.recovery_blanking import Finding, blank, extent
from opdsl.syntax.unfinished import UNFINISHED, at_the_end, unclosed_body


def explain(source: Source, text: str, error: Refused) -> Finding:
    """Explain why the grammar refuses a text, as a finding."""
    context = context_of(source, text, error)
    if context.at == len(context.pieces):
        return at_the_end(context)
    if context.level_unclosed:
        return unclosed_body(context)
    diagnostics = (rule(context) for rule in (UNFINISHED if context.unfinished else RULES))
    diagnostic = next((x for x in diagnostics if x), None) or expected(context)
    finding = blank(text, context.pieces, extent(context), diagnostic)
    swallows = context.piece.kind == "open_text" and context.next is None
    return replace(finding, at_end=True) if swallows else finding
