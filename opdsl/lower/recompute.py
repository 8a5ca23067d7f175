"""Segments of a graph whose inner results are computed again for the gradient, not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, isqrt
from typing import Any, Protocol, runtime_checkable

import torch
from torch.utils.checkpoint import checkpoint

from opdsl.lower.plan.schedule import ScheduledStep, Unit
from opdsl.nn.recomputation import recomputed_operations

Wanted = Callable[[str], bool]
RunUnit = Callable[[Unit, list[Any]], None]


class RunsUnits(Protocol):
    """A part of a schedule that runs its units."""

    def run(self, run_unit: RunUnit, values: list[Any]) -> None:
        """Run the units; `values` gets what they leave."""


@runtime_checkable
class CutsSchedule(Protocol):
    """A way to cut a schedule into parts, such as that of a plan of memory."""

    def cut(
        self, units: Sequence[Unit], steps: Sequence[ScheduledStep], inputs: int
    ) -> Iterable[RunsUnits]:
        """Cut the schedule of a graph whose first values are `inputs` inputs."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Units that run one after the other.

    Attributes:
        units: the units.
        recomputed: whether the values within are computed again for the gradient.
        reads: numbers of the values from before that the units read.
        writes: numbers of the values that they leave for later units.
        dead_after: numbers of the values that no later unit reads.
    """

    units: Iterable[Unit]
    recomputed: bool
    reads: tuple[int, ...] = ()
    writes: tuple[int, ...] = ()
    dead_after: tuple[int, ...] = ()

    def run(self, run_unit: RunUnit, values: list[Any]) -> None:
        """Run the units; `values` gets what they leave."""
        if not self.recomputed:
            for unit in self.units:
                run_unit(unit, values)
            return

        def compute(*operands: Any) -> tuple[Any, ...]:
            own: list[Any] = [None] * len(values)
            for n, x in zip(self.reads, operands, strict=True):
                own[n] = x
            with recomputed_operations():
                for unit in self.units:
                    run_unit(unit, own)
            return tuple(own[n] for n in self.writes)

        results = checkpoint(compute, *(values[n] for n in self.reads), use_reentrant=False)
        for n, x in zip(self.writes, results, strict=True):
            values[n] = x
        for n in self.dead_after:
            values[n] = None


@dataclass(frozen=True, slots=True)
class SegmentPlan:
    """Segments of a schedule that are computed again, as a plan of memory has chosen them.

    Attributes:
        again: number of the first unit of each segment, and of the one behind its last.
    """

    again: tuple[tuple[int, int], ...]

    def cut(
        self, units: Sequence[Unit], steps: Sequence[ScheduledStep], inputs: int
    ) -> Iterator[Segment]:
        """Cut a schedule at the ends of the segments."""
        at = 0
        for first, end in self.again:
            if at < first:
                yield Segment(units[at:first], recomputed=False)
            yield _segment(tuple(units[first:end]), steps, inputs)
            at = end
        if at < len(units):
            yield Segment(units[at:], recomputed=False)


def segments(
    units: Iterable[Unit],
    steps: Sequence[ScheduledStep],
    inputs: int,
    wanted: Wanted | CutsSchedule | None,
) -> Iterable[RunsUnits]:
    """Cut a schedule into segments.

    Neighbouring units whose nodes are all wanted are cut into about as many segments as each has
    units, which needs the least memory, in proportion to the root of the number of units.

    Args:
        units: the schedule.
        steps: the steps of the graph.
        inputs: the number of inputs of the graph, which are the first values.
        wanted: whether the results of the node at a path are computed again, or a plan that cuts
            the schedule; None: none are, as without gradients and in compiled calls.

    Source: Chen et al. 2016, arXiv:1604.06174.
    """
    if wanted is None or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return (Segment(units, recomputed=False),)
    if isinstance(wanted, CutsSchedule):
        return wanted.cut(tuple(units), steps, inputs)
    return tuple(_cut(tuple(units), steps, inputs, wanted))


def _cut(
    units: tuple[Unit, ...], steps: Sequence[ScheduledStep], inputs: int, wanted: Wanted
) -> Iterator[Segment]:
    def all_wanted(unit: Unit) -> bool:
        return all(wanted(steps[i].node.path) for i in unit.steps)

    for recomputed, group in groupby(units, all_wanted):
        run = tuple(group)
        if not recomputed:
            yield Segment(run, recomputed=False)
            continue
        size = ceil(len(run) / max(1, isqrt(len(run))))
        for i in range(0, len(run), size):
            yield _segment(run[i : i + size], steps, inputs)


def _segment(units: tuple[Unit, ...], steps: Sequence[ScheduledStep], inputs: int) -> Segment:
    made = {inputs + i for unit in units for i in unit.steps}
    read = {n for unit in units for i in unit.steps for n in steps[i].operands} - made
    dead = {n for unit in units for n in unit.dead_after}
    return Segment(
        units, True, tuple(sorted(read)), tuple(sorted(made - dead)), tuple(sorted(dead - made))
    )
