"""opdsl: neural operators as small, checked programs.

Train an operator on arrays of your own, and use it::

    import numpy as np
    import opdsl

    x = np.linspace(0, 1, 64, endpoint=False)
    a = np.stack([np.sin(2 * np.pi * (x + s)) for s in np.random.rand(200)])[:, None]
    u = np.roll(a, 8, axis=-1)                      # (samples, channels, *grid)
    graph = opdsl.load("specs/fno_burgers.op")      # checked; no tensor exists yet
    run = opdsl.train(graph, data={"u0": a, "u": u}, epochs=20, progress=print)
    prediction = run.predict(a[:5])                 # physical units, at any resolution
    print(run.evaluate({"u0": a, "u": u}))          # errors; `run.folder` has a report page

Programs: `load`, `check`, `compile`, `summary`, `render`, `diff`, `export`, `import_neuralop`.
Data and runs: `open_dataset`, `train`, `resume`, `open_run`, `from_pretrained`, `compare`; a `Run`
has `predict`, `evaluate`, `calibrate`, `report` and `save_pretrained`. What is wrong is raised as
`OpError`; nothing here prints.
"""

import os
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from opdsl.version import VERSION

if TYPE_CHECKING:
    from opdsl.compiler import check, compile, load  # noqa: A004  the verb of the language
    from opdsl.diagnostics import Diagnostic, OpError
    from opdsl.ir.graph import Graph
    from opdsl.nn.points.geometry import Geometry
    from opdsl.nn.points.packed import Packed
    from opdsl.train.engine.callbacks import ActiveRun, Callback
    from opdsl.train.engine.step import TrainStep
    from opdsl.workflow.comparison.compare import Comparison, compare
    from opdsl.workflow.datasets.description import open_dataset
    from opdsl.workflow.errors import ArgumentError, OpWarning
    from opdsl.workflow.experiments.runs_table import RunTable, runs
    from opdsl.workflow.experiments.sweep import open_sweep, sweep
    from opdsl.workflow.experiments.sweep_state import Sweep
    from opdsl.workflow.export import export
    from opdsl.workflow.neuralop import import_neuralop
    from opdsl.workflow.publishing.opening import from_pretrained
    from opdsl.workflow.runs.evaluation import Report
    from opdsl.workflow.runs.opening import open_run
    from opdsl.workflow.runs.run import Run
    from opdsl.workflow.training.own_loop import PreparedTraining, prepare_training
    from opdsl.workflow.training.progress import EpochRecord
    from opdsl.workflow.training.train import resume, train
    from opdsl.workflow.views import diff, render, summary

# pydantic looks through all installed packages for plugins, which `opdsl check` would wait for
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

__version__ = VERSION
__all__ = [
    "ActiveRun",
    "ArgumentError",
    "Callback",
    "Comparison",
    "Diagnostic",
    "EpochRecord",
    "Geometry",
    "Graph",
    "OpError",
    "OpWarning",
    "Packed",
    "PreparedTraining",
    "Report",
    "Run",
    "RunTable",
    "Sweep",
    "TrainStep",
    "__version__",
    "check",
    "compare",
    "compile",
    "diff",
    "export",
    "from_pretrained",
    "import_neuralop",
    "load",
    "open_dataset",
    "open_run",
    "open_sweep",
    "prepare_training",
    "render",
    "resume",
    "runs",
    "summary",
    "sweep",
    "train",
]

HOMES = {
    "ActiveRun": "opdsl.train.engine.callbacks",
    "ArgumentError": "opdsl.workflow.errors",
    "Callback": "opdsl.train.engine.callbacks",
    "Comparison": "opdsl.workflow.comparison.compare",
    "Diagnostic": "opdsl.diagnostics",
    "EpochRecord": "opdsl.workflow.training.progress",
    "Geometry": "opdsl.nn.points.geometry",
    "Graph": "opdsl.ir.graph",
    "OpError": "opdsl.diagnostics",
    "OpWarning": "opdsl.workflow.errors",
    "Packed": "opdsl.nn.points.packed",
    "PreparedTraining": "opdsl.workflow.training.own_loop",
    "Report": "opdsl.workflow.runs.evaluation",
    "Run": "opdsl.workflow.runs.run",
    "RunTable": "opdsl.workflow.experiments.runs_table",
    "Sweep": "opdsl.workflow.experiments.sweep_state",
    "TrainStep": "opdsl.train.engine.step",
    "check": "opdsl.compiler",
    "compare": "opdsl.workflow.comparison.compare",
    "compile": "opdsl.compiler",
    "diff": "opdsl.workflow.views",
    "export": "opdsl.workflow.export",
    "from_pretrained": "opdsl.workflow.publishing.opening",
    "import_neuralop": "opdsl.workflow.neuralop",
    "load": "opdsl.compiler",
    "open_dataset": "opdsl.workflow.datasets.description",
    "open_run": "opdsl.workflow.runs.opening",
    "open_sweep": "opdsl.workflow.experiments.sweep",
    "prepare_training": "opdsl.workflow.training.own_loop",
    "render": "opdsl.workflow.views",
    "resume": "opdsl.workflow.training.train",
    "runs": "opdsl.workflow.experiments.runs_table",
    "summary": "opdsl.workflow.views",
    "sweep": "opdsl.workflow.experiments.sweep",
    "train": "opdsl.workflow.training.train",
}
PACKAGES = ("export", "render", "summary", "train")  # functions, and packages of the same names


def __getattr__(name: str) -> object:
    # lazy: `opdsl --help` must not wait for pydantic, nor `opdsl check` for torch
    if name in PACKAGES:
        return import_module(f"opdsl.{name}")
    if name == "from_neuralop":
        message = "`from_neuralop` is `import_neuralop`, which returns one object"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return import_module("opdsl.migrate.neuralop").from_neuralop
    if name not in HOMES:
        raise AttributeError(f"module `opdsl` has no attribute `{name}`")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)


class _Function(ModuleType):
    """A package of ours that is also a function of the public API: `opdsl.train(...)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __wrapped__(self) -> Any:
        """The function, where `inspect.signature` looks for it."""
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(HOMES[name]), name)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # an attribute of all modules
        return str(self.__wrapped__.__doc__)


class _Package(ModuleType):
    """The module `opdsl`, which makes its packages callable when they are imported.

    The import system binds `opdsl.train` to the package as soon as anything in it is imported, so a
    function of that name would be lost; a package that can be called is both.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _Function
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
