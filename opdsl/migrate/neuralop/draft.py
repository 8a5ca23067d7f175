"""The draft of an imported model: its program, and the source of each weight. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from opdsl.diagnostics import OpError, did_you_mean, fault

Shapes = Mapping[str, tuple[int, ...]]
# entries that a class stores besides its arguments
BOOKKEEPING = frozenset({"args", "kwargs", "_name", "_version", "verbose"})


@dataclass(frozen=True, slots=True)
class ConstructorCall:
    """A constructor call, `name(*args, **named)`."""

    name: str
    args: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    def also(self, **named: Any) -> ConstructorCall:
        """Add arguments that are not the constructor's own; skip those that are None."""
        present = {k: x for k, x in named.items() if x is not None}
        return replace(self, named={**self.named, **present})


@dataclass(frozen=True, slots=True)
class WeightSource:
    """The source of a weight: `ours` is the map `change` of their weights `theirs`.

    Attributes:
        ours: the key in our state dict.
        theirs: the keys in neuraloperator's state dict.
        change: name of a map in `opdsl.migrate.neuralop.changes`.
    """

    ours: str
    theirs: tuple[str, ...]
    change: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A model of neuraloperator as a program.

    Attributes:
        text: the program.
        takes: the source of each of our weights.
        notes: faults of neuraloperator, whether they were kept or corrected, and what was left out.
        unused: suffixes of the names of their weights that have no effect.
    """

    text: str
    takes: tuple[WeightSource, ...]
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class ConstructorOptions(BaseModel):
    """The arguments of a constructor, in their order, with their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


OptionsT = TypeVar("OptionsT", bound=ConstructorOptions)


def options_of(
    kind: type[OptionsT], name: str, args: tuple[Any, ...], given: Mapping[str, Any]
) -> OptionsT:
    """Validate the arguments of a call and return them as options.

    Raises:
        OpError: OP0642, an argument is unknown, missing, or has a value that does not fit.
    """
    fields = list(kind.model_fields)
    if len(args) > len(fields):
        raise bad_call(name, f"it takes {len(fields)} arguments, {len(args)} are given")
    arguments = dict(zip(fields, args, strict=False)) | dict(given)
    for key in arguments:
        if key not in fields:
            raise bad_call(name, f"it has no argument `{key}`", *did_you_mean(key, fields))
    try:
        return kind(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(x) for x in first["loc"])
        what = "is missing" if first["type"] == "missing" else f"does not fit: {first['msg']}"
        raise bad_call(name, f"the argument `{where}` {what.lower()}") from error


def bad_call(name: str, why: str, *helps: str) -> OpError:
    """Make OP0642 about arguments that a constructor does not take."""
    message = f"this call of `{name}` is none that neuraloperator takes: {why}"
    return fault("OP0642", message, helps=helps)


def not_importable(name: str, what: str, *helps: str) -> OpError:
    """Make OP0641 about an option that has no counterpart."""
    return fault("OP0641", f"`{name}` cannot be imported with {what}", helps=helps)


def word(value: object) -> str | None:
    """Return the name of a function, class or instance: `GELU` of `torch.nn.GELU` and `GELU()`.

    A checkpoint is read with stand-ins, which know the name of what they stand for.
    """
    if value is None or isinstance(value, str):
        return value
    stands_for = getattr(value, "stands_for", None)
    name = stands_for or getattr(value, "__name__", None) or type(value).__name__
    return str(name).rpartition(".")[2]


def each(value: object, count: int) -> tuple[Any, ...]:
    """Return the values of a list, or one value `count` times."""
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,) * count
