"""The schedule of a graph: the order of its steps, where some of them may run as one operation.

The steps of a fusion stand together at the place of its last one.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from opdsl.ir.graph import Graph, Node
from opdsl.lower.fuse import fusions
from opdsl.lower.fuse.fusion import Fusion
from opdsl.lower.fuse.running import Fused


class ScheduledStep(Protocol):
    """The part of `opdsl.lower.steps.NodeStep` that a schedule needs."""

    @property
    def node(self) -> Node:
        """Node of the graph that the step computes."""

    @property
    def module(self) -> nn.Module:
        """Module that computes the node."""

    @property
    def operands(self) -> tuple[int, ...]:
        """Value numbers of the node's inputs."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Steps that run together.

    Attributes:
        steps: numbers of the steps, ascending.
        fused: how they run as one operation, or None.
        within: numbers of the values that only these steps use.
        dead_after: numbers of the values that no later step reads.
    """

    steps: tuple[int, ...]
    fused: Fused | None
    within: frozenset[int]
    dead_after: tuple[int, ...]

    def run_fused(self, values: list[Any], chosen: Container[str]) -> bool:
        """Run as one operation if that is chosen and supported; return whether it ran."""
        fused = self.fused
        if (
            fused is None
            or fused.fusion.end not in chosen
            or not fused.fits(values[fused.operands])
        ):
            return False
        values[fused.result] = fused(values[fused.operands])
        return True


def units(graph: Graph, steps: Sequence[ScheduledStep]) -> tuple[Unit, ...]:
    """Group all steps into units."""
    count = len(graph.inputs)
    names = [x.name for x in graph.inputs] + [x.node.path for x in steps]
    number = {name: i for i, name in enumerate(names)}
    place = {x.node.path: i for i, x in enumerate(steps)}
    groups = {x.end: x for x in fusions(graph)}
    inner = {x for fusion in groups.values() for x in fusion.nodes if x != fusion.end}
    outputs = {number[x.source] for x in graph.outputs}
    result: list[Unit] = []
    needed = set(outputs)
    # backwards: a value dies behind the last unit that reads it
    for step in reversed(steps):
        path = step.node.path
        if path in inner:
            continue
        fusion = groups.get(path)
        own = tuple(sorted(place[x] for x in (fusion.nodes if fusion else (path,))))
        within = frozenset(count + i for i in own[:-1])
        operands = {n for i in own for n in steps[i].operands} - within
        fused = None if fusion is None else _fused(fusion, steps, number, place)
        result.append(Unit(own, fused, within, tuple(sorted({*operands, *within} - needed))))
        needed |= operands
    return tuple(reversed(result))


def _fused(
    fusion: Fusion, steps: Sequence[ScheduledStep], number: dict[str, int], place: dict[str, int]
) -> Fused:
    modules = {role: steps[place[path]].module for role, path in fusion.roles.items()}
    return Fused(fusion, modules, number[fusion.source], number[fusion.end])
