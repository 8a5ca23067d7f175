"""The place of a node in a sharded call: its step, its rule, and the grids at its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from opdsl.ir.origins import Grid
from opdsl.ir.sharding.rules import Rule
from opdsl.lower.steps import NodeStep
from opdsl.parallel.exchanges import SpaceGroup

StepArguments = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class NodeSite:
    """A node in a sharded call.

    Attributes:
        step: the node and its module.
        rule: how its block is computed on parts.
        space: the processes that share the samples.
        grids: the whole grid of each input, and last that of the result.
        axes: the sharded axis of each input, and last of the result; None: all processes have it.
    """

    step: NodeStep
    rule: Rule
    space: SpaceGroup
    grids: tuple[Grid, ...]
    axes: tuple[int | None, ...]

    @property
    def axis(self) -> int:
        """The sharded axis of the first sharded end of the node."""
        return next(x for x in self.axes if x is not None)

    @property
    def points(self) -> int:
        """The points of the sharded axis on the first sharded end of the node."""
        return next(n[x] for x, n in zip(self.axes, self.grids, strict=True) if x is not None)

    @property
    def result_points(self) -> int:
        """The points of the sharded axis of the result."""
        axis = self.axes[-1]
        assert axis is not None, "the result is sharded"
        return self.grids[-1][axis]

    @property
    def result_grid(self) -> Grid:
        """The own part of the grid of the result."""
        axis, grid = self.axes[-1], self.grids[-1]
        if axis is None:
            return grid
        return (*grid[:axis], len(self.space.own(grid[axis])), *grid[axis + 1 :])


def own_forward(module: nn.Module, *inputs: Any) -> Tensor:
    """Run the forward pass of the class of a module, which a handler replaces, without hooks."""
    return cast("Tensor", type(module).forward(module, *inputs))


def by_class(table: Mapping[type[nn.Module], T], module: nn.Module) -> T | None:
    """Return the entry for the class of a module, or for a class that it extends, as FSDP does."""
    return next((table[x] for x in type(module).__mro__ if x in table), None)


def of_class(table: Mapping[type[nn.Module], T], module: nn.Module) -> T:
    """Return the entry for the class of a module, which must have one."""
    entry = by_class(table, module)
    assert entry is not None, f"{type(module).__name__} has a rule and no entry"
    return entry


Handler = Callable[[NodeSite, nn.Module, Sequence[Tensor], StepArguments], Tensor]
