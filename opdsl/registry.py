"""Members of a kind by name: modules in one of our folders, entry points of other packages.

The name of a member is the name of its module, so that a member is one file and no table lists it.
Only the module that is asked for is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registry(Generic[T]):
    """The members of one kind: modules of one of our folders and entry points of other packages.

    Attributes:
        package: dotted name of the folder with our members; packages in it and modules that begin
            with an underscore are no members.
        attribute: the name of the member in each module; None if it is the name of the module.
        group: the entry-point group in which other packages add members, each under its name; None
            if they cannot add any.
    """

    package: str
    attribute: str | None = None
    group: str | None = None

    def names(self) -> tuple[str, ...]:
        """List the names of our members, sorted."""
        return _modules(self.package)

    def known(self) -> tuple[str, ...]:
        """List the names of our members, then of those of other packages, for messages and menus.

        It reads the metadata of every installed package, which takes tens of milliseconds.
        """
        theirs = sorted({x.name for x in _entry_points(self.group)} - set(self.names()))
        return (*self.names(), *theirs)

    def find(self, name: str) -> T | None:
        """Return the member of this name, ours before those of others; None if there is none.

        Metadata of installed packages are read only where the name is not ours.
        """
        if name in self.names():
            return self._ours(name)
        return next(
            (cast("T", x.load()) for x in _entry_points(self.group) if x.name == name), None
        )

    def __iter__(self) -> Iterator[T]:
        """Iterate over all members, ours first.

        Metadata are read only where a folder of `sys.path` holds a package that declares the group
        (see `declared`), for commands that must start fast.
        """
        for name in self.names():
            yield self._ours(name)
        if self.group and declared(self.group):
            for x in _entry_points(self.group):
                if x.name not in self.names():
                    yield cast("T", x.load())

    def _ours(self, name: str) -> T:
        module = import_module(f"{self.package}.{name}")
        return cast("T", getattr(module, self.attribute or name))


@cache
def declared(group: str) -> bool:
    """Whether a package in a folder of `sys.path` declares an entry-point group.

    Reads the file `entry_points.txt` of each package and nothing else: 2 ms for a hundred packages,
    where `importlib.metadata` takes 200 ms to import and 20 ms to search. Packages inside zip files
    are not seen. The result is cached for each group.
    """
    mark = f"[{group}]".encode()
    return any(mark in text for folder in sys.path for text in _declarations(folder or "."))


def _declarations(folder: str) -> Iterator[bytes]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # no folder, or a zip file
        return
    for x in entries:
        if x.name.endswith((".dist-info", ".egg-info")):
            try:
                with open(f"{x.path}/entry_points.txt", "rb") as file:  # noqa: PTH123  on the way of `check`
                    yield file.read()
            except OSError:  # most packages declare nothing
                continue


@cache
def _modules(package: str) -> tuple[str, ...]:
    """List the public modules of a package, also inside a zip file, which has no folders."""
    paths: Any = import_module(package).__path__
    names = (x.name for x in iter_modules(paths) if not x.ispkg)
    return tuple(sorted(x for x in names if not x.startswith("_")))


@cache
def _entry_points(group: str | None) -> tuple[EntryPoint, ...]:
    if group is None:
        return ()
    # imported here: it costs more than checking a program
    from importlib.metadata import entry_points

    return tuple(entry_points(group=group))
