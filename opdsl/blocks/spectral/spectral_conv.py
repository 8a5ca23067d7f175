"""The block `spectral_conv`: a matrix for each Fourier mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, StrictFloat, StrictInt

from opdsl.ir.block import BYTES, Block, Bound, BoxKind, Cost, GridSizes, Refusal, Work
from opdsl.ir.channel_groups import COPIES, one_copy
from opdsl.ir.dims import Poly, PositiveCount
from opdsl.ir.modes import MIX, bounds, each_axis, layout_of_each, together, transform_work
from opdsl.ir.ranks import (
    Axes,
    count_numbers,
    own_channels,
    rank_products,
    ranks_of,
    whole_products,
)
from opdsl.ir.regrid import same_interval, transform
from opdsl.ir.spaces import Domain, Space
from opdsl.spectrum import Bands, Layouts, frequencies

if TYPE_CHECKING:
    from torch import nn

BATCH = 16  # samples that are assumed where a choice depends on their number


class SpectralConv(Block):
    """w = F^-1(R . F(v)) + b: each kept Fourier mode k of v is multiplied by its own matrix R_k.

    `modes` is one-sided: m keeps |k| <= m on each axis, 2 m + 1 frequencies (of real functions
    m + 1 on the last axis, whose other half is the conjugate). The grid must have 2 m + 1 points at
    least, on both sides. The weights do not know the grid: at every resolution they are the same
    operator, and with `to` the same function on another grid.

    ```op
    edition 2026

    model Convolve {
      domain D = grid(x: 0..1, y: 0..1, boundary = periodic, min = 33)
      input v : D -> R^3
      output w : D -> R^8

      w = spectral_conv(v, modes = (16, 8), out = 8)
    }
    ```

    With `factor` all R_k together, a tensor (in, out, one axis for the frequencies of each axis of
    the grid), are a product of small tensors, and `rank` says how small. `cp` has one rank, the
    number of products of vectors that are added; `tucker` one for each axis of the tensor; `tt`
    one between each two of them. A fraction such as `rank = 0.1` stands for the ranks by which the
    factors have about a tenth of the numbers. The weights begin with the same spread as dense ones.

    `layout` is for weights that were trained elsewhere; m then means other frequencies:

    | layout | full axes | points | last axis of real functions | points |
    | --- | --- | --- | --- | --- |
    | `symmetric` | -m ... m | 2 m + 1 | 0 ... m | 2 m + 1 |
    | `neuralop`, as its `n_modes = 2 m` | -m ... m - 1 | 2 m | 0 ... m | 2 m |
    | `paper`, its blocks of weights as one | -m ... m - 1 | 2 m | 0 ... m - 1 | 2 m - 2 |

    Of complex functions every axis is full. Axes may differ: `layout = (neuralop, symmetric)` is
    its `n_modes` even on the first and odd, 2 m + 1, on the second. Where a grid has just 2 m
    points, -m is the Nyquist frequency, which stands for +m too: `neuralop` and `paper` are the
    same operator at every resolution above that one only.

    `faults` is for weights that were trained under a fault and mean nothing without it. In two axes
    and more neuraloperator puts negative frequencies into wrong places where the grid changes, its
    release 2.0.0 also at odd sizes, and those of complex functions always; in any number of axes it
    cuts the imaginary part of the last frequency there. `faults = neuralop_93d3f06` (its newest
    commit) or `neuralop_2_0_0` does so too. That is no operator: what it does depends on the
    resolution, and a warning says so.

    Attributes:
        modes: the greatest frequency kept, in periods per box; one number for all axes or one for
            each.
        out: channels of the result; as many as come in by default.
        to: the grid of the result, of the same declaration; that of v by default.
        bias: whether a trained constant b is added.
        factor: how the weight is kept.
        rank: of a factorised weight: a fraction of the numbers of a dense one, above 0 and at most
            1; or whole numbers, one for all or one for each, none above the full rank.
        separable: whether R_k is diagonal, so that each channel is convolved with itself only.
        copies: n, if the channels are those of n variables, one after the other, each of which is
            convolved with the same R and b; `out` are then the channels of one.
        layout: which frequencies `modes` means, one word for all axes or one for each.
        faults: of which release it has the faults.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), whose program is the layout `paper`;
        Kossaifi et al. 2023, arXiv:2310.00120, sec. 3, for the factors.
    """

    assumes_periodic: ClassVar[bool] = True
    kinds: ClassVar[frozenset[str]] = frozenset({"grid"})
    complex: ClassVar[bool] = True
    sized: ClassVar[bool] = True
    kernels: ClassVar[tuple[str, ...]] = ("fft", "dft")
    drawn_as: ClassVar[BoxKind | None] = "integral"
    limits_modes: ClassVar[bool] = True
    narrows_spectrum: ClassVar[bool] = True
    samples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"inputs": (3,), "modes": 2, "out": 5},
        {"inputs": (2,), "modes": 1, "bias": False},
        {"inputs": (1,), "modes": 1, "to": "D/2"},
        {"inputs": (3,), "modes": 2, "out": 2, "factor": "tucker", "rank": 0.5},
        {"inputs": (3,), "modes": 2, "out": 2, "factor": "cp", "rank": 4},
        {"inputs": (2,), "modes": 2, "out": 3, "factor": "tt", "rank": 0.5},
        {"inputs": (3,), "modes": 2, "separable": True},
        {"inputs": (3,), "modes": 2, "separable": True, "factor": "tucker", "rank": 0.5},
        {"inputs": (2,), "modes": 2, "layout": "neuralop"},
        {"inputs": (2,), "modes": 2, "layout": "paper"},
        {"inputs": (4,), "modes": 2, "out": 3, "copies": 2},
        {"inputs": ("D -> C^2",), "modes": 1, "faults": "neuralop_93d3f06"},
        {"inputs": ("D -> C^2",), "modes": 2, "out": 3},
        {"inputs": ("D -> C^2",), "modes": 1, "factor": "cp", "rank": 2},
    )

    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency kept, one number or one for each axis"
    )
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    to: Domain | None = Field(default=None, description="the grid of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")
    factor: Literal["dense", "cp", "tucker", "tt"] = Field(
        default="dense", description="how the weight is kept"
    )
    rank: StrictInt | StrictFloat | tuple[StrictInt, ...] = Field(
        default=1.0, description="of the factors: a part of the dense weight, or whole numbers"
    )
    separable: bool = Field(
        default=False, description="whether each channel is convolved with itself only"
    )
    copies: PositiveCount = Field(default=1, description=COPIES)
    layout: Layouts = Field(default="symmetric", description="which frequencies `modes` means")
    faults: Literal["none", "neuralop_2_0_0", "neuralop_93d3f06"] = Field(
        default="none", description="of which release it has the faults"
    )

    def infer(self, x: Space) -> Space:
        """`out` channels on `to`."""
        each = one_copy(x, self.copies)
        self._check_modes(each)
        if self.separable:
            own_channels(each, self.out)
        if _whole(each.channels, self.out):
            self._ranks(each)
        to = self.to or each.domain
        same_interval(each, to)
        return each.with_channels((self.out or each.channels) * self.copies).on(to)

    def _check_modes(self, x: Space) -> None:
        modes = each_axis(self.modes, x)
        pairs = zip(modes, layout_of_each(self.layout, len(modes)), strict=True)
        empty = [layout for m, layout in pairs if m == 0 and layout != "symmetric"]
        if not empty:
            return
        raise Refusal(
            "OP0208",
            f"layout `{empty[0]}` keeps nothing for 0 modes",
            "1 or more are needed on every axis",
            at="modes",
            helps=("`layout = symmetric` keeps the mean for `modes = 0`",),
        )

    def _bands(self, x: Space) -> Bands:
        return frequencies(each_axis(self.modes, x), self.layout, real=not x.complex)

    def _axes(self, x: Space) -> Axes:
        """The axes of the weight."""
        out = self.out or x.channels
        matrix = {"channels": x.channels} if self.separable else {"in": x.channels, "out": out}
        names = (*matrix, *(a.name for a in x.domain.axes))
        return Axes(names, (*matrix.values(), *map(len, self._bands(x))))

    def _ranks(self, x: Space) -> tuple[int, ...]:
        return ranks_of(self.factor, self._axes(x), self.rank)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """The points that hold the frequencies, where v comes from and where w goes to."""
        domains = (x.domain,) if self.to in (None, x.domain) else (x.domain, self.to)
        bands = self._bands(x)
        made = (bounds(x, bands, self.modes, self.layout) for x in domains if x is not None)
        return tuple(bound for each in made for bound in each)

    def diverges(self, _x: Space) -> str | None:
        """A fault depends on the resolution."""
        if self.faults == "none":
            return None
        return "has a fault of neuraloperator, whose effect depends on the resolution"

    def max_modes(self, x: Space) -> tuple[int, ...]:
        """A matrix for each |k| <= m."""
        return tuple(max(-band.start, band.stop - 1) for band in self._bands(x))

    def band_preserving(self) -> bool:
        """It makes no frequency."""
        return self.faults == "none"

    def cost(self, x: Space) -> Cost:
        """The numbers of the weight; fast transforms there and back; products in between."""
        out, copy = self.infer(x), one_copy(x, self.copies)
        added = (self.out or copy.channels) * out.width if self.bias else 0
        once, each = self._products(copy)
        flops = transform(x) + transform(out) + MIX * (once + each * self.copies)
        return Cost(2 * self._numbers(copy) + added, flops, out.numbers() * BYTES)

    def wasteful(self, x: Space) -> str | None:
        """Why a dense weight would be smaller, or None."""
        each = one_copy(x, self.copies)
        dense, own = math.prod(self._axes(each).shape), self._numbers(each)
        if self.factor == "dense" or own < dense:
            return None
        return f"its factors have {2 * own:,} numbers, a dense weight has {2 * dense:,}"

    def _numbers(self, x: Space) -> int:
        """Complex numbers of the weight."""
        shape = self._axes(x).shape
        if self.factor == "dense":
            return math.prod(shape)
        return count_numbers(self.factor, shape, self._ranks(x))

    def _products(self, x: Space) -> tuple[int, int]:
        """Complex products between the transforms: once for each call, then for each sample."""
        shape = self._axes(x).shape
        if self.factor == "dense":
            return 0, math.prod(shape)
        ranks = self._ranks(x)
        if self._in_ranks(x):
            return rank_products(self.factor, shape, ranks)
        return whole_products(self.factor, shape, ranks), math.prod(shape)

    def _in_ranks(self, x: Space) -> bool:
        """Whether it is less work to apply the factors one by one than to make R of them."""
        if self.factor == "dense" or self.separable:
            return False
        shape, ranks = self._axes(x).shape, self._ranks(x)
        once, each = rank_products(self.factor, shape, ranks)
        whole = whole_products(self.factor, shape, ranks)
        samples = BATCH * self.copies
        return once + samples * each < whole + samples * math.prod(shape)

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Transforms there and back, and the products between them."""
        bands, real, out = self._bands(x), not x.complex, self.infer(x).channels
        there = transform_work(kernel, x.channels, sizes[0], bands, real=real)
        back = transform_work(kernel, out, sizes[-1], bands, real=real)
        once, each = self._products(one_copy(x, self.copies))
        mix = Work(gemm=MIX * (once / BATCH + each * self.copies))
        return together(there, mix, back)

    def complex_weights(self, x: Space) -> int:
        """The matrices, and of complex functions the constant that is added."""
        copy = one_copy(x, self.copies)
        added = self.bias and x.complex
        return self._numbers(copy) + (self.out or copy.channels) * added

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.conv.SpectralConv`."""
        from opdsl.nn.layers import grouped
        from opdsl.nn.spectral import conv

        each = one_copy(x, self.copies)
        made = (each.channels, self.out or each.channels, each_axis(self.modes, each))
        if self.copies > 1:
            named = {"bias": self.bias, **self._more(each)}
            return grouped.GroupedLayer("spectral_conv", self.copies, *made, **named)
        return conv.SpectralConv(*made, bias=self.bias, **self._more(each))

    def _more(self, x: Space) -> dict[str, Any]:
        """What is not as usual."""
        chosen = {
            "layout": (self.layout, "symmetric"),
            "faults": (self.faults, "none"),
            "factor": (self.factor, "dense"),
            "ranks": (self._ranks(x), ()),
            "in_ranks": (self._in_ranks(x), False),
            "separable": (self.separable, False),
            "real": (not x.complex, True),
        }
        return {key: value for key, (value, usual) in chosen.items() if value != usual}


def _whole(*counts: object) -> bool:
    """Whether no count of channels is open, as it is while a definition is checked."""
    return not any(isinstance(x, Poly) for x in counts)
