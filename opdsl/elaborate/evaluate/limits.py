"""Limits on the size of the values of a program."""

from __future__ import annotations

import math

from opdsl.elaborate.evaluate.values import Value
from opdsl.ir.dims import Poly
from opdsl.ir.spaces import Domain
from opdsl.ir.steps import Coarsen

BITS = 128  # a product of seven such numbers is still a finite float
LEAVES = 16_384  # numbers of a tuple, its nested tuples included
TERMS = 128  # terms of a formula in open sizes
DEGREE = 64
LETTERS = 4096  # letters in the names of the sizes of a formula


def excess(value: Value) -> tuple[str, str] | None:
    """Explain why a value exceeds the limits, by a message and a label; None if it does not."""
    match value:
        case int():
            if value.bit_length() > BITS:
                message = f"this number has {value.bit_length():,} bits"
                return message, f"a whole number has at most {BITS}"
        case float():
            if not math.isfinite(value):
                return "this number is not finite", f"the result of the arithmetic is `{value}`"
        case tuple():
            return _of_tuple(value)
        case Poly():
            return _of_formula(value)
        case Domain():
            steps = (x for part in value.parts for x in part.steps if isinstance(x, Coarsen))
            return next((y for x in steps if (y := excess(x.factor))), None)
    return None


def leaves(value: Value) -> int:
    """Count a tuple with its elements and those of nested tuples; any other value counts 1."""
    # nested tuples passed the limit when they were built, so the recursion is short
    return sum(map(leaves, value)) + 1 if isinstance(value, tuple) else 1


def _of_tuple(value: tuple[Value, ...]) -> tuple[str, str] | None:
    count = leaves(value)
    if count > LEAVES:
        return f"this tuple has {count:,} elements", f"a tuple has at most {LEAVES:,}"
    return next((x for x in map(excess, value) if x is not None), None)


def _of_formula(value: Poly) -> tuple[str, str] | None:
    degree = max((sum(p for _, p in m) for m, _ in value.terms), default=0)
    letters = sum(len(name) for m, _ in value.terms for name, _ in m)
    if len(value.terms) > TERMS or degree > DEGREE or letters > LETTERS:
        return (
            f"this formula has {len(value.terms)} terms of degree up to {degree}",
            f"at most {TERMS} terms of degree {DEGREE}",
        )
    return next((x for x in (excess(f) for _, f in value.terms) if x is not None), None)
