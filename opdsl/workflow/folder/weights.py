"""The module of a run with its weights."""

from __future__ import annotations

from pathlib import Path

from opdsl.ir.graph import Graph
from opdsl.lower.module import OperatorModule
from opdsl.summary.memory_check import refuse_too_large, weight_bytes
from opdsl.train.config.schema import Settings
from opdsl.train.run.trained import WeightsInfo, load_trained
from opdsl.workflow.programs.patches import module_of


def trained_module(
    folder: Path, graph: Graph, settings: Settings, *, last: bool = False
) -> tuple[OperatorModule, WeightsInfo]:
    """Make the module and load the best weights of the run, or the last.

    Raises:
        OpError: OP0621, OP0626, OP0627, OP0630.
    """
    refuse_too_large(graph.name, {"weights": weight_bytes(graph)})
    module = module_of(graph, settings)
    return module, load_trained(folder, module, "last" if last else "best")
