"""Errors in expressions of losses, blamed where the user can act."""

from __future__ import annotations

from opdsl.diagnostics import Diagnostic, Help, Label, OpError, Span, blame


def problem(
    code: str,
    message: str,
    span: Span,
    label: str = "",
    *,
    frames: tuple[Span, ...] = (),
    notes: tuple[str, ...] = (),
    helps: tuple[str, ...] = (),
) -> OpError:
    """Build an error, to be raised.

    Args:
        code: OP0700 to OP0708.
        message: what is wrong.
        span: where.
        label: of the place.
        frames: calls of equations that lead here, the outermost first.
        notes: why the rule exists.
        helps: what to do.
    """
    labels = blame((Label(span, label),), frames)
    return OpError(Diagnostic(code, message, labels, notes, tuple(Help(x) for x in helps)))
