"""Values as a program writes them, to the last bit."""

from __future__ import annotations

from opdsl.syntax.unparse import quoted

EXACT = 2.0**53  # whole numbers below are written without a point


def number(value: float) -> str:
    """Write a number, `64`, `0.5`, `-1`, so that reading it gives an equal one of the same kind."""
    integral = float(value).is_integer() and abs(value) < EXACT
    return str(int(value)) if integral and str(value) != "-0.0" else repr(value)


def sequence(values: list[str]) -> str:
    """Write a tuple: `(a, b)`, `(a,)`, `[]`."""
    if not values:
        return "[]"
    return f"({values[0]},)" if len(values) == 1 else f"({', '.join(values)})"


def doc(text: str | None) -> str:
    """Write a doc string behind a statement; nothing if there is none."""
    return f" {quoted(text)}" if text else ""
