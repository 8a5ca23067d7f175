"""A trained Fourier series: a function of the coordinates alone, equal at every resolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.transforms import inverse_truncated_fft
from opdsl.sampling import GridSampling, points_of, samplings_of
from opdsl.spectrum import Bands, check_points, frequencies


def _on_axis(w: Tensor, axis: int, sampling: GridSampling) -> Tensor:
    """Select the points of an axis from those of its ring, which begin at the lower end."""
    n = w.shape[axis]
    first, rest = w.narrow(axis, 0, 1), w.narrow(axis, 1, n - 1)
    if sampling == "both":
        return torch.cat((w, first), axis)
    if sampling == "upper":
        return torch.cat((rest, first), axis)
    return rest if sampling == "interior" else w


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
        samplings: tuple[GridSampling, ...] | None = None,
    ) -> None:
        """Make a series with random coefficients.

        Args:
            channels: of w.
            modes: the greatest |k| of each axis.
            closed: whether each axis is periodic; an axis with two ends has one value at both.
            positive: whether every axis has frequencies from 0 on only.
            divided: whether w is divided by the number of points.
            samplings: where the points of each axis are; None: at both ends of axes that are not
                periodic.
        """
        super().__init__()
        self.modes, self.samplings = modes, samplings_of(closed, samplings)
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
        # an axis is a ring of as many points as spacings, whose first point is at both ends
        axes = zip(size, self.samplings, strict=True)
        ring = tuple(n - points_of(sampling, 0) for n, sampling in axes)
        self._check_points(ring)
        with no_autocast(like):
            c = self._at_centres(torch.view_as_complex(self.weight.to(wide(like))), ring)
            w = inverse_truncated_fft(c[None], self.bands, ring, real=True)
            for axis, sampling in enumerate(self.samplings, start=1):
                w = _on_axis(w, axis, sampling)
            return (w / math.prod(size) if self.divided else w).to(like.dtype)

    def _at_centres(self, c: Tensor, ring: Size) -> Tensor:
        """Shift the function by half a spacing on axes of cell centres."""
        for axis, (sampling, n) in enumerate(zip(self.samplings, ring, strict=True)):
            if sampling == "centres":
                k = torch.tensor(self.bands[axis], dtype=torch.float64, device=c.device)
                phase = torch.polar(torch.ones_like(k), torch.pi * k / n).to(c.dtype)
                c = c * phase.reshape(-1, *(1,) * (c.ndim - 1 - axis))
        return c

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
