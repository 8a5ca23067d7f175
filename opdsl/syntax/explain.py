"""From the place where the parser stopped to the diagnostic, and to the text to read next."""

from __future__ import annotations

from dataclasses import replace

from opdsl.diagnostics import Source
from opdsl.syntax.error_context import scene_of
from opdsl.syntax.error_rules import STORIES
from opdsl.syntax.expected import expected
from opdsl.syntax.lalr import Refused
from opdsl.syntax.recovery_blanking import Finding, blank, extent
from opdsl.syntax.unfinished import UNFINISHED, at_the_end, unclosed_body


def explain(source: Source, text: str, error: Refused) -> Finding:
    """The finding for a text that the grammar refuses."""
    scene = scene_of(source, text, error)
    if scene.at == len(scene.pieces):
        return at_the_end(scene)
    if scene.level_unclosed:
        return unclosed_body(scene)
    told = (story(scene) for story in (UNFINISHED if scene.unfinished else STORIES))
    diagnostic = next((x for x in told if x), None) or expected(scene)
    finding = blank(text, scene.pieces, extent(scene), diagnostic)
    swallows = scene.piece.kind == "open_text" and scene.next is None
    return replace(finding, at_end=True) if swallows else finding
