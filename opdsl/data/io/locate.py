"""Find the files that a path names: one file, a folder of meshes, or the parts of a folder."""

from __future__ import annotations

from pathlib import Path

from opdsl.data.io.formats import FORMATS
from opdsl.data.io.meshes import MESH_READERS, natural
from opdsl.diagnostics import OpError, did_you_mean, fault

SPLITS = ("train", "valid", "test")
HDF5_SUFFIXES = (".h5", ".hdf5")


def data_files(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    """List the files of a data set, in the order of their names.

    Args:
        path: a file or a folder.
        split: which part of a folder; the first of train, valid, test that exists if None.
        source: the path as the user wrote it.

    Raises:
        OpError: OP0610, nothing is there, or no such part.
    """
    try:
        if path.is_dir():
            return _in_folder(path, split, source)
        kind = "file" if path.is_file() else "special file" if path.exists() else None
    except OSError as error:
        raise unopened(error, source) from error
    if kind is None:
        raise _nothing_there(path, source)
    if kind != "file":
        raise unreadable("it is neither a file nor a folder", source)
    if split is not None:
        raise unreadable(
            f"a single file has no part `{split}`", source, "name the file of that part itself"
        )
    return (path,)


def unopened(error: OSError, source: str) -> OpError:
    """Make OP0610 about a file that the system cannot open."""
    return unreadable(f"it cannot be opened: {error.strerror or error}", source)


def unreadable(message: str, source: str, *helps: str) -> OpError:
    """Make OP0610 about unreadable data; without `helps` it lists the formats that can be read."""
    return fault("OP0610", message, helps=helps or _readable(), file=source)


def _readable() -> tuple[str, ...]:
    return tuple(x.summary for x in FORMATS)


def _in_folder(path: Path, split: str | None, source: str) -> tuple[Path, ...]:
    own = _data_in(path)
    if own and split is None:
        return own
    for home in (path / "data", path):
        parts = {s: files for s in SPLITS if (files := _data_in(home / s))}
        if parts and (part := split or next(iter(parts))) in parts:
            return parts[part]
        if parts:
            raise unreadable(
                f"the folder has no part `{part}`, only {', '.join(parts)}",
                source,
                *did_you_mean(part, parts),
            )
    raise unreadable(
        "no data in this folder",
        source,
        "expected NAME/data/train/*.hdf5 (and valid, test), or the path of one file",
    )


def _data_in(folder: Path) -> tuple[Path, ...]:
    """List the HDF5 files in a folder, or its meshes if there are none."""
    if not folder.is_dir():
        return ()
    files = [f for f in folder.iterdir() if f.is_file()]
    meshes = sorted((f for f in files if f.suffix.lower() in MESH_READERS), key=natural)
    return tuple(sorted(f for f in files if f.suffix in HDF5_SUFFIXES) or meshes)


def _nothing_there(path: Path, source: str) -> OpError:
    near: tuple[str, ...] = ()
    if path.parent.is_dir():
        near = did_you_mean(path.name, (f.name for f in path.parent.iterdir()))
    message = "there is no such file or folder"
    return fault("OP0610", message, helps=near or _readable(), file=source)
