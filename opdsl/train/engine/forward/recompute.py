"""Which results of a module are computed again for the gradient: the setting `recompute`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import nn

from opdsl.diagnostics import fault
from opdsl.train.config.schema import Settings
from opdsl.train.engine.rollout import Rollout
from opdsl.train.engine.weights.paths import any_matches, refuse_unknown_paths


@runtime_checkable
class RecomputesResults(Protocol):
    """A module that can compute results of its parts again instead of keeping them."""

    def recompute(self, wanted: Any) -> None:
        """Compute those of the parts at the wanted paths again; None: keep all.

        Args:
            wanted: a function from a path to whether it is wanted, or what the planner of the
                module's memory has returned.
        """


def recomputes_calls(module: nn.Module, settings: Settings, loop: Rollout | None) -> bool:
    """Return whether each call of the module is computed again, as in a rollout."""
    whole = loop is not None or not isinstance(module, RecomputesResults)
    return settings.recompute is True and whole


@contextmanager
def recomputed_parts(module: nn.Module, settings: Settings, loop: Rollout | None) -> Iterator[None]:
    """Let the module compute parts of it again in the block.

    Raises:
        OpError: OP0730, a path names no part; OP0731, the module knows no parts.
    """
    refuse_unknown_paths(module, settings)
    wanted = settings.recompute
    if not wanted or recomputes_calls(module, settings, loop):
        yield
        return
    if not isinstance(module, RecomputesResults):
        message = "`recompute` by paths needs a module that a program describes"
        raise fault("OP0731", message, helps=("set `recompute = true`",))
    if wanted is True:
        module.recompute(lambda _: True)
    else:
        module.recompute(lambda path: any_matches(wanted, path))
    try:
        yield
    finally:
        module.recompute(None)
