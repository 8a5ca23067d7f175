"""The interfaces through which expressions use the layers above their evaluation.

The layer `bind` implements `Environment`, the layer `instantiate` implements `Nodes`; so
expressions are evaluated without an import of either.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.problems import Reporter
from opdsl.elaborate.evaluate.values import Function, Value
from opdsl.syntax import tree


class Environment(Reporter, Protocol):
    """The names that an expression can read, and the budget that it is charged to."""

    budget: Budget

    def lookup(self, name: str) -> Value | None:
        """Find the value of a name; None if nothing declares it.

        Raises:
            Poisoned: it has none; the reason is reported.
        """

    def member(self, module: str, name: str) -> Value | None:
        """Find the constant `module.name` of an imported module; None if there is none."""

    def names(self) -> Collection[str]:
        """Return the names declared in this definition, for suggestions."""

    def members(self, module: str) -> Collection[str]:
        """Return the names of the constants of an imported module, for suggestions."""

    def lost(self, name: str) -> bool:
        """Return whether the statement or import of the name failed, which is already reported."""


class Nodes(Protocol):
    """The place in the graph where an expression may add nodes."""

    def below(self, path: str | None = None) -> Nodes:
        """Return the place for nodes inside of `path`, or inside of this place."""

    def claim(self, name: str) -> str:
        """Reserve a free path for a node called `name`."""

    def release(self, path: str) -> None:
        """Free a reserved path again."""

    def call(self, expr: tree.Call) -> Value:
        """Evaluate a call of a block."""

    def pipe(self, expr: tree.Pipe) -> Value:
        """Evaluate a chain."""

    def select(self, expr: tree.Index, function: Function, index: Value) -> Value:
        """Choose channels of a function."""

    def negate(self, expr: tree.Unary, function: Function) -> Value:
        """Multiply a function by -1."""

    def combine(self, expr: tree.Binary, left: Value, right: Value, path: str) -> Value:
        """Apply `+`, `-`, `*` or `/` where at least one operand is a function."""
