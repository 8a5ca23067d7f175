"""Whether the operations that run now are recomputed for the gradient.

An autograd function that keeps a graph on its context, out of reach of `torch.utils.checkpoint`,
asks `is_recomputed` and lets its backward pass record the graph instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_RECOMPUTED: ContextVar[bool] = ContextVar("recomputed", default=False)


def is_recomputed() -> bool:
    """Return whether results of the operations that run now are not kept for the gradient."""
    return _RECOMPUTED.get()


@contextmanager
def recomputed_operations() -> Iterator[None]:
    """Mark the operations in the block as recomputed."""
    token = _RECOMPUTED.set(True)
    try:
        yield
    finally:
        _RECOMPUTED.reset(token)
