"""Formats outside of the language: JSON, Python, flat programs, differences, compiled folders."""

from opdsl.export.diff import Difference, compare
from opdsl.export.folder import CompiledFolder, load_compiled, save_compiled
from opdsl.export.ir import to_json
from opdsl.export.program import to_program
from opdsl.export.python import emit_python
from opdsl.export.reading import from_json, read_graph
from opdsl.export.schema import blocks_schema, ir_schema

__all__ = [
    "CompiledFolder",
    "Difference",
    "blocks_schema",
    "compare",
    "emit_python",
    "from_json",
    "ir_schema",
    "load_compiled",
    "read_graph",
    "save_compiled",
    "to_json",
    "to_program",
]
