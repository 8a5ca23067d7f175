"""Error recovery: the statement to blame is blanked, and the text is parsed again.

The result is the tree of what can be read, and one diagnostic for each wrong statement. Blanks keep
every offset, so that all spans stay right; names that blanked statements declared are listed in
`File.lost`, so that they are not reported as unknown.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opdsl.diagnostics import Diagnostic, OpError, Source
from opdsl.syntax.build import TreeBuilder
from opdsl.syntax.grammar import machine
from opdsl.syntax.lalr import Refused
from opdsl.syntax.scan import plain
from opdsl.syntax.tree import Edition, File, Item

if TYPE_CHECKING:
    from opdsl.syntax.recovery_blanking import Finding

MOST = 20  # diagnostics of one file
BUDGET = 2**22  # characters parsed in all; every mistake costs one more pass over the text


def read(source: Source) -> tuple[File, tuple[Diagnostic, ...]]:
    """Parse a program into its partial tree and its syntax errors."""
    machine()  # first, so that a fault in the tables is never taken for a mistake of the user
    text = plain(source.text)
    faults: list[Diagnostic] = []
    lost: list[str] = []
    rounds = max(1, min(2 * MOST, BUDGET // (len(text) + 1)))
    ended = False
    for _ in range(rounds):
        attempt = _attempt(source, text)
        if isinstance(attempt, tuple):
            edition, items = attempt
            return File(source, edition, items, tuple(lost)), tuple(faults)
        if len(faults) == MOST:
            break
        if not (ended and attempt.at_end):
            faults.append(attempt.diagnostic)
        ended = ended or attempt.at_end
        lost += attempt.lost
        text = attempt.text
    return File(source, None, (), tuple(lost)), tuple(faults)


def _attempt(source: Source, text: str) -> tuple[Edition | None, tuple[Item, ...]] | Finding:
    """Parse a text into edition and items, or return its first mistake and the text without it."""
    parser = machine()
    try:
        with _nothing_collected():
            return TreeBuilder(source).file(parser.parse(text, start="start"))
    except Refused as error:
        from opdsl.syntax.explain import explain  # loaded only for programs with mistakes

        return explain(source, text, error)
    except OpError as error:
        from opdsl.syntax.recovery_blanking import refused

        return refused(text, error.diagnostics[0])


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Pause garbage collection: a parse keeps all it makes, and collecting costs half its time."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
