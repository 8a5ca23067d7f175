"""`Reader`: a way to read files of strangers, and files that it reads well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """A way to read, and what it reads well.

    Attributes:
        name: of the format.
        seeds: good files, or folders.
        read: reads one of them.
        parts: names of the files in a folder that may be damaged, as patterns.
        seal: makes the hashes of a damaged folder right again.
    """

    name: str
    seeds: tuple[Path, ...]
    read: Callable[[Path], object]
    parts: tuple[str, ...] = ()
    seal: Callable[[Path], None] | None = None
