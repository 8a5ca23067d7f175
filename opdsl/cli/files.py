"""Files that commands read and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opdsl.cli.console import UsageError, stdin, warn
from opdsl.diagnostics import Source

if TYPE_CHECKING:
    from opdsl.ir.graph import Graph
    from opdsl.workflow.programs.program import Program

SUFFIX = ".op"
STDIN = "-"
HDF5 = (".h5", ".hdf5")


def expanded(paths: Sequence[str]) -> list[str]:
    """Return the files, and every program below the folders.

    Raises:
        UsageError: stdin is named beside files, or a folder holds no program.
    """
    if STDIN in paths and len(paths) > 1:
        raise UsageError("`-` (stdin) stands alone")
    return [y for x in paths for y in _below(x)]


def _below(path: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    programs = sorted(str(x) for x in Path(path).rglob(f"*{SUFFIX}"))
    if not programs:
        raise UsageError(f"no {SUFFIX} file below `{path}`")
    return programs


def open_source(path: str) -> tuple[Source, Path]:
    """Read the text of a file, or of stdin for `-`, and return it with its folder.

    Raises:
        OpError: OP0202.
    """
    if path == STDIN:
        return Source("<stdin>", stdin().decode("utf-8-sig", "replace")), Path()
    from opdsl.workflow.check import read_source

    return read_source(path)


def named(option: str, out: Path, endings: Sequence[str]) -> None:
    """Check that the name of a new file ends as its format does.

    Raises:
        UsageError: its name ends in none of these.
    """
    if out.suffix not in endings:
        raise UsageError(f"`{option} {out}`: its name ends in one of {', '.join(endings)}")


def apart(option: str, out: Path, read: str) -> None:
    """Check that a new file does not overwrite one that is read.

    Args:
        read: a file, or a folder of files.

    Raises:
        UsageError: it would.
    """
    if out.exists() and out.resolve().is_relative_to(Path(read).resolve()):
        raise UsageError(f"`{option} {out}` would overwrite what is read: name another file")


def write(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, after creating its folder.

    Raises:
        OpError: OP0625, the file cannot be written.
    """
    from opdsl.workflow.output import write_file

    write_file(path, data)


def open_checked(spec: str, model: str | None, sets: Sequence[str] | None) -> Program:
    """Check a program for a command that sets parameters of the model only.

    Its warnings are printed on stderr.

    Raises:
        OpError: everything that is wrong with it.
    """
    from opdsl.workflow.programs.program import open_model

    source, folder = open_source(spec)
    return open_model(source, folder, model=model, sets=sets, warn=warn)


def open_graph(spec: str, model: str | None, sets: Sequence[str] | None) -> Graph:
    """Return the graph of `open_checked`."""
    return open_checked(spec, model, sets).graph
