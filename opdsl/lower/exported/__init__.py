"""A module as a file that runs without the language, checked against the module itself.

What comes in: a graph, its module, a resolution. What goes out: a file, and how far it is from the
module at several resolutions and batches.
"""

from opdsl.lower.exported.calls import Call, axis_names, example
from opdsl.lower.exported.export import Report, export
from opdsl.lower.exported.formats import FORMATS
from opdsl.lower.exported.trace import Free, Subject

__all__ = ["FORMATS", "Call", "Free", "Report", "Subject", "axis_names", "example", "export"]
