"""Files that commands read and write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opdsl.cli.console import UsageError, stdin
from opdsl.diagnostics import Source, fault

SUFFIX = ".op"
STDIN = "-"
HDF5 = (".h5", ".hdf5")


def expanded(paths: Sequence[str]) -> list[str]:
    """The files, and every program below the folders.

    Raises:
        UsageError: stdin is named beside files, or a folder holds no program.
    """
    if STDIN in paths and len(paths) > 1:
        raise UsageError("`-` (stdin) stands alone")
    return [y for x in paths for y in _below(x)]


def _below(path: str) -> list[str]:
    if not Path(path).is_dir():
        return [path]
    found = sorted(str(x) for x in Path(path).rglob(f"*{SUFFIX}"))
    if not found:
        raise UsageError(f"no {SUFFIX} file below `{path}`")
    return found


def open_source(path: str) -> tuple[Source, Path]:
    """The text of a file, or of stdin for `-`, and its folder.

    Raises:
        OpError: OP0202.
    """
    if path == STDIN:
        return Source("<stdin>", stdin().decode("utf-8-sig", "replace")), Path()
    from opdsl.compiler import read

    source, folder = read(Path(path))
    return source, folder or Path()


def named(option: str, out: Path, endings: Sequence[str]) -> None:
    """The file to make is named as what it will be.

    Raises:
        UsageError: its name ends in none of these.
    """
    if out.suffix not in endings:
        raise UsageError(f"`{option} {out}`: its name ends in one of {', '.join(endings)}")


def apart(option: str, out: Path, read: str) -> None:
    """The file to make is not one that is read: it would be lost.

    Args:
        read: a file, or a folder of files.

    Raises:
        UsageError: it is.
    """
    if out.exists() and out.resolve().is_relative_to(Path(read).resolve()):
        raise UsageError(f"`{option} {out}` would overwrite what is read: name another file")


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made.

    Raises:
        OpError: OP0625.
    """
    from opdsl.files import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        message = f"the file could not be written: {(error.strerror or str(error)).lower()}"
        raise fault("OP0625", message, file=str(path)) from error
