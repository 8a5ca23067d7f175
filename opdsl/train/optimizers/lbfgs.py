"""L-BFGS: steps along an approximate Newton direction, for small problems and large batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opdsl.train.optimizers import OptimizerEntry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _build(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], settings: Any
) -> Optimizer:
    from opdsl.train.optimizers.algorithms.decayed_lbfgs import DecayedLBFGS

    return DecayedLBFGS(
        parameters,
        lr=settings.lr,
        max_iter=settings.iterations,
        history_size=settings.history,
        line_search_fn=None if settings.line_search == "none" else settings.line_search,
        weight_decay=settings.weight_decay,
    )


def _moments(settings: Any) -> int:
    """Return the direction, the gradient before, and the pairs of one step at least."""
    return 2 + 2 * int(min(settings.history, settings.iterations))


OPTIMIZER = OptimizerEntry(
    """Steps along the direction that the last pairs of steps and gradients give Newton's method.

    Each step evaluates the loss of its batch several times, so it suits batches that are all of the
    data, or many of them: `lr = 1.0`, `batch` as large as memory allows, the rest by `accumulate`.
    Layers that draw random numbers draw equal ones in all evaluations of a step.

    Source: Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization".
    """,
    _build,
    uses=("history", "iterations", "line_search"),
    moments=_moments,
    repeats=True,
)
