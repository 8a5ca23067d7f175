"""A module as a file that runs without the language, checked against the module itself.

What comes in: a graph, its module, a resolution. What goes out: a file, and how far it is from the
module at several resolutions and batches.
"""

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
