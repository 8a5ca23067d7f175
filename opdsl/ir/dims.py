"""Polynomials in sizes, for costs at an open resolution and for open channels of a definition.

An atom is the text of one size: `D.x`, `(D.x//2)`, `log2(D.x)`, or the name of a dim. Every atom
stands for a whole number of at least one. A polynomial is a sum of monomials in atoms; it prints as
a formula, is evaluated at numbers, and compares where the comparison holds for all sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core.core_schema import CoreSchema, no_info_wrap_validator_function

Monomial = tuple[tuple[str, int], ...]
Number = int | float


class Undecided(Exception):  # noqa: N818  an answer, not an error
    """The answer depends on sizes that are left open."""


@dataclass(frozen=True, slots=True, eq=False)
class Poly:
    """A sum of monomials, sorted; equal polynomials have equal terms."""

    terms: tuple[tuple[Monomial, Number], ...] = ()

    @staticmethod
    def of(value: Number | Poly) -> Poly:
        """Return the constant polynomial of a number, or the polynomial itself."""
        return value if isinstance(value, Poly) else _collect({(): value})

    @staticmethod
    def atom(name: str) -> Poly:
        """Return the polynomial that consists of the atom `name`."""
        return Poly(((((name, 1),), 1),))

    # ----------------------------------------------------------------- arithmetic

    def __add__(self, other: Number | Poly) -> Poly:
        total = dict(self.terms)
        for monomial, factor in Poly.of(other).terms:
            total[monomial] = total.get(monomial, 0) + factor
        return _collect(total)

    def __mul__(self, other: Number | Poly) -> Poly:
        total: dict[Monomial, Number] = {}
        for left, a in self.terms:
            for right, b in Poly.of(other).terms:
                monomial = _times(left, right)
                total[monomial] = total.get(monomial, 0) + a * b
        return _collect(total)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Poly:
        return self * -1

    def __sub__(self, other: Number | Poly) -> Poly:
        return self + Poly.of(other) * -1

    def __rsub__(self, other: Number) -> Poly:
        return Poly.of(other) - self

    def __truediv__(self, other: Number | Poly) -> Poly:
        divisor = _number(other)
        return _collect({m: _divided(f, divisor) for m, f in self.terms})

    def __floordiv__(self, other: Number | Poly) -> Poly:
        """Divide without remainder; undecided where there may be one."""
        if self % other != 0:
            raise Undecided
        return self / other

    def __mod__(self, other: Number | Poly) -> Poly:
        """Return 0 if the value is divisible for all sizes; undecided otherwise."""
        divisor = _number(other)
        if any(f % divisor for _, f in self.terms):
            raise Undecided
        return Poly()

    def rounded(self) -> Poly:
        """Round down: the polynomial itself if its factors are whole, else an atom `int(...)`."""
        if all(float(f).is_integer() for _, f in self.terms):
            return _collect({m: int(f) for m, f in self.terms})
        return Poly.atom(f"int({self})")

    # ----------------------------------------------------------------- comparison

    def __eq__(self, other: object) -> bool:
        """Return whether both are equal for all sizes."""
        if not isinstance(other, Poly | int | float):
            return NotImplemented
        return self.terms == Poly.of(other).terms

    def __bool__(self) -> bool:
        """Return whether the polynomial is not zero."""
        return bool(self.terms)

    def __hash__(self) -> int:
        return hash(self.terms)

    def __ge__(self, other: Number | Poly) -> bool:
        return (self - other)._never_negative()

    def __le__(self, other: Number | Poly) -> bool:
        return (Poly.of(other) - self)._never_negative()

    def __gt__(self, other: Number | Poly) -> bool:
        return not self <= other

    def __lt__(self, other: Number | Poly) -> bool:
        return not self >= other

    def _never_negative(self) -> bool:
        """Return whether the value is at least 0 for all sizes; undecided if it depends on them."""
        least, greatest = self.range()
        if least >= 0:
            return True
        if greatest < 0:
            return False
        raise Undecided

    def range(self) -> tuple[float, float]:
        """Return bounds of the value, where every atom is 1 or more.

        A monomial is at least 1 and has no upper bound; the bounds of a sum are the sums of the
        bounds of its terms.
        """
        least = sum(f if f > 0 or not m else -math.inf for m, f in self.terms)
        greatest = sum(f if f < 0 or not m else math.inf for m, f in self.terms)
        return float(least), float(greatest)

    # ----------------------------------------------------------------- with numbers

    def atoms(self) -> set[str]:
        """Return every atom that occurs."""
        return {name for monomial, _ in self.terms for name, _ in monomial}

    def at(self, sizes: Mapping[str, Number]) -> float:
        """Evaluate with `sizes[atom]` for each atom; `log2(a)` follows from `a`."""
        return sum(
            factor * math.prod(_value(name, sizes) ** power for name, power in monomial)
            for monomial, factor in self.terms
        )

    def __str__(self) -> str:
        return " + ".join(_term(m, f) for m, f in self.terms) or "0"


# a number of channels; while a definition is checked for all sizes, a polynomial in them
Dim = int | Poly


def product(factors: tuple[Poly, ...]) -> Poly:
    """Multiply the factors; the product of none is 1."""
    return math.prod(factors, start=Poly.of(1))


def decided(dim: Dim) -> int:
    """Return a dim as a number.

    Raises:
        Undecided: the dim is open, as it may be while a definition is checked for all sizes.
    """
    if isinstance(dim, Poly):
        raise Undecided
    return dim


def larger(a: Dim, b: Dim) -> Dim:
    """Return the larger of two dims, or the first if they cannot be compared."""
    try:
        return max(b, a)
    except Undecided:
        return a


class _IntOrPoly:
    """The pydantic type of a `Dim`: a whole number, or a polynomial, which passes unchanged."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_wrap_validator_function(_symbolic, handler(int))


def _symbolic(value: Any, check: Callable[[Any], int]) -> Any:
    return value if isinstance(value, Poly) and value.range()[1] >= 1 else check(value)


Count = Annotated[Dim, _IntOrPoly()]
PositiveCount = Annotated[Dim, Field(gt=0), _IntOrPoly()]


def _collect(terms: Mapping[Monomial, Number]) -> Poly:
    nonzero = [(m, f) for m, f in terms.items() if f != 0]
    return Poly(tuple(sorted(nonzero, key=lambda x: (-sum(p for _, p in x[0]), x[0]))))


def _number(value: Number | Poly) -> Number:
    """Return the divisor if it is a number above zero; undecided otherwise."""
    if isinstance(value, Poly) or value <= 0:
        raise Undecided
    return value


def _divided(factor: Number, divisor: Number) -> Number:
    return factor / divisor if factor % divisor else int(factor // divisor)


def _times(left: Monomial, right: Monomial) -> Monomial:
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    return tuple(sorted(powers.items()))


def _value(atom: str, sizes: Mapping[str, Number]) -> float:
    if atom.startswith("log2(") and atom not in sizes:
        return math.log2(max(1, sizes[atom[5:-1]]))
    return sizes[atom]


def _term(monomial: Monomial, factor: Number) -> str:
    number = (
        f"{factor:g}" if isinstance(factor, float) and not factor.is_integer() else f"{factor:.0f}"
    )
    powers = [name if power == 1 else f"{name}^{power}" for name, power in monomial]
    return "·".join(powers if number == "1" and powers else [number, *powers])
