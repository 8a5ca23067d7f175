"""Mean and deviation of functions in one pass over the samples, chunk after chunk."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted mean and sum of squared deviations, of each channel or of each point and channel.

    Attributes:
        weight: the sum of the weights; it broadcasts against `mean`.
        mean: (channels,) or (channels, *grid), float64.
        squares: the weighted sum of (x - mean)^2, as `mean`.
    """

    weight: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, x: Tensor, weights: Tensor | None = None, *, points: bool = False) -> "Moments":
        """Compute the moments of one chunk in float64.

        Args:
            x: (samples, channels, *grid).
            weights: (samples or 1, channels or 1, *grid), not negative; values of weight zero are
                ignored. All count alike if not given.
            points: whether each point has a mean of its own; else it is over the points as well.
        """
        x = x.double()
        axes = [0] if points else [d for d in range(x.dim()) if d != 1]
        if weights is None:
            count = torch.tensor(x.numel() / max(1, x.shape[1]), dtype=torch.float64)
            if points:
                count = torch.tensor(float(len(x)), dtype=torch.float64)
            mean = x.mean(axes, keepdim=True)
            return cls(count, _without(mean, axes), ((x - mean) ** 2).sum(axes))
        w = weights.double().expand(x.shape)
        x = torch.where(w > 0, x, 0.0)
        total = w.sum(axes, keepdim=True)
        mean = (x * w).sum(axes, keepdim=True) / torch.where(total > 0, total, 1.0)
        squares = ((x - mean) ** 2 * w).sum(axes)
        return cls(_without(total, axes), _without(mean, axes), squares)

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both chunks together.

        Source: Chan, Golub and LeVeque 1983, doi:10.1080/00031305.1983.10483115, eq. (2.1).
        """
        weight = self.weight + other.weight
        part = other.weight / torch.where(weight > 0, weight, 1.0)
        shift = other.mean - self.mean
        squares = self.squares + other.squares + shift**2 * (self.weight * part)
        return Moments(weight, self.mean + shift * part, squares)

    @property
    def std(self) -> Tensor:
        """The deviation, shape of `mean`; zero where nothing was counted."""
        return (self.squares / torch.where(self.weight > 0, self.weight, 1.0)).sqrt()

    def pooled(self) -> "Moments":
        """Return the moments of each channel from those of each of its points."""
        w = self.weight.expand(self.mean.shape).flatten(1)
        flat, total = self.mean.flatten(1), w.sum(1)
        mean = (flat * w).sum(1) / torch.where(total > 0, total, 1.0)
        squares = self.squares.flatten(1).sum(1) + ((flat - mean[:, None]) ** 2 * w).sum(1)
        return Moments(total, mean, squares)


def _without(x: Tensor, axes: list[int]) -> Tensor:
    """Remove the axes of length one that a reduction has kept."""
    return x.squeeze(axes)
