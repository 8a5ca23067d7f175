"""Tensors saved with `torch.save`: in dictionaries, lists, tuples, or a `TensorDataset`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opdsl.data.arrays.containers.admission import damage
from opdsl.data.arrays.containers.pickled import Dataset, Pickled, Tensor, read_pickled
from opdsl.data.arrays.containers.stored import Stored, StoredArrays
from opdsl.data.arrays.formats import ArrayFormat
from opdsl.data.arrays.listing import ArrayFile
from opdsl.data.io.data_file import DataFile
from opdsl.data.io.memory_budget import data_budget
from opdsl.safe_pt import UnsafeFileError

BARE = "data"  # name of a tensor that is in no collection
MOST = 300_000  # values; a list may hold one list a thousand times, and that one another
PLAIN = (str, int, float, bool, type(None))
LONGEST = 1000  # entries of a list that is an attribute


@contextmanager
def _open(file: DataFile) -> Iterator[ArrayFile]:
    with damage(file.source, "torch"), file.path.open("rb") as stream:
        # what is listed stays in the file, so its size needs no memory
        pickled = read_pickled(stream, max(file.path.stat().st_size, data_budget()))
        found = _Contents(pickled)
        found.add("", pickled.contents)
        root = found.groups.pop("", {})
    yield StoredArrays("PyTorch .pt", file.source, file.path, found.places, root, found.groups)


@dataclass(slots=True)
class _Contents:
    """Collects tensors by name, and plain values as attributes of the collection they are in."""

    pickled: Pickled
    places: dict[str, Stored] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    count: int = 0
    above: set[int] = field(default_factory=set)

    def add(self, path: str, value: Any) -> None:
        """Add what a value holds under the path of the value.

        Raises:
            UnsafeFileError: a collection holds itself, there are too many values, or two of a name.
        """
        self.count += 1
        if self.count > MOST:
            raise UnsafeFileError(f"it holds more than {MOST:,} values")
        if isinstance(value, Tensor):
            self._tensor(path or BARE, value)
            return
        if id(value) in self.above:
            raise UnsafeFileError("a collection holds itself")
        self.above.add(id(value))
        for key, part in _parts(value):
            self._part(path, key, part)
        self.above.discard(id(value))

    def _part(self, path: str, key: str, value: Any) -> None:
        if _is_plain(value):
            self.groups.setdefault(path, {})[key] = value
        else:
            self.add(f"{path}/{key}" if path else key, value)

    def _tensor(self, name: str, tensor: Tensor) -> None:
        if name in self.places:
            raise UnsafeFileError(f"two of its tensors have the name `{name}`")
        self.places[name] = self.pickled.place(tensor)


def _parts(value: Any) -> Sequence[tuple[str, Any]]:
    """List the parts of a collection by name; nothing for a value that is none."""
    if isinstance(value, dict):
        return [(str(k), x) for k, x in value.items()]
    if isinstance(value, Dataset):
        value = value.tensors
    whole = value if isinstance(value, list | tuple) else ()
    return [(str(i), x) for i, x in enumerate(whole)]


def _is_plain(value: Any) -> bool:
    """Whether a value is a text, a number or a short list of them."""
    if isinstance(value, list | tuple):
        return 0 < len(value) <= LONGEST and all(isinstance(x, PLAIN) for x in value)
    return isinstance(value, PLAIN)


def _matches(file: DataFile) -> bool:
    saved = file.container == "zip" and any(x.endswith("data.pkl") for x in file.members())
    return saved or file.container == "pickle"


FORMAT = ArrayFormat("PyTorch (.pt)", _matches, _open)
