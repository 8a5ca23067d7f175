"""The names of a program that losses may use beside its model: equations and constants."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from opdsl.elaborate.bind.modules import Loader, Module
from opdsl.elaborate.bind.scope import Shared, file_scope
from opdsl.elaborate.evaluate.budget import Budget
from opdsl.elaborate.evaluate.problems import Poisoned, Problems
from opdsl.elaborate.instantiate.builder import GraphBuilder
from opdsl.elaborate.instantiate.graph_place import Bindings
from opdsl.syntax import tree

Equation = tuple[Module, tree.Equation]


@dataclass(slots=True, eq=False, repr=False)
class FileNames:
    """Equations and constants of a file and of the files that it imports.

    Attributes:
        module: the file.
        shared: the state of the evaluation of its constants.
    """

    module: Module
    shared: Shared = field(repr=False)

    @classmethod
    def of(cls, file: tree.File, folder: Path | None) -> FileNames:
        """Load the imports of a file that was checked before, so that nothing is reported anew."""
        problems = Problems()
        module = Loader(problems, folder).module(file, folder)
        compute = Bindings(GraphBuilder()).compute
        return cls(module, Shared(problems, Budget(), compute))

    def equation(self, module: Module, path: tuple[str, ...]) -> Equation | None:
        """Return the equation that a name or `alias.name` means in a module, or None."""
        if len(path) == 1:
            return module.equations.get(path[0])
        alias = module.aliases.get(path[0]) if len(path) == 2 else None
        return alias.equations.get(path[1]) if alias else None

    def number(self, module: Module, name: str) -> float | None:
        """Return the value of a constant of a module; None if it has no such number."""
        const = module.consts.get(name)
        if const is None:
            return None
        try:
            value = file_scope(self.shared, module).constant(const)
        except Poisoned:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number else None  # type: ignore[arg-type]  # a number
