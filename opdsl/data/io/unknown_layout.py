"""`UnknownLayoutError`: a file whose arrays do not say which of them are inputs and outputs."""

from opdsl.diagnostics import Help, OpError, fault

STATE_FIELDS = (
    "say which arrays are inputs and outputs in the program: "
    'data { path = "FILE"  fields { NAME = "ARRAY" } }'
)


class UnknownLayoutError(OpError):
    """OP0610 about a file that a format recognises, and whose arrays fit none of its layouts.

    The arrays may be readable all the same; `opdsl.data.io.dataset` adds a listing of them.
    """


def unknown_layout(
    message: str, source: str, *helps: str | Help, notes: tuple[str, ...] = ()
) -> UnknownLayoutError:
    """Make the OP0610 about a file of unknown layout."""
    error = fault("OP0610", message, notes=notes, helps=helps, file=source)
    return UnknownLayoutError(*error.diagnostics)
