"""The block `axis_conv`: a matrix for each Fourier mode of one axis at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeInt

from opdsl.ir import ends, orders
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Work
from opdsl.ir.dims import PositiveCount, decided
from opdsl.ir.ends import Behaviour
from opdsl.ir.modes import MIX, bounds, each_axis, together, transform_work
from opdsl.ir.orders import Order
from opdsl.ir.regrid import transform
from opdsl.ir.spaces import Space
from opdsl.spectrum import frequencies

if TYPE_CHECKING:
    from torch import nn


class AxisConv(Block):
    """w = sum over axes a of F_a^-1(R_a . F_a(v)): a spectral convolution factorised over axes.

    v : D -> R^n gives w : D -> R^out on a grid D. F_a transforms along axis a alone, and each mode
    has one matrix for all points of the other axes, so the number of weights is a sum over the axes
    and not a product. Every axis is treated as periodic and needs 2 m + 1 points: it has
    Fourier modes only, and `spectral_conv(basis = auto)` has others on axes with ends. It converges
    under refinement.

    ```op
    edition 2026

    model Convolve {
      domain D = grid(x: 0..1, y: 0..1, z: 0..1, boundary = periodic, min = 33)
      input v : D -> R^3
      output w : D -> R^8

      w = axis_conv(v, modes = 16, out = 8)
    }
    ```

    Attributes:
        modes: m, the greatest frequency with weights, in periods per box: |k| <= m; one number for
            all axes or one for each.
        out: number of channels of the result; by default that of v.

    Source: Tran et al. 2023, arXiv:2111.13802, eq. (6).
    """

    assumes_periodic = True
    kinds = frozenset({"grid"})
    kernels = ("fft", "dft")
    samples = (
        {"inputs": (3,), "modes": 2, "out": 5},
        {"inputs": (2,), "modes": 1},
    )

    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency with weights, one number or one for each axis"
    )
    out: PositiveCount | None = Field(default=None, description="channels of the result")

    def infer(self, x: Space) -> Space:
        """Return the grid with `out` channels."""
        each_axis(self.modes, x)
        return x.with_channels(self.out or x.channels)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require points that resolve the frequencies."""
        bands = frequencies(each_axis(self.modes, x))
        return bounds(x.domain, bands, self.modes)

    def max_modes(self, x: Space) -> tuple[int, ...]:
        """Return m on each axis: each |k| <= m has a matrix."""
        return each_axis(self.modes, x)

    def band_preserving(self) -> bool:
        """Return True: it acts on each frequency by itself."""
        return True

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return that waves are smooth where a periodic axis closes."""
        return ends.free(x.domain)

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order:
        """Return the order of the Fourier coefficients."""
        return orders.coefficients(x.domain, inputs[0])

    def cost(self, x: Space) -> Cost:
        """Count matrices and transforms for each axis, and products for each line of points."""
        out, c = self.infer(x), x.channels
        modes = each_axis(self.modes, x)
        numbers = sum((m + 1) * c * out.channels for m in modes)
        volume = x.domain.volume()
        flops = transform(x) + transform(out) + volume * (MIX * c * out.channels * len(modes))
        return Cost(decided(2 * numbers), flops, out.numbers() * BYTES)

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Count transforms of all lines of each axis in both directions, and the products."""
        out, c = self.infer(x).channels, x.channels
        parts = []
        for n, m in zip(sizes[0], each_axis(self.modes, x), strict=True):
            lines, size, bands = math.prod(sizes[0]) // n, (n,), (range(m + 1),)
            forward = transform_work(kernel, decided(lines * c), size, bands, real=True)
            inverse = transform_work(kernel, decided(lines * out), size, bands, real=True)
            parts += [forward, Work(gemm=MIX * lines * (m + 1) * decided(c * out)), inverse]
        return together(*parts)

    def saved_modes(self, sizes: GridSizes, x: Space) -> int:
        """Return the modes of each axis, at every point of the other axes."""
        pairs = zip(each_axis(self.modes, x), sizes[0], strict=True)
        return sum((m + 1) * math.prod(sizes[0]) // n for m, n in pairs)

    def complex_weights(self, x: Space) -> int:
        """Count all weights."""
        return self.cost(x).params // 2

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.axes.AxisConv`."""
        from opdsl.nn.spectral import axes

        return axes.AxisConv(
            decided(x.channels), decided(self.infer(x).channels), each_axis(self.modes, x)
        )
