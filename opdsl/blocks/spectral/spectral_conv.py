"""The block `spectral_conv`: a matrix for each function of a basis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt, StrictFloat, StrictInt

from opdsl.bases import HALF_WAVES, Bases, Basis, Family, Term
from opdsl.ir import ends, orders
from opdsl.ir.axes import Axis
from opdsl.ir.block import BYTES, Block, Bound, Cost, GridSizes, Refusal, Work
from opdsl.ir.channel_groups import COPIES, one_copy
from opdsl.ir.dims import Poly, PositiveCount, decided
from opdsl.ir.ends import AxisBehaviour, Behaviour
from opdsl.ir.expansion import Expansion, basis_of_each, expansion, expansion_bounds, expansion_work
from opdsl.ir.modes import MIX, bounds, each_axis, layout_of_each, together, transform_work
from opdsl.ir.orders import Order
from opdsl.ir.ranks import (
    Axes,
    count_numbers,
    own_channels,
    rank_products,
    ranks_of,
    whole_products,
)
from opdsl.ir.regrid import same_interval, transform
from opdsl.ir.sharding.rules import Rule
from opdsl.ir.spaces import Domain, Space
from opdsl.sampling import offset
from opdsl.spectrum import Bands, Layouts, frequencies

if TYPE_CHECKING:
    from torch import nn

BATCH = 16  # number of samples that is assumed where a choice depends on it


class SpectralConv(Block):
    """w = F^-1(R . F(v)) + b: each Fourier mode k of v up to m is multiplied by its own matrix R_k.

    v : D -> R^n gives w : to -> R^out on grids, and complex functions likewise. `modes` is
    one-sided: m means |k| <= m on each axis, 2 m + 1 frequencies (for real functions m + 1 on the
    last axis, whose other half is the conjugate). Both grids need 2 m + 1 points on each axis. The
    weights do not depend on the grid: they are one operator for every resolution, and with `to` the
    result is one function on another grid.

    `basis` chooses the functions of each axis, one word for all axes or one for each:

    | basis | functions of an axis with t in 0 ... 1 | for axes |
    | --- | --- | --- |
    | `fourier` | exp(2 pi i k t), abs(k) <= m | periodic; other axes are treated as if they were |
    | `sine` | sin(pi k t), k = 1 ... m | functions that vanish at both ends |
    | `cosine` | cos(pi k t), k = 0 ... m - 1 | functions whose slope vanishes at both ends |
    | `quarter_sine` | sin(pi (k - 1/2) t), k = 1 ... m | value 0 below, slope 0 above |
    | `quarter_cosine` | cos(pi (k - 1/2) t), k = 1 ... m | slope 0 below, value 0 above |
    | `sine_cosine` | a sum of two terms: sines, and cosines | any functions between two ends |
    | `auto` | what the boundary asks for | all |

    `auto` is `fourier` on periodic axes, `cosine` between two Neumann ends and `sine_cosine` on all
    other axes, since the functions inside of a network do not vanish where the solution does. At a
    Neumann end the sines of `sine_cosine` are quarter-waves, whose slope vanishes there. Several
    axes with `sine_cosine` have two terms together. Half-waves count from one end to the other:
    `modes = 24` of them reach as far as `modes = 12` of exponentials. They need no padding.

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
    the grid), are a product of small tensors, and `rank` sets their size. `cp` has one rank, the
    number of products of vectors that are added; `tucker` one for each axis of the tensor; `tt` one
    between each two of them. A fraction such as `rank = 0.1` stands for the ranks for which the
    factors have about a tenth of the numbers. The initial weights have the variance of dense ones.

    `layout` is for weights that were trained elsewhere; m then means other frequencies:

    | layout | full axes | points | last axis of real functions | points |
    | --- | --- | --- | --- | --- |
    | `symmetric` | -m ... m | 2 m + 1 | 0 ... m | 2 m + 1 |
    | `neuralop`, as its `n_modes = 2 m` | -m ... m - 1 | 2 m | 0 ... m | 2 m |
    | `paper`, its blocks of weights as one | -m ... m - 1 | 2 m | 0 ... m - 1 | 2 m - 2 |

    For complex functions every axis is full. Axes may differ: `layout = (neuralop, symmetric)` is
    its `n_modes` even on the first and odd, 2 m + 1, on the second. Where a grid has exactly 2 m
    points, -m is the Nyquist frequency, which stands for +m too: `neuralop` and `paper` are one
    operator for all resolutions above that one only.

    `faults` is for weights that were trained with a fault and are useless without it. In two axes
    and more neuraloperator puts negative frequencies into wrong places where the grid changes, its
    release 2.0.0 also at odd sizes, and those of complex functions always; in any number of axes it
    removes the imaginary part of the last frequency there. `faults = neuralop_93d3f06` (its newest
    commit) or `neuralop_2_0_0` reproduces this. The result depends on the resolution and has no
    limit, and a warning says so.

    Attributes:
        modes: m, the greatest frequency with weights, in periods per box; one number for all axes
            or one for each.
        out: number of channels of the result; by default that of v.
        to: the grid of the result, of the declaration of D; by default D.
        bias: whether a trained constant b is added.
        factor: form of the weight: dense, cp, tucker or tt.
        rank: of a factorised weight: a fraction of the numbers of a dense one, above 0 and at most
            1; or whole numbers, one for all or one for each, none above the full rank.
        separable: whether R_k is diagonal, so that each channel is convolved with itself only.
        copies: number of groups into which the channels are split, for functions that contain
            several variables one after the other. Each is convolved with the common R and b, and
            `out` counts the channels of one.
        layout: which frequencies `modes` means, one word for all axes or one for each.
        faults: none, or the release of neuraloperator whose faults are reproduced.
        basis: the functions of each axis, one word for all axes or one for each.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), whose program is the layout `paper`; Kossaifi
        et al. 2023, arXiv:2310.00120, sec. 3, for the factors.
    """

    assumes_periodic = True
    kinds = frozenset({"grid"})
    complex = True
    sized = True
    kernels = ("fft", "dft")
    drawn_as = "integral"
    limits_modes = True
    narrows_spectrum = True
    samples = (
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
        {"inputs": ("I -> R^3",), "modes": 3, "out": 5, "basis": "auto"},
        {"inputs": ("I -> R^2",), "modes": 2, "to": "I/2", "basis": "cosine", "bias": False},
        {
            "inputs": ("I -> R^3",),
            "modes": 3,
            "out": 2,
            "factor": "tucker",
            "rank": 0.5,
            "basis": "auto",
        },
        {"inputs": ("I -> R^2",), "modes": 2, "separable": True, "basis": "auto"},
        {"inputs": ("I -> C^2",), "modes": 2, "basis": "auto"},
        {"inputs": ("I -> R^4",), "modes": 2, "copies": 2, "basis": "auto"},
    )

    modes: NonNegativeInt | tuple[NonNegativeInt, ...] = Field(
        description="the greatest frequency with weights, one number or one for each axis"
    )
    out: PositiveCount | None = Field(default=None, description="channels of the result")
    to: Domain | None = Field(default=None, description="the grid of the result")
    bias: bool = Field(default=True, description="whether a trained constant is added")
    factor: Literal["dense", "cp", "tucker", "tt"] = Field(
        default="dense", description="form of the weight"
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
    basis: Bases = Field(default="fourier", description="the functions of each axis")

    def infer(self, x: Space) -> Space:
        """Return `to` with `out` channels."""
        copy = one_copy(x, self.copies)
        self._check_modes(copy)
        if self.separable:
            own_channels(copy, self.out)
        if _whole(copy.channels, self.out):
            self._ranks(copy)
        to = self.to or copy.domain
        same_interval(copy, to)
        return copy.with_channels((self.out or copy.channels) * self.copies).on(to)

    def circles(self, x: Space) -> tuple[bool, ...]:
        """Return for each axis whether it is treated as periodic."""
        e = expansion(self.basis, self.modes, x)
        if e is None:
            return super().circles(x)
        return tuple(i in e.circles for i in range(x.domain.dims))

    def _check_modes(self, x: Space) -> None:
        if expansion(self.basis, self.modes, x) is not None:
            self._check_words()
            return
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

    def _check_words(self) -> None:
        for key, default in (("layout", "symmetric"), ("faults", "none")):
            if getattr(self, key) != default:
                raise Refusal(
                    "OP0208",
                    f"`{key}` is for weights of exponentials on every axis",
                    f"`basis = {show_basis(self.basis)}` has half-waves",
                    at=key,
                    helps=(f"leave `{key}` out, or `basis = fourier`",),
                )

    def _bands(self, x: Space) -> Bands:
        return frequencies(each_axis(self.modes, x), self.layout, real=not x.complex)

    def _axes(self, x: Space) -> Axes:
        """Return the axes of the weight."""
        out = self.out or x.channels
        matrix = {"channels": x.channels} if self.separable else {"in": x.channels, "out": out}
        names = (*matrix, *(a.name for a in x.domain.axes))
        e = expansion(self.basis, self.modes, x)
        counts = tuple(map(len, self._bands(x))) if e is None else e.counts
        return Axes(names, (*map(decided, matrix.values()), *counts))

    def _ranks(self, x: Space) -> tuple[int, ...]:
        return ranks_of(self.factor, self._axes(x), self.rank)

    def bounds(self, x: Space) -> tuple[Bound, ...]:
        """Require points that resolve the frequencies on the grids of v and of w."""
        domains = (x.domain,) if self.to in (None, x.domain) else (x.domain, self.to)
        e = expansion(self.basis, self.modes, x)
        if e is not None:
            return tuple(y for d in domains if d for y in expansion_bounds(d, e, self.modes))
        bands = self._bands(x)
        bounds_of_domains = (
            bounds(y, bands, self.modes, self.layout) for y in domains if y is not None
        )
        return tuple(bound for of_domain in bounds_of_domains for bound in of_domain)

    def diverges(self, _x: Space) -> str | None:
        """Return the reason if a fault is chosen: its effect depends on the resolution."""
        if self.faults == "none":
            return None
        return "has a fault of neuraloperator, whose effect depends on the resolution"

    def max_modes(self, x: Space) -> tuple[int, ...] | None:
        """Return m on each axis: each |k| <= m has a matrix; None of half-waves."""
        if expansion(self.basis, self.modes, x) is not None:
            return None
        return tuple(max(-band.start, band.stop - 1) for band in self._bands(x))

    def band_preserving(self) -> bool:
        """Return whether it acts on each frequency by itself; faults and half-waves do not."""
        return self.faults == "none" and self.basis == "fourier"

    def saved_modes(self, sizes: GridSizes, x: Space) -> int:
        """Return how many complex numbers of each channel the gradient needs."""
        e = expansion(self.basis, self.modes, x)
        if e is None:
            return super().saved_modes(sizes, x)
        return -(-e.coefficients // 2) if e.real_weights else e.coefficients

    def behaviour_at_ends(self, _inputs: tuple[Behaviour, ...], x: Space) -> Behaviour:
        """Return the parity of the basis, without what the constant `bias` breaks."""
        result = ends.waves(self.infer(x).domain, *self._terms(x))
        return ends.add_constant(result) if self.bias else result

    def convergence_order(self, inputs: tuple[Behaviour, ...], x: Space) -> Order:
        """Return the order of the coefficients in the basis."""
        return orders.coefficients(x.domain, inputs[0], *self._terms(x))

    def better_basis(self, inputs: tuple[Behaviour, ...], x: Space) -> tuple[str, Order] | None:
        """Return the basis of a higher order, if there is one.

        Half-waves of the program are compared with other half-waves, exponentials between two ends
        with what the boundary asks for.
        """
        words = basis_of_each(self.basis, x.domain)
        if self.layout != "symmetric" or self.faults != "none":
            return None  # its weights were trained in this basis
        rows = zip(words, x.domain.axes, x.domain.periodic, inputs[0].axes, strict=True)
        best = tuple(self._best(word, axis, at, closed=closed) for word, axis, closed, at in rows)
        basis: Bases = best[0] if len(set(best)) == 1 else best
        own = self.convergence_order(inputs, x)
        try:
            order = self.model_copy(update={"basis": basis}).convergence_order(inputs, x)
        except Refusal:  # it fits neither the modes nor the sampling
            return None
        return (show_basis(basis), order) if order.value > own.value else None

    @staticmethod
    def _best(word: Basis, axis: Axis, at: AxisBehaviour, *, closed: bool) -> Basis:
        if word == "fourier" and not closed:
            return "auto"
        return orders.best_half_waves(axis, at, word) if word in HALF_WAVES else word

    def _offsets(self, x: Space) -> tuple[float, ...]:
        """Return the place of the first point on periodic axes, where the result has others."""
        if self.to in (None, x.domain):
            return ()
        pairs = zip(x.domain.axes, x.domain.periodic, strict=True)
        offsets = tuple(offset(axis.points) if closed else 0.0 for axis, closed in pairs)
        return offsets if any(offsets) else ()

    def _terms(self, x: Space) -> tuple[Term, ...]:
        """Return the families of each term."""
        e = expansion(self.basis, self.modes, x)
        if e is not None:
            return e.terms
        circles: list[Family] = ["fourier"] * x.domain.dims
        return (tuple(circles),)

    def cost(self, x: Space) -> Cost:
        """Count the numbers of the weight, the fast transforms and the products between them."""
        out, copy = self.infer(x), one_copy(x, self.copies)
        bias_numbers = (self.out or copy.channels) * out.width if self.bias else 0
        per_call, per_sample = self._products(copy)
        e = expansion(self.basis, self.modes, x)
        terms = 1 if e is None else len(e.terms)
        products = self._mix_flops(e) * (per_call + per_sample * self.copies)
        flops = (transform(x) + transform(out)) * terms + products
        numbers = (1 if e is not None and e.real_weights else 2) * self._numbers(copy)
        return Cost(decided(numbers + bias_numbers), flops, out.numbers() * BYTES)

    @staticmethod
    def _mix_flops(e: Expansion | None) -> int:
        """Return the flops of one product with a number of R and an addition."""
        return 2 if e is not None and e.real_weights else MIX

    def wasteful(self, x: Space) -> str | None:
        """Return why a dense weight would be smaller, or None."""
        copy = one_copy(x, self.copies)
        e = expansion(self.basis, self.modes, x)
        terms = 1 if e is None else len(e.terms)
        dense, factorised = math.prod(self._axes(copy).shape) * terms, self._numbers(copy)
        if self.factor == "dense" or factorised < dense:
            return None
        parts = 1 if e is not None and e.real_weights else 2
        return (
            f"its factors have {parts * factorised:,} numbers, a dense weight has {parts * dense:,}"
        )

    def _numbers(self, x: Space) -> int:
        """Count the numbers of the weight, complex ones unless all functions are half-waves."""
        e, shape = expansion(self.basis, self.modes, x), self._axes(x).shape
        terms = 1 if e is None else len(e.terms)
        if self.factor == "dense":
            return terms * math.prod(shape)
        return terms * count_numbers(self.factor, shape, self._ranks(x))

    def _products(self, x: Space) -> tuple[int, int]:
        """Count products between the transforms, for each call and for each sample."""
        e, shape = expansion(self.basis, self.modes, x), self._axes(x).shape
        if e is not None:
            per_sample = len(e.terms) * math.prod(shape)
            if self.factor == "dense":
                return 0, per_sample
            return len(e.terms) * whole_products(self.factor, shape, self._ranks(x)), per_sample
        if self.factor == "dense":
            return 0, math.prod(shape)
        ranks = self._ranks(x)
        if self._in_ranks(x):
            return rank_products(self.factor, shape, ranks)
        return whole_products(self.factor, shape, ranks), math.prod(shape)

    def _in_ranks(self, x: Space) -> bool:
        """Return whether applying the factors one by one is less work than multiplying out R."""
        if (
            self.factor == "dense"
            or self.separable
            or expansion(self.basis, self.modes, x) is not None
        ):
            return False
        shape, ranks = self._axes(x).shape, self._ranks(x)
        per_call, per_sample = rank_products(self.factor, shape, ranks)
        multiplying_out = whole_products(self.factor, shape, ranks)
        samples = BATCH * self.copies
        return per_call + samples * per_sample < multiplying_out + samples * math.prod(shape)

    def work(self, kernel: str, sizes: GridSizes, x: Space) -> Work:
        """Count the transforms in both directions, and the products between them."""
        e, out = expansion(self.basis, self.modes, x), self.infer(x).channels
        per_call, per_sample = self._products(one_copy(x, self.copies))
        products = per_call / BATCH + per_sample * decided(self.copies)
        mix = Work(gemm=self._mix_flops(e) * products)
        if e is not None:
            forward = expansion_work(kernel, decided(x.channels), sizes[0], e)
            return together(forward, mix, expansion_work(kernel, decided(out), sizes[-1], e))
        bands, real = self._bands(x), not x.complex
        forward = transform_work(kernel, decided(x.channels), sizes[0], bands, real=real)
        inverse = transform_work(kernel, decided(out), sizes[-1], bands, real=real)
        return together(forward, mix, inverse)

    def sharding(self, _axis: int, _sizes: GridSizes, x: Space) -> Rule | None:
        """Return its coefficients, unless `faults` are reproduced."""
        if self.faults != "none":
            return None
        e, copy = expansion(self.basis, self.modes, x), one_copy(x, self.copies)
        width = 1 if e is not None and e.real_weights else 2
        out = 1 if self.separable else decided(self.out or copy.channels)
        return Rule(
            "spectral",
            counts=tuple(map(len, self._bands(x))) if e is None else e.counts,
            terms=1 if e is None else len(e.terms),
            width=width,
            matrix=width * decided(copy.channels) * out,
            weights="stored" if self.factor == "dense" else "all",
        )

    def complex_weights(self, x: Space) -> int:
        """Count the matrices, and the bias if the function is complex."""
        copy, e = one_copy(x, self.copies), expansion(self.basis, self.modes, x)
        complex_bias = self.bias and x.complex
        numbers = 0 if e is not None and e.real_weights else self._numbers(copy)
        return numbers + decided(self.out or copy.channels) * complex_bias

    def lower(self, x: Space) -> nn.Module:
        """See `opdsl.nn.spectral.conv.SpectralConv` and `half_waves.conv.BasisConv`."""
        from opdsl.nn.layers import grouped
        from opdsl.nn.spectral import conv
        from opdsl.nn.spectral.half_waves.conv import BasisConv

        copy = one_copy(x, self.copies)
        e = expansion(self.basis, self.modes, copy)
        layer: type[nn.Module] = conv.SpectralConv if e is None else BasisConv
        c, out = decided(copy.channels), decided(self.out or copy.channels)
        shape: tuple[Any, ...] = (c, out, each_axis(self.modes, copy))
        if e is not None:
            shape += (e.terms, e.samplings)
        options = {"bias": self.bias, **self._more(copy)}
        if self.copies > 1:
            return grouped.GroupedLayer(layer, decided(self.copies), *shape, **options)
        return layer(*shape, **options)

    def _more(self, x: Space) -> dict[str, Any]:
        """Return the arguments that differ from the defaults of the layer."""
        arguments: dict[str, tuple[object, object]] = {
            "factor": (self.factor, "dense"),
            "ranks": (self._ranks(x), ()),
            "separable": (self.separable, False),
            "real": (not x.complex, True),
        }
        if expansion(self.basis, self.modes, x) is None:
            arguments |= {
                "layout": (self.layout, "symmetric"),
                "faults": (self.faults, "none"),
                "in_ranks": (self._in_ranks(x), False),
                "offsets": (self._offsets(x), ()),
            }
        return {key: value for key, (value, default) in arguments.items() if value != default}


def show_basis(basis: Bases) -> str:
    """Write a basis as in a program."""
    return basis if isinstance(basis, str) else f"({', '.join(basis)})"


def _whole(*counts: object) -> bool:
    """Return whether all counts of channels are numbers, not symbols of a definition."""
    return not any(isinstance(x, Poly) for x in counts)
