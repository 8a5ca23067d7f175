"""The blame rule: an error inside the library is blamed on the user's own call.

The user's call becomes the first label, the line of the library the second.
"""

from opdsl.diagnostics.model import Label, Span

REQUIRED = "required by this operation"


def blame(labels: tuple[Label, ...], frames: tuple[Span, ...]) -> tuple[Label, ...]:
    """Rearrange the labels so that the first is at a place that the user can change.

    Args:
        frames: the calls that lead to the first label, the user's own first.
    """
    if not labels or not labels[0].span.source.library:
        return labels
    own = [x for x in frames if not x.source.library]
    if not own:
        return labels
    user = tuple(x for x in labels[1:] if not x.span.source.library)
    return (Label(own[-1], labels[0].text), *user, Label(labels[0].span, REQUIRED))
