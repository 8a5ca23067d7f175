"""The decorator of the classes of the tree."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False)
def node(cls: type[T]) -> type[T]:
    """A dataclass with slots that is equal to itself only; type checkers see that it is frozen.

    `dataclass(frozen=True)` with comparison compiles six functions for each class when it is
    imported instead of one, which for the 37 classes of the tree was a tenth of `opdsl check`.
    """
    dataclass_ = dataclass(eq=False, repr=False, slots=True)(cls)
    dataclass_.__repr__ = _shown  # type: ignore[method-assign]  # one function for all
    return dataclass_


def _shown(self: Any) -> str:
    parts = ", ".join(f"{x.name}={getattr(self, x.name)!r}" for x in fields(self))
    return f"{type(self).__name__}({parts})"
