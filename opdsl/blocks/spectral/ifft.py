"""The block `ifft`: the function with these Fourier coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from opdsl.ir import ends
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Work
from opdsl.ir.complex_parts import needs_complex
from opdsl.ir.dims import decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import bounds, transform_work
from opdsl.ir.orders import EXACT, Order
from opdsl.ir.regrid import same_interval, transform
from opdsl.ir.sharding.rules import SYNTHESIS, Rule
from opdsl.ir.spaces import Domain, Space
from opdsl.spectrum import frequencies

if TYPE_CHECKING:
    from torch import nn


class Ifft(Block):
    """v(x) = sum_k s_k exp(2 pi i k.x), sampled on a grid: the inverse of `fft`.

    s : spectrum(D, m) -> C^n gives v : to -> R^n if the coefficients come from a real function,
    else v : to -> C^n. The grid needs 2 m + 1 points on each axis; v is one function for all such
    grids. It is periodic on every axis; `spectral_conv(basis = auto)` takes half-waves on axes with
    ends.

    ```op
    edition 2026

    model Filter {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 17)
      input v : D -> R^3
      output w : D -> R^3

      w = fft(v, modes = 8) |> ifft(to = D)
    }
    ```

    Attributes:
        to: the grid of the result, of the declaration of D; by default D.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), the transform F^-1.
    """

    kinds = frozenset({"spectrum"})
    complex = True
    sized = True
    kernels = ("fft", "dft")
    samples = (
        {"inputs": ("K -> C^3",), "to": "D"},
        {"inputs": ("K -> C^2",)},
    )

    to: Domain | None = Field(default=None, description="the grid of the result")

    def infer(self, x: Space) -> Space:
        """Return `to` with as many channels, real if the spectrum is that of a real function."""
        needs_complex(self.keyword(), x)
        to = self.to or x.domain.factors[0]
        same_interval(x.on(x.domain.factors[0]), to)
        return Space(domain=to, channels=x.channels, field="R" if x.domain.halved else "C")

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require 2 m + 1 points on each axis."""
        modes = self._modes(x)
        alike = len(set(modes)) == 1
        return bounds(self.infer(x).domain, self._bands(x), modes[0] if alike else modes)

    def _modes(self, x: Space) -> tuple[int, ...]:
        assert x.domain.modes is not None
        return x.domain.modes

    def _bands(self, x: Space) -> tuple[range, ...]:
        return frequencies(self._modes(x), real=x.domain.halved)

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that waves are smooth where a periodic axis closes."""
        return ends.free(self.infer(x).domain)

    def convergence_order(self, _inputs: tuple[Behaviour, ...], _x: Space) -> Order:
        """Return that waves are evaluated exactly."""
        return EXACT

    def sharding(self, _axis: int, _sizes: GridSizes, _x: Space) -> Rule:
        """Return that every process computes its points from all coefficients."""
        return SYNTHESIS

    def cost(self, x: Space) -> Cost:
        """Count a fast transform."""
        out = self.infer(x)
        return Cost(0, transform(out), out.numbers() * BYTES)

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Count one inverse transform, padded after each axis."""
        real = x.domain.halved
        return transform_work(kernel, decided(x.channels), sizes[-1], self._bands(x), real=real)

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.transforms.InverseTruncatedFFT`."""
        from opdsl.nn.spectral import transforms

        return transforms.InverseTruncatedFFT(self._modes(x), real=x.domain.halved)
