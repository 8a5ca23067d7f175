"""The formats of exported files: how each is written, opened again, and run by a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opdsl.ir.graph import Graph
from opdsl.lower.exported import aoti, onnx, pt2
from opdsl.lower.exported.trace import Free, RunFunction, Traced


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format of files.

    Attributes:
        suffix: of a file's name.
        write: writes a program as a file, with metadata.
        open_file: loads the function in a file that was just written; this may run its code.
        usage: lines of Python that run the file.
        kernel: used by all nodes that have it, because the format supports no other; None: as
            planned.
        ready: raises OP0645 where a package or a compiler is missing.
        freest: the most sizes of a graph that can be free, and why not more.
    """

    suffix: str
    write: Callable[[Traced, Path, Mapping[str, str]], None]
    open_file: Callable[[Path], RunFunction]
    usage: Callable[[Path, tuple[str, ...]], tuple[str, ...]]
    kernel: str | None = None
    ready: Callable[[], None] = lambda: None
    freest: Callable[[Graph], tuple[Free, str]] = lambda _: (Free.ALL, "")


FORMATS: dict[str, ExportFormat] = {
    "pt2": ExportFormat(".pt2", pt2.write, pt2.open_file, pt2.usage),
    "aoti": ExportFormat(
        ".aoti.pt2", aoti.write, aoti.open_file, aoti.usage, ready=aoti.check_compiler
    ),
    "onnx": ExportFormat(
        ".onnx", onnx.write, onnx.open_file, onnx.usage, "dft", onnx.check_packages, onnx.freest
    ),
}
