"""Collection of the elaborator's diagnostics, each once, blamed where the user can act."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from opdsl.diagnostics import Diagnostic, Help, Label, Span, blame


class Poisoned(Exception):  # noqa: N818  a signal, not an error: the fault is already reported
    """The value does not exist; the reason has been reported."""


class Reporter(Protocol):
    """Reports errors at the place in the program that is being evaluated."""

    def fail(
        self,
        code: str,
        message: str,
        *labels: Label,
        notes: Iterable[str] = (),
        helps: Iterable[str | Help] = (),
    ) -> Poisoned:
        """Report an error, blamed on the calls that lead here; the result is to be raised."""


@dataclass(slots=True, eq=False, repr=False)
class Problems:
    """The diagnostics collected so far, each once."""

    diagnostics: list[Diagnostic] = field(default_factory=list)
    seen: set[tuple[str, str, Span | None]] = field(default_factory=set)

    def add(self, diagnostic: Diagnostic) -> None:
        """Append a diagnostic, unless an equal one was reported at the same place before."""
        place = diagnostic.labels[0].span if diagnostic.labels else None
        key = (diagnostic.code, diagnostic.message, place)
        if key not in self.seen:
            self.seen.add(key)
            self.diagnostics.append(diagnostic)

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
        cures = tuple(Help(x) if isinstance(x, str) else x for x in helps)
        blamed = blame(labels, frames)
        self.add(Diagnostic(code, message, blamed, tuple(notes), cures))
        return Poisoned()
