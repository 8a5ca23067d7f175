"""Abilities of single layers, for callers that walk a module and do not know its classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, dtype


@runtime_checkable
class LimitsModes(Protocol):
    """A layer with weights for Fourier modes that can leave some of them out.

    Attributes:
        modes: the greatest frequency that has weights, on each axis.
    """

    modes: tuple[int, ...]

    def limit(self, modes: tuple[int, ...] | None) -> None:
        """Use only the modes up to `modes`, one number for each axis; None: all modes."""


@runtime_checkable
class HasGradientByMode(Protocol):
    """A layer with weights for Fourier modes that tells their gradients apart."""

    def gradient_by_mode(self) -> Tensor | None:
        """Sum the squares of the gradient by the least limit at which a weight takes part.

        Returns:
            (greatest mode + 1,) in float64 on the CPU; None where the weights are products of
            factors, which belong to all modes.
        """


@runtime_checkable
class NarrowsSpectrum(Protocol):
    """A layer whose transforms and products of modes can run in the dtype of autocast.

    Attributes:
        low_precision: whether they do.
    """

    low_precision: bool


@runtime_checkable
class HasLengths(Protocol):
    """A layer that depends on the spacing of the points of its grid.

    Attributes:
        lengths: of the axes of its domain; each call divides them by the number of spacings.
    """

    lengths: tuple[float, ...]


@runtime_checkable
class MixesPrecision(Protocol):
    """A module whose parts can have products in dtypes of their own.

    Attributes:
        node_precision: the precision of each part that has one of its own, by its path.
    """

    node_precision: Mapping[str, str]

    def mix_precision(self, products: dtype | None) -> None:
        """Prepare calls: parts without a precision of their own have products in `products`.

        Args:
            products: the dtype of autocast around the calls; None: there is no autocast.
        """
