"""What was computed for a geometry, kept for the next time: the latest, under a bound of bytes.

What comes in: a key and how to make its value. What goes out: the value. One such store serves all
layers of a process, so that two layers on one geometry search it once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from torch import Tensor

_Value = TypeVar("_Value")

MAX_BYTES = 1 << 30  # bytes of one store


class ByteLRUCache(Generic[_Value]):
    """Values by key; where they outgrow `most` bytes, those go that were not asked for longest.

    The latest value stays, however large it is.

    Args:
        tensors: what a value holds, to count its bytes.
        most: bytes.
    """

    def __init__(
        self, tensors: Callable[[_Value], tuple[Tensor | None, ...]], most: int = MAX_BYTES
    ) -> None:
        self.tensors, self.most = tensors, most
        self.held: OrderedDict[Hashable, _Value] = OrderedDict()
        self.bytes = 0
        self.lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The value of the key, made if it is not held."""
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return self.held[key]
        value = make()  # outside of the lock: it may take seconds
        with self.lock:
            if key not in self.held:
                self.held[key] = value
                self.bytes += self._size(value)
            while self.bytes > self.most and len(self.held) > 1:
                self.bytes -= self._size(self.held.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Forget all."""
        with self.lock:
            self.held.clear()
            self.bytes = 0

    def _size(self, value: _Value) -> int:
        return sum(x.numel() * x.element_size() for x in self.tensors(value) if x is not None)
