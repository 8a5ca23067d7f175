"""Polynomials in the sizes of axes: what a node costs, before any resolution is known.

An atom is the text of one size: `D.x`, `(D.x//2)`, `log2(D.x)`. What comes in: numbers and atoms.
What goes out: sums of monomials that print as formulas and take numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

Monomial = tuple[tuple[str, int], ...]
Number = int | float


@dataclass(frozen=True, slots=True)
class Poly:
    """A sum of monomials, sorted; equal polynomials are equal objects."""

    terms: tuple[tuple[Monomial, Number], ...] = ()

    @staticmethod
    def of(value: Number | Poly) -> Poly:
        """The constant polynomial, or the polynomial itself."""
        return value if isinstance(value, Poly) else _collect({(): value})

    @staticmethod
    def atom(name: str) -> Poly:
        """The polynomial `name`."""
        return Poly(((((name, 1),), 1),))

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

    def atoms(self) -> set[str]:
        """Every atom that occurs."""
        return {name for monomial, _ in self.terms for name, _ in monomial}

    def at(self, sizes: Mapping[str, Number]) -> float:
        """The value where each atom has the number `sizes[atom]`; `log2(a)` follows from `a`."""
        return sum(
            factor * math.prod(_value(name, sizes) ** power for name, power in monomial)
            for monomial, factor in self.terms
        )

    def __str__(self) -> str:
        return " + ".join(_term(m, f) for m, f in self.terms) or "0"


def product(factors: tuple[Poly, ...]) -> Poly:
    """Their product; 1 if there are none."""
    return math.prod(factors, start=Poly.of(1))


def _collect(terms: Mapping[Monomial, Number]) -> Poly:
    kept = [(m, f) for m, f in terms.items() if f != 0]
    return Poly(tuple(sorted(kept, key=lambda x: (-sum(p for _, p in x[0]), x[0]))))


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
    shown = (
        f"{factor:g}" if isinstance(factor, float) and not factor.is_integer() else f"{factor:.0f}"
    )
    powers = [name if power == 1 else f"{name}^{power}" for name, power in monomial]
    return "·".join(powers if shown == "1" and powers else [shown, *powers])
