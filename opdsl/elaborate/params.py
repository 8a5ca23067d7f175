"""Types of parameters: `int`, `modes`, `activation`, `none | soft | linear`.

What comes in: a value and the alternatives of a type. What goes out: the value as that type keeps
it, or None where it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from opdsl.elaborate.values import Value, Word
from opdsl.ir.dims import Poly
from opdsl.syntax.tree import ParamType


def activations() -> tuple[str, ...]:
    """The words that a parameter of type `activation` takes."""
    from opdsl.blocks.pointwise.apply import Activation

    return get_args(Activation)


def fit(value: Value, alternatives: tuple[ParamType, ...]) -> Value | None:
    """The value as the first alternative that takes it."""
    for alternative in alternatives:
        made = _fit(value, alternative)
        if made is not None:
            return made
    return None


def describe(alternatives: tuple[ParamType, ...]) -> str:
    """The type in words: `a whole number`, `none, soft or linear`."""
    said = [DESCRIBED.get(x.name.text, f"`{x.name.text}`") for x in alternatives]
    return said[0] if len(said) == 1 else ", ".join(said[:-1]) + " or " + said[-1]


def words(alternatives: tuple[ParamType, ...]) -> tuple[str, ...]:
    """Every word that the type takes."""
    own = tuple(x.name.text for x in alternatives if x.name.text not in TYPES)
    has = any(x.name.text == "activation" for x in alternatives)
    return own + (activations() if has else ())


def _fit(value: Value, alternative: ParamType) -> Value | None:
    name = alternative.name.text
    if name in TYPES:
        return TYPES[name](value)
    return value if isinstance(value, Word) and value.text == name else None


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
    if not isinstance(value, tuple):
        number = _int(value)
        return number if isinstance(number, int) and number >= 0 else None
    made = tuple(_modes(x) for x in value)
    return None if any(x is None or isinstance(x, tuple) for x in made) else value


def _activation(value: Value) -> Value | None:
    return value if isinstance(value, Word) and value.text in activations() else None


TYPES: Mapping[str, Callable[[Value], Value | None]] = {
    "activation": _activation,
    "bool": _bool,
    "float": _float,
    "int": _int,
    "modes": _modes,
    "str": _str,
}
DESCRIBED = {
    "activation": "the name of an activation",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "modes": "a number of modes, one for all axes or one for each",
    "str": "a text in quotes",
}
