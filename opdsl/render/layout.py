"""Layout of DOT text by Graphviz, as SVG, PNG or PDF.

The wheel of pygraphviz contains the Graphviz libraries; where it is missing, a `dot` program on
PATH serves instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from opdsl.diagnostics import fault
from opdsl.render.titles import move_titles

STDERR = 2
DOTS_PER_INCH = 192  # resolution of a PNG: twice that of a screen


def laid_out(text: str, form: Literal["svg", "png", "pdf"]) -> str | bytes:
    """Draw a DOT text.

    Raises:
        OpError: OP0640, neither pygraphviz nor `dot` is installed, or Graphviz refuses the text.
    """
    data = _drawn_by_library(text, form)
    if data is None:
        data = _drawn_by_program(text, form)
    return data.decode() if form == "svg" else data


def _drawn_by_library(text: str, form: str) -> bytes | None:
    try:
        from pygraphviz import AGraph
    except ImportError:
        return None
    graph = AGraph(string=text)
    with _no_chatter():
        move_titles(graph)
        if form == "png":
            graph.graph_attr["dpi"] = str(DOTS_PER_INCH)
        data: bytes = graph.draw(format=form, prog="dot")
    return data


@contextmanager
def _no_chatter() -> Iterator[None]:
    """Keep stderr clean: font libraries write their complaints about a machine straight to it."""
    with Path(os.devnull).open("wb") as nowhere:
        original = os.dup(STDERR)
        os.dup2(nowhere.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(original, STDERR)
            os.close(original)


def _drawn_by_program(text: str, form: str) -> bytes:
    dot = shutil.which("dot")
    if dot is None:
        raise fault(
            "OP0640",
            "Graphviz is not available",
            notes=("neither the package pygraphviz nor the program `dot` is found",),
            helps=(
                "install one of them: `pip install pygraphviz`, or Graphviz from your system",
                "or take a text that others can draw: `--format mermaid` or `--format dot`",
            ),
        )
    density = [f"-Gdpi={DOTS_PER_INCH}"] if form == "png" else []
    run = subprocess.run(  # noqa: S603  the program is Graphviz, the text goes in by the pipe
        [dot, f"-T{form}", *density], input=text.encode(), capture_output=True, check=False
    )
    if run.returncode:
        reason = run.stderr.decode(errors="replace").strip()
        raise fault("OP0640", "Graphviz did not draw the graph", notes=(reason,) if reason else ())
    return run.stdout
