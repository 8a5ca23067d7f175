"""Diagnostics of the elaborator: collected, never twice, with blame where the user can act."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from opdsl.diagnostics import Diagnostic, Help, Label, Span, blame


class Poisoned(Exception):  # noqa: N818  a signal, not an error: the fault is already reported
    """The value cannot be made; why has been reported."""


@dataclass(slots=True)
class Problems:
    """The faults found so far."""

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
        blamed = blame(labels, frames)
        self.add(Diagnostic(code, message, blamed, tuple(notes), made))
        return Poisoned()
