"""Types of parameters: `int`, `modes`, `bases`, `activation`, `none | soft | linear`.

A type converts a value to what a parameter of it holds, or returns None where the value does not
fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from opdsl.bases import Basis
from opdsl.blocks.pointwise.apply import ActivationName
from opdsl.elaborate.evaluate.values import Value, Word
from opdsl.ir.dims import Poly
from opdsl.syntax.tree import ParamType


def activations() -> tuple[str, ...]:
    """Return the words that a parameter of type `activation` accepts."""
    return get_args(ActivationName)


def accepted(value: Value, alternatives: tuple[ParamType, ...]) -> Value | None:
    """Convert the value by the first alternative that accepts it; None if none does."""
    for alternative in alternatives:
        name = alternative.name.text
        if name in TYPES:
            converted = TYPES[name](value)
        else:
            converted = value if isinstance(value, Word) and value.text == name else None
        if converted is not None:
            return converted
    return None


def describe_type(alternatives: tuple[ParamType, ...]) -> str:
    """Name the type: `a whole number`, `none, soft or linear`."""
    names = [DESCRIPTIONS.get(x.name.text, f"`{x.name.text}`") for x in alternatives]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]


def words(alternatives: tuple[ParamType, ...]) -> tuple[str, ...]:
    """Return every word that the type accepts."""
    own = tuple(x.name.text for x in alternatives if x.name.text not in TYPES)
    names = {x.name.text for x in alternatives}
    activation = activations() if "activation" in names else ()
    return own + activation + (get_args(Basis) if "bases" in names else ())


def _int(value: Value) -> Value | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | Poly) else None


def _float(value: Value) -> Value | None:
    if isinstance(value, Poly):
        return value
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _bool(value: Value) -> Value | None:
    return value if isinstance(value, bool) else None


def _str(value: Value) -> Value | None:
    return value if isinstance(value, str) else None


def _modes(value: Value) -> Value | None:
    if isinstance(value, tuple):
        numbers = tuple(_modes(x) for x in value)
        return None if any(x is None or isinstance(x, tuple) for x in numbers) else value
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 0 else None


def _activation(value: Value) -> Value | None:
    return value if isinstance(value, Word) and value.text in activations() else None


def _bases(value: Value) -> Value | None:
    each = value if isinstance(value, tuple) else (value,)
    fits = bool(each) and all(isinstance(x, Word) and x.text in get_args(Basis) for x in each)
    return value if fits else None


TYPES: Mapping[str, Callable[[Value], Value | None]] = {
    "activation": _activation,
    "bases": _bases,
    "bool": _bool,
    "float": _float,
    "int": _int,
    "modes": _modes,
    "str": _str,
}
DESCRIPTIONS = {
    "activation": "the name of an activation",
    "bases": "a basis, one for all axes or one for each",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "modes": "a number of modes, one for all axes or one for each",
    "str": "a text in quotes",
}
