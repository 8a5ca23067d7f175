"""What leaves the language: JSON, Python source, a folder with weights."""

from opdsl.export.folder import Compiled, load_compiled, save_compiled
from opdsl.export.ir import to_json
from opdsl.export.python import emit_python

__all__ = ["Compiled", "emit_python", "load_compiled", "save_compiled", "to_json"]
