"""Files written whole or not at all, and surely on the disk when the call returns."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """The user's folder for what can be made again.

    Raises:
        OSError: there is no home folder.
    """
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if told.is_absolute():  # a relative one is to be ignored, says the standard
        return told / "opdsl"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "opdsl"


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the new one."""
    beside = path.with_name(f".tmp-{path.name}")
    try:
        write_synced(beside, data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait for the disk; half a file may be left if it fails."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write every byte: the system may take fewer at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    sync(folder, os.O_RDONLY)


def sync(path: Path, flags: int) -> None:
    """Wait until what was written is on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def only_ours(path: Path) -> bool:
    """Whether nobody else can have written the file, or can write to the folder; no link counts."""
    if not hasattr(os, "getuid"):
        return path.exists()
    state = path.lstat()
    return state.st_uid == os.getuid() and not state.st_mode & 0o022
