"""Locations of the files that are not Python: grammar/, library/, specs/.

The path is the same for an installed wheel, an editable install and a bare checkout. A package that
runs from a zip file has no such folder, so its files are copied for as long as the process lives.
`importlib.resources` on a sub-package is not used: it fails in editable installs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

ResourceKind = Literal["grammar", "library", "specs"]


@cache
def root(kind: ResourceKind) -> Path:
    """Return the folder `kind`, inside the installed package if it is there, else next to it.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / kind, package.parent / kind):
        if folder.is_dir():
            return folder
    from importlib.resources import files  # slow, and only for a zip file

    packed = files("opdsl").joinpath(kind)
    if packed.is_dir():
        return _copied(packed)
    raise FileNotFoundError(f"opdsl is installed without its folder `{kind}`: install it again")


def _copied(packed: Traversable) -> Path:
    """Copy a folder to a temporary one, which is removed when the process ends."""
    import atexit
    import tempfile

    folder = tempfile.TemporaryDirectory(prefix="opdsl-")
    atexit.register(folder.cleanup)
    _copy(packed, Path(folder.name))
    return Path(folder.name)


def _copy(packed: Traversable, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for item in packed.iterdir():
        if item.is_dir():
            _copy(item, target / item.name)
        else:
            (target / item.name).write_bytes(item.read_bytes())
