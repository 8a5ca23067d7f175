"""A module as a file that runs without the language, compared with the module before it is kept."""

from opdsl.lower.exported.calls import ExportCall, axis_names, example
from opdsl.lower.exported.export import ExportReport, export
from opdsl.lower.exported.formats import FORMATS
from opdsl.lower.exported.trace import Free, Subject

__all__ = [
    "FORMATS",
    "ExportCall",
    "ExportReport",
    "Free",
    "Subject",
    "axis_names",
    "example",
    "export",
]
