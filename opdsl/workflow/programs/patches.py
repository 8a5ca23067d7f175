"""The setting `patches`: whether it fits a model, and the module that it makes of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opdsl.diagnostics import fault
from opdsl.ir.graph import Graph
from opdsl.ir.origins import Grid
from opdsl.ir.patches.layout import Decomposition
from opdsl.ir.patches.model import patch_graph, patched_grid
from opdsl.train.config.schema import Settings

if TYPE_CHECKING:
    from opdsl.lower.module import OperatorModule


def decomposition_of(graph: Graph, settings: Settings) -> Decomposition | None:
    """Return how the grid of a model is divided; None where it is not.

    Raises:
        OpError: OP0860, the model has no grid that can be divided.
    """
    patches = settings.patches
    if not patches.used:
        return None
    domain = patched_grid(graph)
    parts = patches.parts
    numbers = (parts,) * domain.dims if isinstance(parts, int) else tuple(parts)
    return Decomposition(numbers, patches.levels, patches.overlap, patches.padding)


def refuse_bad_patches(graph: Graph, settings: Settings) -> None:
    """Refuse a model that cannot run on patches.

    Raises:
        OpError: OP0860, OP0861.
    """
    patches = decomposition_of(graph, settings)
    if patches is not None:
        patch_graph(graph, patches)


def patch_at(
    graph: Graph, settings: Settings, sizes: Mapping[str, Grid]
) -> tuple[Graph, dict[str, Grid]] | None:
    """Return the model on a patch and the points of its domains; None without patches.

    Args:
        graph: the model.
        settings: of the run.
        sizes: points on each axis of each declared domain, whole.
    """
    patches = decomposition_of(graph, settings)
    if patches is None:
        return None
    return patch_graph(graph, patches), dict(sizes) | patches.sizes(patched_grid(graph), sizes)


def refuse_patches(settings: Settings, operation: str, model: str) -> None:
    """Refuse an operation that is not defined for a model on patches.

    Args:
        settings: of its run.
        operation: what cannot be done, `be exported`.
        model: the name of the model.

    Raises:
        OpError: OP0863.
    """
    if settings.patches.used:
        message = f"`{model}` was trained with `patches`, and cannot {operation}"
        helps = (
            "train without `patches`",
            "or predict with the run itself: `opdsl predict` without `--tile`",
        )
        raise fault("OP0863", message, helps=helps, file=model)


def module_of(graph: Graph, settings: Settings) -> OperatorModule:
    """Return the module of a run with fresh weights, on patches if the settings say so.

    Raises:
        OpError: OP0860, OP0861, the model cannot run on patches.
    """
    from opdsl.lower.module import lower
    from opdsl.lower.patches.patched import PatchedModule

    patches = decomposition_of(graph, settings)
    if patches is None:
        return lower(graph)
    return PatchedModule(graph, patches, settings.patches.at_once)
