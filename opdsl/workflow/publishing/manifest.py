"""The hashes of the files of a published model, and their comparison with the files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from opdsl.diagnostics import OpError, fault
from opdsl.files import open_regular
from opdsl.train.run.folder import ABOUT

FILES = "files"  # the key of the hashes in `opdsl.json`
MOST_FILES = 1000
_HASH = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20  # bytes that are hashed at once


@dataclass(frozen=True, slots=True)
class FileHash:
    """The content of a published file.

    Attributes:
        size: in bytes.
        sha256: the hash in hexadecimal digits.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> FileHash:
        """Hash the content of a file."""
        return cls(len(data), hashlib.sha256(data).hexdigest())

    def to_json(self) -> dict[str, Any]:
        """Return size and hash as plain data."""
        return {"size": self.size, "sha256": self.sha256}


def listed_files(folder: Path, about: Mapping[str, Any]) -> dict[str, FileHash]:
    """Return the files that `opdsl.json` lists, by their names in the folder.

    Raises:
        OpError: OP0760, it lists none, or not as `save_pretrained` does.
    """
    rows = about.get(FILES)
    if rows is None:
        helps = (
            "publish a run: `opdsl publish RUN FOLDER`",
            "open the folder of a run: `opdsl.open_run(FOLDER)`",
        )
        raise _unpublished(folder, f"`{ABOUT}` lists no files with their hashes", helps)
    if not isinstance(rows, dict) or len(rows) > MOST_FILES:
        raise _unpublished(folder, f"the list of files in `{ABOUT}` cannot be read")
    files = {name: _row(row) for name, row in rows.items() if _stays_inside(name)}
    hashes = {name: row for name, row in files.items() if row is not None}
    if len(hashes) < len(rows):
        name = next(x for x in rows if x not in hashes)
        raise _unpublished(folder, f"`{ABOUT}` lists {name[:80]!r} without a valid name and hash")
    return hashes


def _row(row: object) -> FileHash | None:
    match row:
        case {"size": int() as size, "sha256": str() as sha256} if _HASH.fullmatch(sha256):
            return FileHash(size, sha256)
    return None


def _stays_inside(name: str) -> bool:
    """Return whether a name is that of a file below the folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and "\0" not in name and not {"..", "/", "\\"} & {*parts, *name[:1]}


def refuse_changed(folder: Path, files: Mapping[str, FileHash]) -> None:
    """Compare every listed file with its hash, in pieces of bounded size.

    Raises:
        OpError: OP0761, a file is missing, cannot be read, or differs.
    """
    for name, expected in files.items():
        try:
            found = _hashed(folder / name, expected.size)
        except OSError as error:
            raise _changed(folder, name, (error.strerror or str(error)).lower()) from error
        if found != expected:
            raise _changed(folder, name, "its content is not the one that was published")


def refuse_unlisted(folder: Path, names: set[str], files: Mapping[str, FileHash]) -> None:
    """Refuse files that the model needs and that have no hash.

    Raises:
        OpError: OP0761, naming the first of them.
    """
    for name in sorted(names - files.keys()):
        raise _changed(folder, name, f"`{ABOUT}` has no hash of it")


def _hashed(path: Path, size: int) -> FileHash:
    """Hash a file; one of another size than expected is not read."""
    with os.fdopen(open_regular(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            return FileHash(found, "")
        digest = hashlib.sha256()
        while piece := file.read(_PIECE):
            digest.update(piece)
        return FileHash(found, digest.hexdigest())


def _unpublished(folder: Path, message: str, helps: tuple[str, ...] = ()) -> OpError:
    text = f"this folder is not a published model: {message}"
    return fault("OP0760", text, helps=helps, file=str(folder))


def _changed(folder: Path, name: str, what: str) -> OpError:
    notes = ("the hashes are those that `save_pretrained` has written",)
    helps = ("copy the folder again from where it was published",)
    message = f"`{name}` of the published model is not as it was: {what}"
    return fault("OP0761", message, notes=notes, helps=helps, file=str(folder))
