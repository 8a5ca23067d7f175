"""Reports of the workflow besides `OpError`: wrong calls, and warnings that stop nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

from opdsl.diagnostics import Diagnostic, OpError

Warn = Callable[[Iterable[Diagnostic]], None]  # receives the warnings of a step of the workflow


class ArgumentError(ValueError):
    """The arguments of a call contradict each other, or one of them has no meaning.

    The command line reports it as a wrong command line. What is wrong with a program, data or a run
    is an `OpError` instead.
    """


class OpWarning(UserWarning):
    """A diagnostic that stops nothing, such as samples that look corrupt.

    Attributes:
        diagnostic: the warning with its code and place.

    >>> import warnings, opdsl
    >>> warnings.simplefilter("ignore", opdsl.OpWarning)  # silence them in a script
    """

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(str(OpError(diagnostic)))
        self.diagnostic = diagnostic


def warn_in_python(diagnostics: Iterable[Diagnostic]) -> None:
    """Issue each diagnostic as an `OpWarning`, for the filters of `warnings`."""
    for x in diagnostics:
        warnings.warn(OpWarning(x), stacklevel=2)


def ignore(_: Iterable[Diagnostic]) -> None:
    """Ignore the warnings of a step whose caller reports them itself."""


def once(warn: Warn) -> Warn:
    """Return a receiver that passes on each diagnostic once: a file may be opened several times."""
    seen: set[Diagnostic] = set()

    def pass_on(diagnostics: Iterable[Diagnostic]) -> None:
        new = [x for x in dict.fromkeys(diagnostics) if x not in seen]
        seen.update(new)
        warn(new)

    return pass_on
