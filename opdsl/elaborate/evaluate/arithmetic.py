"""Arithmetic on values that are known before run time: numbers, modes, words, domains.

An operation returns None where it is not defined. Functions are not handled here, since adding two
functions makes a node.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TypeGuard

from opdsl.elaborate.evaluate.values import Interval, Value, Word, WordPair
from opdsl.ir.dims import Dim, Poly, Undecided
from opdsl.ir.spaces import Domain

Number = int | float
DIGITS = 300  # most places to which `round` rounds, before or after the decimal point
COMPARE: dict[str, Callable[[Number, Number], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "float": float,
    "floor": math.floor,
    "int": int,
    "max": max,
    "min": min,
    "round": round,
}


def binary(sign: str, left: Value, right: Value) -> Value | None:
    """Evaluate `left sign right`; modes (tuples) go element by element."""
    if sign in ("==", "!=") and not isinstance(left, Poly) and not isinstance(right, Poly):
        return _plain(left) == _plain(right) if sign == "==" else _plain(left) != _plain(right)
    if isinstance(left, Poly) or isinstance(right, Poly):
        return _of_symbols(sign, left, right)
    if isinstance(left, Domain):
        return _of_domains(sign, left, right)
    if isinstance(left, tuple) or isinstance(right, tuple):
        return _elementwise(sign, left, right)
    if sign == ".." and isinstance(left, Word) and isinstance(right, Word):
        return WordPair(left.text, right.text)
    if not is_number(left) or not is_number(right):
        return None
    return _of_numbers(sign, left, right)


def function(name: str, values: list[Number | Poly]) -> Number | Poly:
    """Evaluate `int(value)`, `max(a, b)` or another of `FUNCTIONS`.

    Raises:
        TypeError, ValueError, OverflowError: the function does not accept these values.
        Undecided: the result depends on open sizes.
    """
    symbol = values[0] if len(values) == 1 else None
    if isinstance(symbol, Poly):
        if name in ("int", "floor"):
            return symbol.rounded()
        raise Undecided
    if any(isinstance(x, Poly) for x in values):
        raise Undecided
    if name == "round" and len(values) > 1 and not -DIGITS <= values[1] <= DIGITS:
        raise OverflowError(name)  # Python would build an integer of that many digits
    return FUNCTIONS[name](*values)


def negative(value: Value) -> Value | None:
    """Evaluate `-value`."""
    if isinstance(value, Poly):
        return -value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return -value


def is_number(value: Value) -> TypeGuard[Number]:
    """Return whether the value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_count(value: Value) -> TypeGuard[Dim]:
    """Return whether the value is a whole number, or a symbol that stands for one."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or isinstance(value, Poly)


def _plain(value: Value) -> object:
    return value.text if isinstance(value, Word) else value


def _of_symbols(sign: str, left: Value, right: Value) -> Value | None:
    """Evaluate an operation on sizes that a definition leaves open.

    Raises:
        Undecided: the result depends on the sizes.
    """
    if isinstance(left, tuple) or isinstance(right, tuple):
        return _elementwise(sign, left, right)
    if not all(isinstance(x, Poly) or is_number(x) for x in (left, right)):
        return None
    a, b = _poly(left), _poly(right)
    if sign in ("==", "!="):
        return _equal(a, b) == (sign == "==")
    if sign in ("/", "%") and b == 0:
        return None
    if sign not in SYMBOLIC:
        raise Undecided
    return SYMBOLIC[sign](a, b)


def _poly(value: Value) -> Poly:
    assert isinstance(value, Poly | int | float)
    return Poly.of(value)


def _equal(a: Poly, b: Poly) -> bool:
    """Return whether both are equal for all sizes; undecided if that depends on the sizes."""
    least, greatest = (a - b).range()
    if a != b and least <= 0 <= greatest:
        raise Undecided
    return a == b


SYMBOLIC: dict[str, Callable[[Poly, Poly], Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / _divisor(b),
    "%": lambda a, b: a % _divisor(b),
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _divisor(value: Poly) -> Number:
    if value.terms and value.atoms():
        raise Undecided
    return value.at({})


def _of_domains(sign: str, left: Domain, right: Value) -> Domain | None:
    """Evaluate `D / 2` for grids and spheres, and `X * T` for domains that can form a product."""
    if sign == "/" and all(x.kind in {"grid", "interval", "sphere"} for x in left.parts):
        return _coarsen(left, right)
    if sign == "*" and isinstance(right, Domain) and _distinct(left, right):
        return Domain.product((left, right))
    return None


def _distinct(left: Domain, right: Domain) -> bool:
    """Return whether no declared domain occurs twice, as axes of a product need distinct names."""
    names = [x.name for y in (left, right) for x in y.declared]
    return "spectrum" not in (left.kind, right.kind) and len(set(names)) == len(names)


def _coarsen(domain: Domain, factor: Value) -> Domain | None:
    if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
        return None
    return domain.coarsened(factor)


def _elementwise(sign: str, left: Value, right: Value) -> Value | None:
    pair = _paired(left, right)
    if pair is None:
        return None
    results = [_modes(sign, a, b) for a, b in pair]
    elements = tuple(x for x in results if x is not None)
    return elements if len(elements) == len(results) else None


def _paired(left: Value, right: Value) -> list[tuple[Value, Value]] | None:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return list(zip(left, right, strict=True)) if len(left) == len(right) else None
    if isinstance(left, tuple):
        return [(x, right) for x in left]
    return [(left, x) for x in right] if isinstance(right, tuple) else None


def _modes(sign: str, a: Value, b: Value) -> Value | None:
    """Compute one element of a tuple; `/` rounds down, since a tuple stands for modes."""
    value = binary(sign, a, b)
    return math.floor(value) if sign == "/" and isinstance(value, float) else value


def _of_numbers(sign: str, left: Number, right: Number) -> Value | None:
    if sign in COMPARE:
        return COMPARE[sign](left, right)
    if sign in ("/", "%"):
        return _divide(sign, left, right)
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "..":
            return Interval(float(left), float(right))
    return None


def _divide(sign: str, left: Number, right: Number) -> Value | None:
    if right == 0:
        return None
    if sign == "%":
        return left % right
    exact = isinstance(left, int) and isinstance(right, int) and left % right == 0
    return int(left // right) if exact else left / right
