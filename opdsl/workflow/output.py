"""Files that the workflow writes: whole or not at all, in a folder that is made."""

from __future__ import annotations

from pathlib import Path

from opdsl.diagnostics import fault


def write_file(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, after creating its folder.

    Raises:
        OpError: OP0625, the file could not be written.
    """
    from opdsl.files import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        message = f"the file could not be written: {(error.strerror or str(error)).lower()}"
        raise fault("OP0625", message, file=str(path)) from error
