"""Pointwise maps of inputs and outputs as plain data: `log`, `log1p`, `asinh(s)`, `clip(lo, hi)`.

The setting `transforms` names them; the engine applies them. No torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

CALL = re.compile(r"\s*(?P<name>[a-z][a-z0-9_]*)\s*(?:\((?P<arguments>[^()]*)\))?\s*")


@dataclass(frozen=True, slots=True)
class MapWord:
    """A word of `transforms`.

    Attributes:
        least: fewest numbers that it takes.
        most: most numbers that it takes.
        example: a call.
        above: the values at and below which the map is not defined; None if it always is.
        inverse: whether the map has an inverse, which outputs need.
    """

    least: int
    most: int
    example: str
    above: float | None = None
    inverse: bool = True


WORDS: dict[str, MapWord] = {
    "log": MapWord(0, 0, "log", above=0.0),
    "log1p": MapWord(0, 0, "log1p", above=-1.0),
    "asinh": MapWord(0, 1, "asinh(0.1)"),
    "clip": MapWord(2, 2, "clip(0, 10)", inverse=False),
}
MAPS_IN_WORDS = "log, log1p, asinh(SCALE) and clip(LOW, HIGH)"


@dataclass(frozen=True, slots=True)
class PointwiseMap:
    """A map of the values at each point.

    Attributes:
        name: a key of `WORDS`.
        arguments: two numbers: both ends of `clip`, the scale of `asinh`; zero where unused.
    """

    name: str
    arguments: tuple[float, float] = (0.0, 0.0)

    def __str__(self) -> str:
        """Write the map as the setting does."""
        if self.name == "clip":
            return f"clip({_number(self.arguments[0])}, {_number(self.arguments[1])})"
        return f"asinh({_number(self.arguments[0])})" if self.name == "asinh" else self.name

    @property
    def word(self) -> MapWord:
        """The properties of the map by its name."""
        return WORDS[self.name]


def _number(x: float) -> str:
    return f"{x:g}" if float(f"{x:g}") == x else repr(x)


def read_map(text: str) -> PointwiseMap:
    """Read `log` or `clip(0, 10)`.

    Raises:
        ValueError: the text is no such map.
    """
    match = CALL.fullmatch(text)
    if match is None or match["name"] not in WORDS:
        raise ValueError(f"there is no map `{text}`")
    name, inside = match["name"], match["arguments"]
    word = WORDS[name]
    numbers = tuple(float(x) for x in inside.split(",")) if inside and inside.strip() else ()
    if not word.least <= len(numbers) <= word.most or any(map(math.isnan, numbers)):
        raise ValueError(f"write `{word.example}`")
    if name == "clip" and not numbers[0] < numbers[1]:
        raise ValueError("the first number of `clip` is below the second")
    if name == "asinh":
        numbers = numbers or (1.0,)
        if not 0 < numbers[0] < math.inf:
            raise ValueError("the scale of `asinh` is above 0")
    first, second = (*numbers, 0.0, 0.0)[:2]
    return PointwiseMap(name, (first, second))


def read_maps(texts: Sequence[str]) -> tuple[PointwiseMap, ...]:
    """Read the maps of one input or output, in the order in which they are applied.

    Raises:
        ValueError: a text is no map.
    """
    return tuple(read_map(x) for x in texts)
