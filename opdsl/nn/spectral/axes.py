"""Convolution along one axis at a time: (batch, *grid, in) -> (batch, *grid, out)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.transforms import INVERSE_TRANSFORMS, TRUNCATED_TRANSFORMS
from opdsl.spectrum import check_points


class AxisConv(nn.Module):
    """v = sum over axes a of F_a^-1(R_a . F_a(u)), for real functions: one axis at a time.

    Attributes:
        weights: R_a as pairs (re, im), (m_a + 1, in, out, 2), one for each axis.

    Source: Tran et al. 2023, arXiv:2111.13802, eq. (6).
    """

    def __init__(self, in_channels: int, out_channels: int, modes: Size) -> None:
        super().__init__()
        self.modes = modes
        shapes = ((m + 1, in_channels, out_channels, 2) for m in modes)
        self.weights = nn.ParameterList(nn.Parameter(torch.empty(*s)) for s in shapes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw R normal; all axes together have the variance of one spectral convolution."""
        for R in self.weights:
            in_channels, out_channels = R.shape[1:3]
            nn.init.normal_(R, std=math.sqrt(1 / ((in_channels + out_channels) * len(self.modes))))

    def forward(self, x: Tensor, kernel: str = "fft") -> Tensor:
        """(batch, *grid, in) -> (batch, *grid, out), in the dtype of x.

        Args:
            x: u.
            kernel: `fft` or `dft`, see `opdsl.nn.spectral.transforms`; both compute the same.

        Raises:
            ValueError: an axis has too few points for its modes.
        """
        with no_autocast(x):
            u = x.to(wide(x))
            parts = (self._along(u, axis, kernel) for axis in range(len(self.modes)))
            return torch.stack(list(parts)).sum(0).to(x.dtype)

    def _along(self, u: Tensor, axis: int, kernel: str) -> Tensor:
        """Transform one axis, with the axes before and behind it flattened."""
        n, band = u.shape[1 + axis], range(self.modes[axis] + 1)
        check_points((n,), (band,))
        R = torch.view_as_complex(self.weights[axis].to(u.dtype))
        before, behind = math.prod(u.shape[: 1 + axis]), math.prod(u.shape[2 + axis : -1])
        z = TRUNCATED_TRANSFORMS[kernel](u.reshape(before, n, -1), (band,))
        z = z.reshape(before, len(band), behind, -1).movedim(1, 0)
        products = torch.bmm(z.flatten(1, 2), R).reshape(len(band), before, -1).movedim(0, 1)
        v = INVERSE_TRANSFORMS[kernel](products, (band,), (n,), real=True)
        return v.reshape(*u.shape[:-1], R.shape[-1])

    def extra_repr(self) -> str:
        """Describe the modes."""
        return f"modes={self.modes}"
