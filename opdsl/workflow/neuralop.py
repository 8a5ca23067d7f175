"""Models of neuraloperator as programs, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdsl.ir.graph import Graph
from opdsl.migrate.neuralop import ConstructorCall, Imported, import_call, read_call
from opdsl.migrate.neuralop.calls import call_of_module, read_checkpoint, read_config
from opdsl.migrate.neuralop.importing import module_of, plain_weights
from opdsl.workflow.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from opdsl.lower.module import OperatorModule

CONFIGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, repr=False)
class ImportedModel:
    """A model of neuraloperator as a program; `opdsl.import_neuralop` returns one.

    Attributes:
        text: the program.
        graph: its checked graph.
        notes: where neuraloperator is wrong, and what was done about it.
        weights: by the names of neuraloperator; None if the source has none.

    >>> import opdsl
    >>> opdsl.import_neuralop("FNO((4,), 1, 1, 4, n_layers=1)").graph.name
    'FNO'
    """

    text: str
    graph: Graph
    notes: tuple[str, ...]
    weights: Mapping[str, Tensor] | None
    imported: Imported = field(repr=False)

    def compile(self) -> OperatorModule:
        """Return the module with the imported weights; tensors (batch, channels, *grid) in and out.

        Raises:
            OpError: OP0643, a weight is missing, left over, or has another shape.
            ArgumentError: the source has no weights.
        """
        if self.weights is None:
            raise ArgumentError("the source has no weights; `opdsl.compile(text)` makes fresh ones")
        return module_of(self.imported, self.weights)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write program, graph and weights into a new folder, as `opdsl compile` does.

        Raises:
            OpError: OP0625, the folder cannot be written; OP0643, a weight does not fit.
            ArgumentError: the source has no weights.
        """
        from opdsl.export import save_compiled

        return save_compiled(self.graph, self.compile(), self.text, Path(folder))

    def __repr__(self) -> str:
        weights = "no weights" if self.weights is None else "its weights"
        return f"<ImportedModel {self.graph.name}: {len(self.graph.nodes)} nodes, {weights}>"


def import_neuralop(
    source: Any,
    *,
    call: str | None = None,
    corrected: bool = False,
    latent: int | None = None,
    variables: int | Sequence[str] | None = None,
) -> ImportedModel:
    """Import a model of neuraloperator as a program, and its weights.

    Where neuraloperator is wrong the program is, too, because the weights were trained so; the
    notes at its head say where.

    Args:
        source: a module, the text of a constructor call, or the path of a config (`.yaml`,
            `.json`), of weights (`.pt`) or of a folder.
        call: the constructor call, for weights that do not say which model they are of.
        corrected: whether to be right where neuraloperator is wrong.
        latent: of a GINO, the points on each axis of the latent grid of its calls.
        variables: of a CODANO, the variables of its calls: how many, or their names.

    Raises:
        OpError: OP0641, OP0642, a model or an option has no counterpart; OP0643, the weights.
        ArgumentError: the source is no file and no call, or does not say which model it is.

    >>> import opdsl
    >>> model = opdsl.import_neuralop("FNO((4,), 1, 1, 4, n_layers=1)")
    >>> model.text.splitlines()[0]
    '# FNO of neuraloperator, imported.'
    """
    if isinstance(source, str | PathLike):
        constructor, weights = _read(str(source))
    else:
        constructor, weights = call_of_module(source), plain_weights(source)
    if call is not None:
        constructor = read_call(call)
    if constructor is None:
        raise ArgumentError(
            f"`{source}` does not say which model its weights are of: name the call that made it, "
            '`--call "FNO((16, 16), 1, 1, 64)"`'
        )
    full_call = constructor.also(latent=latent, variables=variables)
    result = import_call(full_call, weights, corrected=corrected)
    return ImportedModel(result.text, result.graph, result.notes, weights, result)


def _read(source: str) -> tuple[ConstructorCall | None, dict[str, Tensor] | None]:
    """Read the call, and the weights where there are some."""
    path = Path(source)
    if "(" in source and not path.exists():
        return read_call(source), None
    if not path.exists():
        raise ArgumentError(f"`{source}` is no file, no folder and no call `FNO(...)`")
    if path.suffix in CONFIGS:
        return read_config(path), None
    return read_checkpoint(path)
