"""Texts that a model or a program becomes: layout, flat program, Python, JSON, fingerprints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from opdsl.files import LARGEST_TEXT, read_regular
from opdsl.syntax.printer import format_text

if TYPE_CHECKING:
    from opdsl.ir.graph import Graph
    from opdsl.workflow.programs.program import Program

__all__ = [
    "fingerprints",
    "flat_program",
    "format_text",
    "graph_json",
    "json_schema",
    "program_bytes",
    "python_source",
]

TRAIN_FORMAT = 1  # version of the settings; raise it if an old file would be read differently


def program_bytes(path: Path) -> bytes:
    """Read a program as it is on the disk.

    Raises:
        OpError: OP0202, the file cannot be read.
    """
    from opdsl.compiler import read

    read(path)  # raises the same errors as the compiler
    return read_regular(path, LARGEST_TEXT)


def flat_program(graph: Graph) -> str:
    """Return a program with one primitive call for each node.

    Raises:
        OpError: OP0107, the graph holds what no program can say.
    """
    from opdsl.export import to_program

    return to_program(graph)


def python_source(graph: Graph) -> str:
    """Return Python source of the model that needs torch only."""
    from opdsl.export import emit_python

    return emit_python(graph)


def graph_json(graph: Graph) -> dict[str, Any]:
    """Return a graph as plain data, as graph files contain it."""
    from opdsl.export import to_json

    return to_json(graph)


def fingerprints(program: Program, *, of_run: bool = False) -> dict[str, Any]:
    """Return the fingerprint of a model, and of its run.

    Args:
        program: the program of the model.
        of_run: whether to include that of the function together with every setting of its run.
    """
    from opdsl.ir.fingerprint import SCHEME, fingerprint
    from opdsl.workflow.programs.program import resolve_settings

    function = fingerprint(program.graph)
    if not of_run:
        return {"function": function}
    rows = [[key, value] for key, value, _ in resolve_settings(program).explain()]
    run = hashlib.sha256(json.dumps([function, rows]).encode()).hexdigest()
    return {"model": program.graph.name, "scheme": SCHEME, "function": function, "run": run}


def json_schema(kind: Literal["ir", "train", "blocks"]) -> dict[str, Any]:
    """Return the JSON schema of graph files, of the settings of a run, or of every block."""
    from opdsl.export import blocks_schema, ir_schema
    from opdsl.export.schema import with_heading

    if kind == "ir":
        return ir_schema()
    if kind == "blocks":
        return blocks_schema()
    from opdsl.train.config.schema import Settings

    return with_heading("train", TRAIN_FORMAT, Settings.model_json_schema())
