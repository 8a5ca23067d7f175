"""A trained Fourier series: a function of the coordinates alone, equal at every resolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.transforms import inverse_truncated_fft
from opdsl.spectrum import Bands, check_points, frequencies


class Series(nn.Module):
    """w(x) = sum_k c_k exp(2 pi i k x), real.

    Attributes:
        weight: c as pairs (re, im), (*frequencies, channels, 2), the frequencies ascending; on the
            last axis from 0 on, whose others are the conjugates.

    Source: Rahman et al. 2024, arXiv:2403.12553, sec. 4 (positional encoding of a variable).
    """

    def __init__(
        self,
        channels: int,
        modes: Size,
        closed: tuple[bool, ...],
        *,
        positive: bool = False,
        divided: bool = False,
    ) -> None:
        """Make a series with random coefficients.

        Args:
            channels: of w.
            modes: the greatest |k| of each axis.
            closed: for each axis, whether its last point is one step before its first; the other
                axes have both ends, with one value.
            positive: whether every axis has frequencies from 0 on only.
            divided: whether w is divided by the number of points.
        """
        super().__init__()
        self.modes, self.closed = modes, closed
        self.positive, self.divided = positive, divided
        counts = tuple(map(len, self.bands))
        self.weight = nn.Parameter(torch.empty(*counts, channels, 2))
        self.reset_parameters()

    @property
    def bands(self) -> Bands:
        """Frequencies of each axis."""
        if self.positive:
            return tuple(range(m + 1) for m in self.modes)
        return frequencies(self.modes)

    def reset_parameters(self) -> None:
        """Draw c_k normal, E|c_k|^2 proportional to (1 + |k|^2)^-3, so that E w(x)^2 = 1."""
        lines = [torch.tensor(band, dtype=torch.float64) for band in self.bands]
        k = torch.stack(torch.meshgrid(*lines, indexing="ij"), -1)
        decay = (1 + k.square().sum(-1)).pow(-3)
        # k > 0 on the last axis stands for its conjugate too; of k = 0 only the real part counts
        counts = torch.where(k[..., -1] > 0, 2.0, 0.5)
        spread = (decay / (decay * counts).sum() / 2).sqrt()[..., None, None]
        with torch.no_grad():
            self.weight.copy_(torch.randn_like(self.weight) * spread.to(self.weight))

    def forward(self, *, size: Size, like: Tensor) -> Tensor:
        """Return w, (1, *size, channels), in the dtype of `like`, computed in float32 at least."""
        # an open axis of n points is a closed one of n - 1 whose first point is repeated at the end
        period_points = tuple(n - (not closed) for n, closed in zip(size, self.closed, strict=True))
        self._check_points(period_points)
        with no_autocast(like):
            c = torch.view_as_complex(self.weight.to(wide(like)))
            w = inverse_truncated_fft(c[None], self.bands, period_points, real=True)
            for axis, closed in enumerate(self.closed, start=1):
                if not closed:
                    w = torch.cat((w, w.narrow(axis, 0, 1)), axis)
            return (w / math.prod(size) if self.divided else w).to(like.dtype)

    def _check_points(self, ring: Size) -> None:
        """Check that the grid has room for the frequencies.

        Waves could be sampled at fewer points; the transform could not.
        """
        *full, last = self.bands
        if not self.positive:
            check_points(ring, self.bands)
            return
        check_points(ring[-1:], (last,))
        for n, band in zip(ring, full, strict=False):
            if n < len(band):
                raise ValueError(f"{len(band)} frequencies need as many points, got {n}")

    def extra_repr(self) -> str:
        """Describe channels and modes."""
        return f"{self.weight.shape[-2]}, modes={self.modes}"
