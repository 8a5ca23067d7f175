"""Diagnostics of mistakes of the user: as data (`model`), by code (`codes`), as text (`carets`)."""

from opdsl.diagnostics.blame import blame
from opdsl.diagnostics.codes import CODES, Code, Exit
from opdsl.diagnostics.model import (
    Diagnostic,
    Help,
    Label,
    OpError,
    Severity,
    Source,
    Span,
    fault,
)
from opdsl.diagnostics.suggest import did_you_mean, nearest

__all__ = [
    "CODES",
    "Code",
    "Diagnostic",
    "Exit",
    "Help",
    "Label",
    "OpError",
    "Severity",
    "Source",
    "Span",
    "blame",
    "did_you_mean",
    "fault",
    "nearest",
]
