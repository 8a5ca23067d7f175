"""The block `spectral_conv`: a matrix for each Fourier mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveInt

from opdsl.ir.block import BYTES, Block, Bound, Cost, Refusal, Work
from opdsl.ir.regrid import same_interval, transform
from opdsl.ir.spaces import Domain, Space

if TYPE_CHECKING:
    from torch import nn


FFT = 2.5  # operations of a real fast transform for each number and halving: 2.5 N log2 N
MIX = 8  # operations of one complex multiplication and addition


class SpectralConv(Block):
    """w = F^-1(R . F(v)) + b: each kept Fourier mode k of v is multiplied by its own matrix R_k.

    `modes` is one-sided: m keeps |k| <= m on each axis, 2 m + 1 frequencies (m + 1 on the last
    axis, whose other half is the conjugate). The grid must have 2 m + 1 points at least, on both
    sides. The weights do not know the grid: at every resolution they are the same operator, and
    with `to` the same function on another grid.

    ```op
    edition 2026

    model Convolve {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
      input v : D -> R^3
      output w : D -> R^8

      w = spectral_conv(v, modes = (16, 8), out = 8)
    }
    ```

    Attributes:
        modes: the greatest frequency kept, in periods per box; one number for all axes or one for
            each.
        out: channels of the result; as many as come in by default.
        to: the grid of the result, of the same declaration; that of v by default.
        bias: whether a trained constant b is added.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4). The paper keeps -m ... m - 1; `n_modes` of
        neuraloperator is two-sided, about 2 m.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"grid"})
    sized: ClassVar[bool] = True
    kernels: ClassVar[tuple[str, ...]] = ("fft", "dft")
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3,), "modes": 2, "out": 5},
        {"inputs": (2,), "modes": 1, "bias": False},
        {"inputs": (1,), "modes": 1, "to": "D/2"},
    )

    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency kept, one number or one for each axis"
    )
    out: PositiveInt | None = Field(default=None, description="channels of the result")
    to: Domain | None = Field(default=None, description="the grid of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")

    def infer(self, *x: Space) -> Space:
        """`out` channels on `to`."""
        self._check_modes(x[0])
        to = self.to or x[0].domain
        same_interval(x[0], to)
        return Space(domain=to, channels=self.out or x[0].channels)

    def _check_modes(self, x: Space) -> None:
        if isinstance(self.modes, int) or len(self.modes) == x.domain.dims:
            return
        axes = ", ".join(a.name for a in x.domain.axes)
        raise Refusal(
            "OP0308",
            f"{len(self.modes)} numbers of modes for {x.domain.dims} axes",
            f"`{x.domain}` has the axes {axes}",
            at="modes",
            notes=("one number stands for all axes",),
        )

    def _modes(self, x: Space) -> tuple[int, ...]:
        return (self.modes,) * x.domain.dims if isinstance(self.modes, int) else self.modes

    def bounds(self, *x: Space) -> tuple[Bound, ...]:
        """2 m + 1 points on each axis, where v comes from and where w goes to."""
        domains = (x[0].domain,) if self.to in (None, x[0].domain) else (x[0].domain, self.to)
        return tuple(
            self._bound(domain, axis, m)
            for domain in domains
            if domain is not None
            for axis, m in enumerate(self._modes(x[0]))
        )

    def _bound(self, domain: Domain, axis: int, m: int) -> Bound:
        def cure(points: int) -> str:
            fits = (points - 1) // 2
            if isinstance(self.modes, int):
                return f"modes = {fits}"
            shown = (str(fits if i == axis else k) for i, k in enumerate(self.modes))
            return f"modes = ({', '.join(shown)})"

        needed = 2 * m + 1
        note = f"sampling theorem: 2 * {m} + 1 = {needed} samples"
        return Bound(domain, axis, needed, f"|k| <= {m}", note, cure)

    def cost(self, *x: Space) -> Cost:
        """A complex matrix for each kept mode; fast transforms there and back."""
        out = self.infer(*x)
        mixed = self._frequencies(x[0]) * x[0].channels * out.channels
        params = 2 * mixed + (out.channels if self.bias else 0)
        flops = transform(x[0]) + transform(out) + MIX * mixed
        return Cost(params, flops, out.numbers() * BYTES)

    def _frequencies(self, x: Space) -> int:
        *full, half = self._modes(x)
        return math.prod(2 * m + 1 for m in full) * (half + 1)

    def work(self, kernel: str, sizes: tuple[tuple[int, ...], ...], *x: Space) -> Work:
        """Of `fft`: transforms cut after each axis. Of `dft`: real matrix products throughout.

        Strided transforms copy what they read and write, which counts twice for `fft`.
        """
        c, out, modes = x[0].channels, self.infer(*x).channels, self._modes(x[0])
        mix = float(MIX * self._frequencies(x[0]) * c * out)
        moved = float(BYTES * (math.prod(sizes[0]) * c + math.prod(sizes[-1]) * out))
        there_and_back = (c, sizes[0]), (out, sizes[-1])
        if kernel == "fft":
            fft = sum(n * _fft_flops(size, modes) for n, size in there_and_back)
            return Work(gemm=mix, fft=fft, moved=2 * moved)
        gemm = sum(n * _dft_flops(size, modes) for n, size in there_and_back)
        return Work(gemm=mix + gemm, moved=moved)

    def lower(self, *x: Space) -> nn.Module:
        """See `opdsl.nn.fourier.SpectralConv`."""
        from opdsl.nn import fourier

        out = self.infer(*x).channels
        return fourier.SpectralConv(x[0].channels, out, self._modes(x[0]), bias=self.bias)


def _fft_flops(size: tuple[int, ...], modes: tuple[int, ...]) -> float:
    """Of one channel, one way: real on the last axis, complex on what is left of it elsewhere."""
    total = FFT * math.prod(size) * math.log2(size[-1])
    kept = modes[-1] + 1
    for axis in range(len(size) - 2, -1, -1):
        total += 2 * FFT * math.prod(size[: axis + 1]) * kept * math.log2(size[axis])
        kept *= 2 * modes[axis] + 1
    return total


def _dft_flops(size: tuple[int, ...], modes: tuple[int, ...]) -> float:
    """Of one channel, one way: a (2 kept, n) matrix on the last axis, (2 kept, 2 n) elsewhere."""
    kept = modes[-1] + 1
    total = 2.0 * math.prod(size) * 2 * kept
    for axis in range(len(size) - 2, -1, -1):
        frequencies = 2 * modes[axis] + 1
        total += 2.0 * math.prod(size[: axis + 1]) * 2 * 2 * frequencies * kept
        kept *= frequencies
    return total
