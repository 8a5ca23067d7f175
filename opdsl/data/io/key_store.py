"""Files below a folder, or members of a zip archive, by key; links are never followed.

Imports nothing of ours: the process that reads untrusted files uses it too.
"""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path
from typing import Protocol

NOT_THERE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class OutsideError(ValueError):
    """A link, or a key that leaves the store."""


class KeyStore(Protocol):
    """Bytes by key; the parts of a key are joined by `/`."""

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """Read the bytes of a key; None if it is not there.

        Raises:
            OutsideError: a part of the key is a link, or leads out of the store.
            ValueError: there are more than `most` bytes.
        """
        ...

    def children(self, prefix: str) -> list[str]:
        """List the names of the folders directly below a prefix, sorted.

        Raises:
            OutsideError: one of them is a link.
        """
        ...


class FolderStore:
    """The files below a folder."""

    def __init__(self, root: Path) -> None:
        """Use a folder, which may itself be a link."""
        self._root = root.resolve()

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """See `KeyStore.get`."""
        path = self._path(key)
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except NOT_THERE:
            return None
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode):
                return None
            _limit(key, state.st_size, most)
            return file.read(state.st_size)

    def children(self, prefix: str) -> list[str]:
        """See `KeyStore.children`."""
        path = self._path(prefix)
        with os.scandir(path) as entries:
            found = list(entries)
        for x in found:
            if x.is_symlink():
                raise OutsideError(f"`{_joined(prefix, x.name)}` is a link")
        return sorted(x.name for x in found if x.is_dir(follow_symlinks=False))

    def _path(self, key: str) -> Path:
        """Return the path of a key, none of whose parts is a link."""
        path = self._root
        for part in _parts(key):
            path /= part
            try:
                mode = path.lstat().st_mode
            except NOT_THERE:
                continue
            if stat.S_ISLNK(mode):
                raise OutsideError(f"`{key}` is a link")
        return path


class ArchiveStore:
    """The members of a zip archive."""

    def __init__(self, path: Path) -> None:
        """Open an archive.

        Raises:
            zipfile.BadZipFile: it is damaged.
        """
        self._archive = zipfile.ZipFile(path)
        self._members = {x.filename: x for x in self._archive.infolist()}
        self._folders: dict[str, set[str]] = {}
        for name in self._members:
            *parents, _ = name.split("/")
            for i, parent in enumerate(parents):
                self._folders.setdefault("/".join(parents[:i]), set()).add(parent)

    def get(self, key: str, most: int | None = None) -> bytes | None:
        """See `KeyStore.get`."""
        _parts(key)
        member = self._members.get(key)
        if member is None or member.is_dir():
            return None
        _limit(key, member.file_size, most)
        with self._archive.open(member) as file:
            return file.read(member.file_size)

    def children(self, prefix: str) -> list[str]:
        """See `KeyStore.children`."""
        return sorted(self._folders.get(prefix, ()))


def open_store(path: Path) -> FolderStore | ArchiveStore:
    """Open a folder or a zip archive as a store."""
    return FolderStore(path) if path.is_dir() else ArchiveStore(path)


def _parts(key: str) -> list[str]:
    parts = key.split("/") if key else []
    if any(x in {"", ".", ".."} or "\0" in x or "\\" in x for x in parts):
        raise OutsideError(f"`{key}` leads out of the store")
    return parts


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _limit(key: str, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise ValueError(f"`{key}` has {size:,} bytes")
