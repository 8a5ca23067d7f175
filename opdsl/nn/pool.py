"""One vector for all points: (batch, *domain, c) -> (batch, c)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.grid import Ragged
from opdsl.nn.segments import sample_maxima


class Max(nn.Module):
    """The greatest value of each channel; its gradient goes to the points that have it."""

    def forward(self, x: Tensor, ragged: Ragged = ()) -> Tensor:
        """(batch, *domain, c) -> (batch, c); of packed points (1, points, c) -> (samples, c)."""
        if ragged and ragged[0]:
            return sample_maxima(x, ragged[0])[0]
        return x.flatten(1, -2).amax(1)


class Mean(nn.Module):
    """The integral over the volume.

    Args:
        integral: a module that integrates over the domain.
    """

    def __init__(self, integral: nn.Module) -> None:
        super().__init__()
        self.integral = integral

    def forward(self, x: Tensor, **more: Any) -> Tensor:
        """As `Max`."""
        ones = torch.ones_like(x[..., :1])
        found: Tensor = self.integral(torch.cat((x, ones), -1), **more)
        return found[..., :-1] / found[..., -1:]
