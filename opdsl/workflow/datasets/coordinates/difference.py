"""A difference between a file and a domain: both values, and what would agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from opdsl.ir.axes import Axis
from opdsl.ir.spaces import Sampling

Floats = NDArray[np.float64]
ComparedDomain = Literal["points", "boundary"]


@dataclass(frozen=True, slots=True)
class CoordinateDifference:
    """What a file and the program say about one thing.

    Attributes:
        subject: whether they differ in the points or in the boundary conditions.
        file: what the file says: `x = 0 .. 200`.
        program: what the program says: `x: 0..1`.
        cures: what to change in the data, where the program cannot say what the file has.
    """

    subject: ComparedDomain
    file: str
    program: str
    cures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the file: {self.file}; the program: {self.program}"


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison of the axes of one domain with a file.

    Attributes:
        differences: in the order of the axes.
        axes: the axes as the file has them; None where no declaration says that.
        sampling: the sampling of the latitudes as the file has it, for a sphere.
        flipped: whether the rows of a sphere begin in the south.
    """

    differences: tuple[CoordinateDifference, ...]
    axes: tuple[Axis, ...] | None
    sampling: Sampling | None = None
    flipped: bool = False


def short(value: float, error: float) -> str:
    """Write a number with as few digits as keep it within `error`."""
    texts = (f"{value:.{digits}g}" for digits in range(1, 18))
    text = next((x for x in texts if abs(float(x) - value) <= error), repr(value))
    return f"{float(text):g}" if float(f"{float(text):g}") == float(text) else repr(float(text))


def range_text(name: str, values: Floats, error: float) -> str:
    """Write the first and the last coordinate: `x = 0 .. 200`."""
    first, last = (short(float(x), error) for x in (values[0], values[-1]))
    return f"{name} = {first} .. {last}"
