"""Diagnostics of the elaborator: collected, never twice, with blame where the user can act.

The blame rule: when the violated rule stands in a library block, the call in the user's own file is
the primary place and the library's line the secondary one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opdsl.diagnostics import Diagnostic, Help, Label, Span

REQUIRED = "required by this operation"


class Poisoned(Exception):  # noqa: N818  a signal, not an error: the fault is already reported
    """The value cannot be made; why has been reported."""


@dataclass(slots=True)
class Problems:
    """The faults found so far.

    Attributes:
        library: names of the sources that are not the user's.
    """

    library: set[str] = field(default_factory=set)
    found: list[Diagnostic] = field(default_factory=list)
    seen: set[tuple[str, str, Span | None]] = field(default_factory=set)

    def add(self, diagnostic: Diagnostic) -> None:
        """Keep it, unless it was said before at the same place."""
        place = diagnostic.labels[0].span if diagnostic.labels else None
        key = (diagnostic.code, diagnostic.message, place)
        if key not in self.seen:
            self.seen.add(key)
            self.found.append(diagnostic)

    def fail(
        self,
        code: str,
        message: str,
        *labels: Label,
        frames: tuple[Span, ...] = (),
        notes: Iterable[str] = (),
        helps: Iterable[str | Help] = (),
    ) -> Poisoned:
        """Report an error; the result is to be raised.

        Args:
            frames: the calls that lead here, the user's first.
        """
        made = tuple(Help(x) if isinstance(x, str) else x for x in helps)
        blamed = self.blame(labels, frames)
        self.add(Diagnostic(code, message, blamed, tuple(notes), made))
        return Poisoned()

    def blame(self, labels: tuple[Label, ...], frames: tuple[Span, ...]) -> tuple[Label, ...]:
        """The labels, with the user's own call first if the rule stands in the library."""
        if not labels or labels[0].span.source.name not in self.library:
            return labels
        own = [x for x in frames if x.source.name not in self.library]
        if not own:
            return labels
        return (Label(own[-1], labels[0].text), Label(labels[0].span, REQUIRED))
