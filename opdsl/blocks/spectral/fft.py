"""The block `fft`: the Fourier coefficients of a function."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt

from opdsl.ir import orders
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal, Work
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import bounds, each_axis, transform_work
from opdsl.ir.orders import Order
from opdsl.ir.regrid import transform
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Space
from opdsl.sampling import offset
from opdsl.spectrum import frequencies

if TYPE_CHECKING:
    from torch import nn


class Fft(Block):
    """s_k = mean over the grid of v(x) exp(-2 pi i k.x), for |k| <= m: Fourier coefficients.

    v : D -> R^n gives s : spectrum(D, m) -> C^n on a grid D with 2 m + 1 points on each axis. The
    s_k are the factors in v(x) = sum_k s_k exp(2 pi i k.x), x in periods of the box, so they do not
    depend on the resolution; the mean of |v|^2 is the sum of |s_k|^2 over all k. For real functions
    the last axis has k = 0 ... m only, the others are conjugates. Every axis is treated as
    periodic, since spectra have Fourier coefficients only; `spectral_conv(basis = auto)` takes
    half-waves on axes with ends.

    ```op
    edition 2026

    model Coefficients {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input v : D -> R^3
      output s : spectrum(D, 8) -> C^3

      s = fft(v, modes = 8)
    }
    ```

    Attributes:
        modes: m, the greatest frequency of the result, in periods per box; one number for all axes
            or one for each.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), the transform F; Trefethen 2000,
        doi:10.1137/1.9780898719598.
    """

    assumes_periodic = True
    kinds = frozenset({"grid"})
    complex = True
    kernels = ("fft", "dft")
    samples = (
        {"inputs": (3,), "modes": 2},
        {"inputs": ("D -> C^2",), "modes": 1},
    )

    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency of the result, one number or one for each axis"
    )

    def infer(self, x: Space) -> Space:
        """Return the spectrum with as many channels."""
        for axis, closed in zip(x.domain.axes, x.domain.periodic, strict=True):
            if closed and offset(axis.points):
                raise Refusal(
                    "OP0322",
                    f"`fft` needs a point at the lower end of `{axis.name}`",
                    f"`sampling = {axis.points}` has none, and coefficients count from there",
                    helps=("`spectral_conv` works on every sampling",),
                )
        modes = each_axis(self.modes, x)
        spectrum = x.domain.spectrum(modes, halved=not x.complex)
        return Space(domain=spectrum, channels=x.channels, field="C")

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require 2 m + 1 points on each axis."""
        return bounds(x.domain, self._bands(x), self.modes)

    def _bands(self, x: Space) -> tuple[range, ...]:
        return frequencies(each_axis(self.modes, x), real=not x.complex)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order:
        """Return the order of the Fourier coefficients."""
        return orders.coefficients(x.domain, inputs[0])

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule:
        """Sum the coefficients of all parts."""
        numbers = 2 * math.prod(map(len, self._bands(x))) * decided(x.channels)
        return Rule("analysis", numbers=numbers)

    def cost(self, x: Space) -> Cost:
        """Count a fast transform."""
        return Cost(0, transform(x), self.infer(x).numbers() * BYTES)

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Count one transform, truncated after each axis."""
        real = not x.complex
        return transform_work(kernel, decided(x.channels), sizes[0], self._bands(x), real=real)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.transforms.TruncatedFFT`."""
        from opdsl.nn.spectral import transforms

        return transforms.TruncatedFFT(each_axis(self.modes, x))
