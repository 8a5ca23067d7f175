"""A least-recently-used cache bounded by bytes, for what is computed from a geometry.

One cache serves all layers of a process, so that two layers on one geometry search it once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from torch import Tensor

_Value = TypeVar("_Value")

MAX_BYTES = 1 << 30  # bytes of one cache


class ByteLRUCache(Generic[_Value]):
    """Cache of values by key that drops the least recently used ones beyond `most` bytes.

    The latest value stays, however large it is. Safe for several threads.

    Args:
        tensors: the tensors that a value holds, for counting its bytes.
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
        """Return the value of the key, calling `make` where there is none.

        Two threads that miss at once both call `make`; the first value is cached.
        """
        with self.lock:
            if key in self.held:
                self.held.move_to_end(key)
                return self.held[key]
        value = make()  # outside of the lock, because it may take seconds
        with self.lock:
            if key not in self.held:
                self.held[key] = value
                self.bytes += self._size(value)
            while self.bytes > self.most and len(self.held) > 1:
                self.bytes -= self._size(self.held.popitem(last=False)[1])
        return value

    def clear(self) -> None:
        """Drop all values."""
        with self.lock:
            self.held.clear()
            self.bytes = 0

    def _size(self, value: _Value) -> int:
        return sum(x.numel() * x.element_size() for x in self.tensors(value) if x is not None)
