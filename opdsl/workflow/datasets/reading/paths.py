"""The files of a data set: one, a list, those of a folder, or those that fit a pattern.

A list of paths is the text of a JSON list, so that a data set has one text as its path.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from glob import has_magic
from pathlib import Path

from opdsl.data.arrays.reading import is_store
from opdsl.data.io.locate import SPLITS, data_files
from opdsl.data.io.meshes import natural
from opdsl.diagnostics import fault
from opdsl.train.config.schema import joined_paths


def paths_in(path: str) -> tuple[str, ...]:
    """Return the paths of a list; the path itself if it is none."""
    if not path.startswith("["):
        return (path,)
    try:
        paths = json.loads(path)
    except ValueError:
        return (path,)
    texts = isinstance(paths, list) and bool(paths) and all(isinstance(x, str) for x in paths)
    return tuple(paths) if texts else (path,)


def is_list(path: str) -> bool:
    """Return whether a path is a list of several."""
    return paths_in(path) != (path,)


def each_path(path: str, change: Callable[[str], str]) -> str:
    """Apply `change` to a path, or to each of a list."""
    paths = paths_in(path)
    return change(path) if paths == (path,) else joined_paths([change(x) for x in paths])


def files_of(path: str, split: str | None) -> tuple[Path, ...]:
    """List the files of a data set, in the order of their names; those of a list in its order.

    Raises:
        OpError: OP0610, there are none.
    """
    if is_list(path):
        return tuple(y for x in paths_in(path) for y in files_of(x, split))
    if has_magic(path) and not Path(path).exists():
        files = matching_files(path)
        if not files:
            raise fault("OP0610", "no file has such a name", file=path)
        return files
    if is_store(Path(path)):
        return (Path(path),)
    if Path(path).is_dir():
        own = _in(Path(path))
        parts = {x: y for x in SPLITS if (y := _in(Path(path) / x))}
        if parts and (split is not None or not own):
            return parts.get(split or next(iter(parts))) or data_files(Path(path), split, path)
        if own:
            return own
    return data_files(Path(path), split, path)


def matching_files(pattern: str) -> tuple[Path, ...]:
    """List the files that fit a pattern, in the order of the numbers in their names."""
    if not has_magic(pattern):
        return ()
    path = Path(pattern)
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return tuple(sorted((x for x in matches if x.is_file()), key=natural))


def _in(folder: Path) -> tuple[Path, ...]:
    """List the files of a folder, in the order of the numbers in their names."""
    if not folder.is_dir():
        return ()
    files = (x for x in folder.iterdir() if x.is_file() and not x.name.startswith("."))
    return tuple(sorted(files, key=natural))
