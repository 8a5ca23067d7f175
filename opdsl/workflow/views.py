"""Views of a model before it runs: its summary, its drawing, its differences from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opdsl.compiler import load
from opdsl.ir.graph import Graph
from opdsl.summary import Summary, parse_at, summarise, to_json, to_text
from opdsl.workflow.output import write_file

if TYPE_CHECKING:
    from opdsl.export import Difference

DrawingFormat = Literal["svg", "png", "pdf", "dot", "mermaid"]
DrawingDirection = Literal["down", "right"]
ProgramSource = str | PathLike[str] | Graph  # a path, the text of a program, or a loaded graph


@dataclass(frozen=True, slots=True, repr=False)
class ModelSummary:
    """Spaces, costs and the certificate of a model; `opdsl.summary` returns one.

    Attributes:
        graph: the model.
        numbers: rows and totals.

    `str()` is the table that the command prints; a notebook shows it too.

    >>> import opdsl
    >>> opdsl.summary(PROGRAM).parameters
    1449
    """

    graph: Graph
    numbers: Summary

    @property
    def parameters(self) -> int:
        """The count of real numbers that are trained."""
        return int(self.numbers.params)

    def to_text(self, width: int = 100) -> str:
        """Return the table and the certificate, at most so many columns wide."""
        return to_text(self.numbers, width)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return to_json(self.numbers)

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<ModelSummary {self.graph.name}: {self.parameters:,} parameters>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_text())}</pre>"


@dataclass(frozen=True, slots=True, repr=False)
class Drawing:
    """A drawing of a model; `opdsl.render` returns one.

    Attributes:
        format: `svg`, `png`, `pdf`, `dot` or `mermaid`.
        content: text, or bytes of a PNG or PDF.

    >>> import opdsl
    >>> drawing = opdsl.render(PROGRAM)
    >>> drawing.save(FOLDER / "model.svg").suffix
    '.svg'
    """

    format: DrawingFormat
    content: str | bytes = field(repr=False)

    @property
    def data(self) -> bytes:
        """The content of the drawing as bytes, for a file."""
        return self.content if isinstance(self.content, bytes) else self.content.encode()

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the drawing to a file, and return its path.

        Raises:
            OpError: OP0625, the file cannot be written.
        """
        write_file(Path(path), self.data)
        return Path(path)

    def __str__(self) -> str:
        return self.content if isinstance(self.content, str) else repr(self)

    def __repr__(self) -> str:
        return f"<Drawing: {self.format}, {len(self.data):,} bytes>"

    def _repr_svg_(self) -> str | None:
        return str(self.content) if self.format == "svg" else None

    def _repr_png_(self) -> bytes | None:
        return self.data if self.format == "png" else None


def as_graph(
    program: ProgramSource,
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Graph:
    """Load a program, unless it is a graph already.

    Raises:
        OpError: everything that is wrong with the program.
    """
    if isinstance(program, Graph):
        return program
    source = program if isinstance(program, str) else Path(program)
    return load(source, model, **(parameters or {}))


def summary(
    program: ProgramSource,
    at: str | int | Mapping[str, int] | None = None,
    *,
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
) -> ModelSummary:
    """Count the parameters, operations and bytes of a model, and certify its promises.

    Args:
        program: a path, the text of a program, or a graph.
        at: the resolution, `"x=64,y=64"`, `{"x": 64, "y": 64}` or 64 for all axes; without one
            operations and bytes are formulas.
        model: which model, where the program has several.
        parameters: values of the model's parameters.

    Raises:
        OpError: everything that is wrong with the program; OP0604, OP0903, the resolution.

    >>> import opdsl
    >>> print(opdsl.summary(PROGRAM, at=64))  # doctest: +ELLIPSIS
    Line...
    """
    graph = as_graph(program, model, parameters)
    return ModelSummary(graph, summarise(graph, None if at is None else resolution(graph, at)))


def resolution(graph: Graph, at: str | int | Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return the points on each axis of each declared domain.

    Raises:
        OpError: OP0604, an axis is unknown or missing; OP0903, the model does not promise this.
    """
    if isinstance(at, int):
        at = {x.name: at for d in graph.domains for x in d.axes if not x.pinned}
    text = at if isinstance(at, str) else ",".join(f"{k}={n}" for k, n in at.items())
    return parse_at(text, graph)


def render(
    program: ProgramSource,
    format: DrawingFormat = "svg",  # noqa: A002  the word that the command line uses
    *,
    depth: int | None = None,
    direction: DrawingDirection = "down",
    model: str | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Drawing:
    """Draw a model.

    Args:
        program: a path, the text of a program, or a graph.
        format: `svg`, `png`, `pdf`, `dot` or `mermaid`.
        depth: blocks nested deeper are drawn closed; None closes those that act pointwise.
        direction: where the data flow to, `down` or `right`.
        model: which model, where the program has several.
        parameters: values of the model's parameters.

    Raises:
        OpError: everything that is wrong with the program; OP0640, Graphviz is missing.

    >>> import opdsl
    >>> print(opdsl.render(PROGRAM, "mermaid"))  # doctest: +ELLIPSIS
    ---
    ...
    """
    from opdsl.render import render

    graph = as_graph(program, model, parameters)
    return Drawing(format, render(graph, format, depth=depth, direction=direction))


def diff(old: ProgramSource, new: ProgramSource, *, model: str | None = None) -> Difference:
    """Compare two models: nodes, spaces, parameters and promises.

    Args:
        old: a path, the text of a program, or a graph.
        new: another one.
        model: which model, where the programs have several.

    Raises:
        OpError: everything that is wrong with the programs.

    >>> import opdsl
    >>> wide = opdsl.load(PROGRAM, width=16)
    >>> opdsl.diff(PROGRAM, PROGRAM).same, opdsl.diff(PROGRAM, wide).same
    (True, False)
    """
    from opdsl.export import compare

    return compare(as_graph(old, model), as_graph(new, model))
