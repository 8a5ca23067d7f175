"""References to arrays as a program writes them: `scalars/nu`, `NACA_Q.npy[:, 4]`, `*/data`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from posixpath import basename

from opdsl.data.io.meshes import natural
from opdsl.diagnostics import OpError, fault

_INDEXED = re.compile(r"(?P<name>[^\[\]]+)\[(?P<index>[^\[\]]*)\]")
_PART = re.compile(r"-?\d+|(-?\d+)?:(-?\d+)?(:-?[1-9]\d*)?")


@dataclass(frozen=True, slots=True)
class ArrayReference:
    """One or more arrays of the files of a data set.

    Attributes:
        text: the reference as the program writes it.
        name: name of an array, of a file, or of an array in a file; `*` stands for any text.
        index: an integer or a slice for each of the first axes.
    """

    text: str
    name: str
    index: tuple[int | slice, ...] = ()

    @property
    def several(self) -> bool:
        """Whether it may name several arrays, each of them one sample."""
        return "*" in self.name


def read_reference(text: str) -> ArrayReference:
    """Read a reference.

    Raises:
        OpError: OP0663, the text is malformed.
    """
    match = _INDEXED.fullmatch(text.strip())
    if match is None:
        if not text.strip() or "[" in text or "]" in text:
            raise _malformed(text)
        return ArrayReference(text, text.strip())
    parts = [x.strip() for x in match["index"].split(",")]
    if not all(_PART.fullmatch(x) for x in parts):
        raise _malformed(text)
    return ArrayReference(text, match["name"].strip(), tuple(_index(x) for x in parts))


def written(names: Sequence[str]) -> str:
    """Write references as a program does: `"u"`, or `["p", "q"]` for several."""
    texts = [f'"{x}"' for x in names]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def matching(name: str, names: Sequence[str]) -> list[str]:
    """List the arrays that a name means: itself, all that fit `*`, or the only one that ends so."""
    if name in names:
        return [name]
    if "*" in name:
        return sorted((x for x in names if fnmatchcase(x, name)), key=_in_order)
    inner = [x for x in names if basename(x) == name or x.endswith(f"/{name}")]
    return inner if len(inner) == 1 else []


def sliced_shape(shape: Sequence[int], index: Sequence[int | slice]) -> Iterator[int]:
    """Yield the shape that indexing leaves: an integer drops its axis."""
    for n, part in zip(shape, (*index, *[slice(None)] * (len(shape) - len(index))), strict=True):
        if isinstance(part, slice):
            yield len(range(n)[part])


def _in_order(name: str) -> tuple[object, ...]:
    return tuple(natural(Path(x)) for x in name.split("/"))


def _index(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    return slice(*(int(x) if x else None for x in text.split(":")))


def _malformed(text: str) -> OpError:
    message = f'`"{text}"` names no array'
    helps = ('write a name, with an index if needed: `"density"`, `"scalars/nu"`, `"Q.npy[:, 4]"`',)
    return fault("OP0663", message, helps=helps)
