"""Decorators of small frozen classes that are cheap to import and to create.

`dataclass(frozen=True)` compiles six functions for each class when it is imported, and its
`__init__` sets each field through `object.__setattr__`; for the classes on the way of `opdsl check`
both were a tenth of its work. These compile one function, or three. Type checkers see that the
classes are frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots, compared and hashed by identity."""
    return _with_repr(dataclass(eq=False, repr=False, slots=True)(cls))


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with slots, compared and hashed by its fields."""
    return _with_repr(dataclass(repr=False, slots=True, unsafe_hash=True)(cls))


def _with_repr(cls: type[T]) -> type[T]:
    cls.__repr__ = _representation  # type: ignore[method-assign]  # one function for all
    return cls


def _representation(self: Any) -> str:
    names = (x.name for x in fields(self) if x.repr)
    parts = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
    return f"{type(self).__name__}({parts})"
