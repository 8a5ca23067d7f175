"""Bytes of the tensors that torch allocates while a mode is active, and their peak.

Memory inside of a kernel of torch, such as the workspace of a Fourier transform, is not seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Mode that counts the bytes of storages allocated by operations, until they are freed.

    Attributes:
        live: bytes of the counted storages that are alive.
        peak: greatest `live` since the latest `mark`.
        peak_of_held: the peak if the storages passed to `mark` had not been freed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.live = self.peak = self.peak_of_held = 0
        self._sizes: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}
        self._base = self._freed_of_held = 0
        self._held: frozenset[int] = frozenset()

    def mark(self, held: Iterable[Tensor] = ()) -> None:
        """Begin a phase: `growth` and `rise` are relative to the bytes that are alive now.

        Args:
            held: tensors whose storages `peak_of_held` counts when they are freed, too.
        """
        self._base = self.peak = self.peak_of_held = self.live
        self._held, self._freed_of_held = frozenset(id(x.untyped_storage()) for x in held), 0

    @property
    def growth(self) -> int:
        """Bytes that are alive now beyond those at the latest mark; negative if some were freed."""
        return self.live - self._base

    @property
    def rise(self) -> int:
        """Greatest number of bytes alive since the latest mark, beyond those at the mark."""
        return self.peak - self._base

    @property
    def rise_of_held(self) -> int:
        """The `rise` if the storages passed to `mark` had not been freed."""
        return self.peak_of_held - self._base

    def counts(self, x: Tensor) -> bool:
        """Return whether the storage of a tensor has been allocated under this mode."""
        return id(x.untyped_storage()) in self._sizes

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run the operation, and count each storage of its results that no argument has."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        before = {id(x.untyped_storage()) for x in _tensors((args, kwargs))}
        for x in _tensors(result):
            storage = x.untyped_storage()
            if id(storage) not in before and id(storage) not in self._sizes:
                self._count(storage)
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def freed(_: object) -> None:
            self.live -= self._sizes.pop(key)[0]
            if key in self._held:
                self._freed_of_held += size

        self._sizes[key] = size, weakref.ref(storage, freed)
        self.live += size
        self.peak = max(self.peak, self.live)
        self.peak_of_held = max(self.peak_of_held, self.live + self._freed_of_held)


def _tensors(x: object) -> Iterator[Tensor]:
    """Yield the dense tensors in nested sequences and mappings."""
    if isinstance(x, Tensor):
        if x.layout == torch.strided:
            yield x
    elif isinstance(x, Mapping):
        yield from _of_all(x.values())
    elif isinstance(x, list | tuple):
        yield from _of_all(x)


def _of_all(items: Iterable[object]) -> Iterator[Tensor]:
    for item in items:
        yield from _tensors(item)
