"""The listing of a file as rows; arrays with numbered names, such as `0000/data`, share a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opdsl.data.arrays.listing import ArrayFile, ArrayInfo

FEWEST = 4  # arrays whose names differ by numbers only are one row, if there are so many
LONGEST = 60  # characters of the attributes of a row
MOST_NOTED = 12  # rows in a diagnostic
NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class ArrayRow:
    """An array, or several whose names differ by numbers only.

    Attributes:
        name: its name, with `*` for the numbers that differ.
        count: number of arrays.
        shape: entries on each axis, the fewest and the most.
        type: number format of the values.
        axes: name of each axis, where the file states it.
        attributes: those of the first array.
    """

    name: str
    count: int
    shape: tuple[tuple[int, int], ...]
    type: str
    axes: tuple[str | None, ...]
    attributes: Mapping[str, Any]

    @property
    def extent(self) -> str:
        """The number of arrays, if there are several, and the shape: `8 arrays (6, 32, 32, 2)`."""
        sizes = [f"{low}" if low == high else f"{low}..{high}" for low, high in self.shape]
        text = f"({', '.join(sizes)}{',' * (len(sizes) == 1)})"
        return text if self.count == 1 else f"{self.count} arrays {text}"

    @property
    def named_axes(self) -> str:
        """The names of the axes, `-` for one without a name; empty if none has one."""
        return ", ".join(x or "-" for x in self.axes) if any(self.axes) else ""

    @property
    def about(self) -> str:
        """The attributes as a short text."""
        return attributes_text(self.attributes)

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data; an axis is [fewest, most] where arrays differ."""
        return {
            "name": self.name,
            "arrays": self.count,
            "shape": [low if low == high else [low, high] for low, high in self.shape],
            "type": self.type,
            "axes": list(self.axes) if any(self.axes) else [],
            "attributes": {k: plain(x) for k, x in self.attributes.items()},
        }


def rows(file: ArrayFile) -> tuple[ArrayRow, ...]:
    """List the arrays of a file, in its order."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for name, info in file.arrays.items():
        words = tuple(NUMBER.split(name)[::2])
        alike.setdefault((words, info.dtype, len(info.shape)), []).append(name)
    listing: list[ArrayRow] = []
    for names in alike.values():
        groups = [names] if len(names) >= FEWEST else [[x] for x in names]
        listing += [_row(x, [file.arrays[k] for k in x]) for x in groups]
    return tuple(listing)


def _row(names: Sequence[str], infos: Sequence[ArrayInfo]) -> ArrayRow:
    sizes = zip(*(x.shape for x in infos), strict=True)
    first = infos[0]
    return ArrayRow(
        name=_pattern(names),
        count=len(names),
        shape=tuple((min(x), max(x)) for x in sizes),
        type=str(first.dtype),
        axes=first.axes if all(x.axes == first.axes for x in infos) else (),
        attributes=first.attributes,
    )


def _pattern(names: Sequence[str]) -> str:
    """Replace the numbers that differ by `*`."""
    parts = zip(*map(NUMBER.split, names), strict=True)
    return "".join(x[0] if len(set(x)) == 1 else "*" for x in parts)


def listing_note(file: ArrayFile, most: int = MOST_NOTED) -> str:
    """Write what a file holds as the note of a diagnostic, in at most so many rows."""
    listing = rows(file)
    lines = [f"`{x.name}`  {x.extent}" for x in listing[:most]]
    more = [f"and {len(listing) - most} more"] if len(listing) > most else []
    arrays = "array" if len(file.arrays) == 1 else "arrays"
    return "\n".join([f"{file.format} with {len(file.arrays)} {arrays}", *lines, *more])


def attributes_text(attributes: Mapping[str, Any], longest: int = LONGEST) -> str:
    """Write attributes as `units = K, nu = 0.1`, cut off after some characters."""
    text = ", ".join(f"{k} = {_value(x)}" for k, x in attributes.items())
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3].rstrip(" ,") + "..."


def _value(value: Any) -> str:
    if isinstance(value, list):
        one = len(value) == 1
        return _value(value[0]) if one else f"[{', '.join(map(_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """Convert an attribute to what JSON can express: numbers that are not finite become texts."""
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value
