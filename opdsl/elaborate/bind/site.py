"""The site of a definition: the calls that lead to it, and where its errors are reported."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

from opdsl.diagnostics import Help, Label, Span
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.records import record
from opdsl.syntax import tree


@record
class Site:
    """A definition in the place from which it is called.

    Attributes:
        frames: the calls that lead here, the user's first.
        places: where each domain, and each promise of one, is declared.
    """

    definition: tree.Definition
    problems: Problems
    frames: tuple[Span, ...]
    places: MutableMapping[str, Span]

    @property
    def title(self) -> str:
        """The name of the definition."""
        return self.definition.name.text

    def fail(
        self,
        code: str,
        message: str,
        *labels: Label,
        notes: Iterable[str] = (),
        helps: Iterable[str | Help] = (),
    ) -> Poisoned:
        """Report an error, blamed on the calls that lead here; the result is to be raised."""
        return self.problems.fail(
            code, message, *labels, frames=self.frames, notes=notes, helps=helps
        )
