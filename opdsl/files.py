"""Read untrusted files only if they are regular; write files whole or not at all.

Reading opens without blocking and refuses whatever is not a regular file: a FIFO would wait for
ever, a device may never end. Writing makes a new file under a random name in the open folder of
the target, with `O_EXCL` and `O_NOFOLLOW`, brings it to the disk and renames it. A link that stands
at the target is replaced, and what it points to stays as it is. Every `OSError` names the file.
"""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp-"  # the beginning of the name of everything that is not finished
LARGEST_TEXT = 64 << 20  # bytes of a text or JSON file that is read at once
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY


def user_cache() -> Path:
    """Return the user's cache folder for this package; it need not exist.

    Raises:
        OSError: there is no home folder.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if folder.is_absolute():  # the XDG specification ignores a relative path
        return folder / "opdsl"
    try:
        home = Path.home()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "opdsl"


# --- reading ------------------------------------------------------------------------------------


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor; refuse other files without blocking.

    Args:
        path: the file; a link to one is followed unless `flags` has `os.O_NOFOLLOW`.
        flags: for `os.open`.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    with naming(path):
        handle = os.open(path, flags | os.O_NONBLOCK, 0o644)
        try:
            _refuse_special(os.fstat(handle).st_mode)
        except BaseException:
            os.close(handle)
            raise
    return handle


def _refuse_special(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR).lower())
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def read_regular(path: Path, largest: int, flags: int = os.O_RDONLY) -> bytes:
    """Read a regular file of at most `largest` bytes.

    Raises:
        OSError: as `open_regular`, or the file is larger, which is known before it is read.
    """
    with os.fdopen(open_regular(path, flags), "rb") as file, naming(path):
        size = os.fstat(file.fileno()).st_size
        if size > largest:
            raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes")
        return file.read(size)


def read_text(path: Path, largest: int = LARGEST_TEXT) -> str:
    """Read a UTF-8 text file, without its byte order mark and with LF line ends.

    Raises:
        OSError: as `read_regular`.
        UnicodeDecodeError: it is no UTF-8.
    """
    text = read_regular(path, largest).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, largest: int = LARGEST_TEXT) -> Any:
    """Parse a regular file of JSON.

    Raises:
        OSError: as `read_regular`.
        ValueError: it is no JSON, or too deeply nested.
    """
    import json

    try:
        return json.loads(read_regular(path, largest))
    except RecursionError as error:
        raise ValueError("it is too deeply nested") from error


# --- writing ------------------------------------------------------------------------------------


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the new one.

    Raises:
        OSError: it could not be written; the old file is as it was.
    """
    temporary = temporary_name()
    with naming(path), _opened_folder(path.parent) as folder:
        try:
            _write_new(temporary, data, folder)
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a new folder of files in this order, whole or not at all.

    Raises:
        OSError: it could not be written; nothing is left.
    """
    temporary = temporary_name()
    with naming(target), _opened_folder(target.parent) as parent:
        os.mkdir(temporary, dir_fd=parent)
        try:
            folder = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                for name, data in files.items():
                    _write_new(name, data, folder)
                os.fsync(folder)
            finally:
                os.close(folder)
            os.rename(temporary, target.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            _remove(target.with_name(temporary))
            raise
        os.fsync(parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path for a library to write to; the file replaces `path` when the block ends.

    The file is in a new folder that only this user can open, so nobody can have put a link there.
    If the block raises, nothing is left.

    Raises:
        OSError: the folder cannot be made, or the file not be brought to the disk.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(temporary_name())
        folder.mkdir(mode=0o700)
    try:
        yield folder / path.name
        with naming(path):
            sync(folder / path.name, os.O_RDWR)
            (folder / path.name).replace(path)
            sync_folder(path.parent)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    import shutil  # with its compressors it would be a good part of the start of `opdsl check`

    shutil.rmtree(folder, ignore_errors=True)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all bytes to a descriptor; one call of `os.write` may write only some of them."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def temporary_name() -> str:
    """Return a random name for a temporary file, which nobody can guess and create first."""
    return f"{TEMPORARY}{os.urandom(8).hex()}"


def sync_folder(folder: Path) -> None:
    """Wait until the entries of a folder are on the disk."""
    sync(folder, os.O_RDONLY)


def sync(path: Path, flags: int) -> None:
    """Wait until the contents of a file or folder are on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the path to every `OSError` of the block: errors of reading and writing have none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def _write_new(name: str, data: bytes, folder: int) -> None:
    """Create a file in an open folder, which must not have it, and flush it to the disk."""
    handle = os.open(name, NEW | os.O_NOFOLLOW, 0o644, dir_fd=folder)
    try:
        write_all(handle, data)
        os.fsync(handle)
    finally:
        os.close(handle)


def only_ours(path: Path) -> bool:
    """Whether only this user can write the file or folder; False for a symbolic link."""
    if not hasattr(os, "getuid"):
        return path.exists()
    state = path.lstat()
    return state.st_uid == os.getuid() and not state.st_mode & 0o022
