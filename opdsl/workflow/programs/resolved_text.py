"""`resolved.op`: a program with the values of its parameters, and the files that it imports.

From these texts the model can be made again without the original and without options.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from opdsl.compiler import read
from opdsl.elaborate import models
from opdsl.elaborate.evaluate.values import show
from opdsl.syntax import tree
from opdsl.syntax.parser import parse
from opdsl.syntax.printer import format_text
from opdsl.workflow.errors import ArgumentError
from opdsl.workflow.programs.program import Program

Edit = tuple[int, int, str]


def resolved_text(program: Program) -> str:
    """Return the canonical text, with the values from outside as defaults of their parameters.

    Raises:
        ArgumentError: the program is a graph, which has no text; one written for it would name
            weights in another way.
    """
    if not program.names:
        name = program.source.name
        raise ArgumentError(f"`{name}` is no program: make it one with `opdsl show --core {name}`")
    text = program.source.text
    for start, end, new in sorted(_edits(program), reverse=True):
        text = text[:start] + new + text[end:]
    return format_text(text, program.source.name)


def _edits(program: Program) -> Iterator[Edit]:
    definition = next(x for x in models(program.checked.file) if x.name.text == program.graph.name)
    for x in definition.body:
        if isinstance(x, tree.Param) and x.name.text in program.arguments:
            yield _edit(x, show(program.arguments[x.name.text].value))


def _edit(param: tree.Param, value: str) -> Edit:
    if param.value is not None:
        return param.value.span.start, param.value.span.end, value
    end = param.type[-1].span.end
    return end, end, f" = {value}"


def imported_files(program: Program) -> dict[str, str]:
    """Return the texts of the user's files that the program imports, by their relative paths."""
    folder = program.folder.resolve()
    texts: dict[Path, str] = {}
    _collect(program.checked.file, folder, texts)
    return {str(k.relative_to(folder)): text for k, text in texts.items()}


def _collect(file: tree.File, folder: Path, texts: dict[Path, str]) -> None:
    for item in file.items:
        if not isinstance(item, tree.Import) or item.file is None:
            continue
        path = (folder / item.file).resolve()
        if path not in texts:
            source, _ = read(path)
            texts[path] = source.text
            _collect(parse(source)[0], path.parent, texts)
