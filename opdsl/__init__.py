"""opdsl: neural operators as small, checked text files.

run = opdsl.open_run("runs/darcy")            # a trained run
u = run.predict(a)                            # physical units, arrays or tensors
graph = opdsl.load("specs/fno_darcy.op")      # checked, no tensor exists
model = opdsl.compile("specs/fno_darcy.op")   # a torch module with fresh weights
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdsl.compiler import check, compile, load  # noqa: A004  the verb of the language
    from opdsl.diagnostics import Diagnostic, OpError
    from opdsl.migrate.neuralop import from_neuralop
    from opdsl.nn.points.geometry import Geometry
    from opdsl.nn.points.packed import Packed
    from opdsl.workflow.run import Run, open_run

# pydantic looks through all installed packages for plugins, which `opdsl check` would wait for
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__version__ = "0.1.0"
__all__ = [
    "Diagnostic",
    "Geometry",
    "OpError",
    "Packed",
    "Run",
    "__version__",
    "check",
    "compile",
    "from_neuralop",
    "load",
    "open_run",
]

HOMES = {
    "Diagnostic": "opdsl.diagnostics",
    "Geometry": "opdsl.nn.points.geometry",
    "OpError": "opdsl.diagnostics",
    "Packed": "opdsl.nn.points.packed",
    "Run": "opdsl.workflow.run",
    "from_neuralop": "opdsl.migrate.neuralop",
    "open_run": "opdsl.workflow.run",
}


def __getattr__(name: str) -> object:
    # lazy: `opdsl --help` must not wait for pydantic, nor `opdsl check` for torch
    if name not in __all__:
        raise AttributeError(f"module `opdsl` has no attribute `{name}`")
    return getattr(import_module(HOMES.get(name, "opdsl.compiler")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
