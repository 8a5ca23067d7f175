"""Spectral convolution in the bases that follow the boundary: half-waves between ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from opdsl.bases import Family, Term
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.conv import shift_phases
from opdsl.nn.spectral.factors import FACTORS, Factored
from opdsl.nn.spectral.half_waves import transforms as half_waves
from opdsl.nn.spectral.mode_gradients import squares_by_limit
from opdsl.nn.spectral.transforms import (
    INVERSE_TRANSFORMS,
    TRUNCATED_TRANSFORMS,
    apply_along_axis,
)
from opdsl.sampling import GridSampling, offset
from opdsl.spectrum import Bands, check_points, frequencies


class BasisConv(nn.Module):
    """v = sum over terms t of F_t^-1(R_t . F_t(u)) + b; F_t has a family of functions on each axis.

    Coefficients of half-waves of real functions are real, and so is R then. With an axis of
    exponentials, or for complex functions, R is complex. On a real function the last axis of
    exponentials has frequencies from 0 on only.

    Attributes:
        weight: R, (terms, *counts, in, out), or (terms, *counts, channels) where it is separable;
            pairs (re, im) innermost if R is complex; or a list of factorised weights, one for each
            term, without the axis of the terms.
        bias: b, (out,), or (out, 2) for complex functions; None: zero.
        active_modes: the functions of each axis that take part now, see `limit`; None: all.
        low_precision: whether transforms and products run in the dtype of autocast, where it is on
            and R is real, by matrix products. Else they run in float32 at least.

    Source: Li et al. 2021, arXiv:2010.08895, eq. (4), with the bases of `opdsl.bases`.
    """

    def __init__(  # noqa: PLR0913  one for each parameter of the block
        self,
        in_channels: int,
        out_channels: int,
        modes: Size,
        terms: tuple[Term, ...],
        samplings: tuple[GridSampling, ...],
        *,
        bias: bool = True,
        factor: str = "dense",
        ranks: Size = (),
        separable: bool = False,
        real: bool = True,
    ) -> None:
        """Make a layer with fresh weights.

        Args:
            in_channels: of u.
            out_channels: of v.
            modes: for each axis the number of half-waves, or the greatest |k| of exponentials.
            terms: the families of each axis, for each term.
            samplings: where the points of each axis are.
            bias: whether b is added.
            factor: `dense` or a key of `FACTORS`.
            ranks: of the factorised weights.
            separable: whether each channel is convolved with itself only.
            real: whether the functions are real.

        Raises:
            ValueError: `separable` with different channels, or the terms differ in which axes have
                exponentials.
        """
        super().__init__()
        if separable and in_channels != out_channels:
            raise ValueError(f"separable: {in_channels} channels cannot become {out_channels}")
        if len({tuple(f == "fourier" for f in term) for term in terms}) != 1:
            raise ValueError("all terms have exponentials on the same axes")
        self.modes, self.terms, self.samplings = modes, terms, samplings
        self.real, self.separable = real, separable
        self.channels = (in_channels, out_channels)
        self.circles = tuple(i for i, f in enumerate(terms[0]) if f == "fourier")
        self.real_weights = real and not self.circles
        self.active_modes: Size | None = None
        self.low_precision = False
        matrix = (in_channels,) if separable else self.channels
        counts = tuple(map(len, self._bands(modes)))
        pair = () if self.real_weights else (2,)
        self.weight: nn.Parameter | nn.ModuleList
        if factor == "dense":
            self.weight = nn.Parameter(torch.empty(len(terms), *counts, *matrix, *pair))
        else:
            shape = (*matrix, *counts)
            made = (FACTORS[factor](shape, ranks, real=self.real_weights) for _ in terms)
            self.weight = nn.ModuleList(made)
        self.bias = (
            nn.Parameter(torch.empty(out_channels, *(() if real else (2,)))) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw R and b normal with E|R|^2 = 2 / (in + out) / terms, E|b|^2 = 2 / (in + out).

        As `SpectralConv`, where the terms together have the variance of one.
        """
        variance = 2 / sum(self.channels)
        of_term = variance / len(self.terms)
        if isinstance(self.weight, Tensor):
            parts = 1 if self.real_weights else 2
            nn.init.normal_(self.weight, std=math.sqrt(of_term / parts))
        else:
            for x in self._factored():
                x.reset_parameters(of_term)
        if self.bias is not None:
            nn.init.normal_(self.bias, std=math.sqrt(variance / (1 if self.real else 2)))

    def limit(self, modes: Size | None) -> None:
        """Use only the first `modes` functions of each axis; None: all.

        Raises:
            ValueError: `modes` has not one number for each axis, or none is left of half-waves.

        Source: George et al. 2024, arXiv:2211.15188 (incremental Fourier neural operator).
        """
        if modes is not None and (len(modes) != len(self.modes) or min(modes) < 0):
            raise ValueError(f"{len(self.modes)} axes have modes, not {modes}")
        if modes is None:
            self.active_modes = None
            return
        # a half-wave is left on each axis; exponentials keep the constant for 0
        least = [0 if i in self.circles else 1 for i in range(len(self.modes))]
        together = zip(modes, self.modes, least, strict=True)
        self.active_modes = tuple(max(min(a, m), b) for a, m, b in together)

    def gradient_by_mode(self) -> Tensor | None:
        """Return the squared gradient of R by limit; see `opdsl.nn.capabilities`."""
        if not isinstance(self.weight, Tensor):
            return None
        circles = [i in self.circles for i in range(len(self.modes))]
        pairs = zip(self._bands(self.modes), circles, strict=True)
        limits = [[abs(k) if circle else k + 1 for k in band] for band, circle in pairs]
        gradient = self.weight.grad
        if gradient is not None:
            gradient = gradient.movedim(0, len(limits))  # the terms behind the modes
        return squares_by_limit(gradient, limits, max(self.modes))

    def forward(self, x: Tensor, size: Size | None = None, kernel: str = "fft") -> Tensor:
        """Convolve `x` and sample the result on the grid `size`.

        Args:
            x: u, (batch, *grid, in).
            size: grid of the result, that of `x` by default.
            kernel: `fft` or `dft`; their results are equal up to rounding.

        Returns:
            v, (batch, *size, out), in the dtype of x, computed in float32 at least unless
            `low_precision`.

        Raises:
            ValueError: the grid of `x` or `size` has too few points on an axis for its modes.
        """
        size = tuple(x.shape[1:-1]) if size is None else size
        bands = self._bands(self.active_modes or self.modes)
        self._check_points(tuple(x.shape[1:-1]), bands)
        self._check_points(size, bands)
        narrow = self._low_precision_dtype(x)
        with no_autocast(x):
            if narrow is not None:
                v = self._by_products(x.to(narrow), bands, size)
            elif kernel == "dft" and self.real_weights:
                v = self._by_products(x.to(wide(x)), bands, size)
            else:
                v = self._by_terms(x.to(wide(x)), bands, size, kernel)
            if self.bias is not None:
                bias = self.bias if self.real else torch.view_as_complex(self.bias)
                v = v + bias.to(v.dtype)
            return v.to(x.dtype)

    def _low_precision_dtype(self, x: Tensor) -> torch.dtype | None:
        """Return the dtype of autocast if the transforms run in it, else None."""
        kind = x.device.type
        plain = self.real_weights and wide(x) == torch.float32
        if self.low_precision and plain and torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        return None

    def _check_points(self, grid: Size, bands: Bands) -> None:
        if self.circles:
            check_points(tuple(grid[i] for i in self.circles), self._waves(bands))
        for term in self.terms:
            for i, family in enumerate(term):
                if family != "fourier":
                    half_waves.check_modes(family, self.samplings[i], grid[i], len(bands[i]))

    def _by_terms(self, u: Tensor, bands: Bands, size: Size, kernel: str) -> Tensor:
        """Add up the terms, each with its own transforms."""
        parts = [self._term(i, u, bands, size, kernel) for i in range(len(self.terms))]
        return sum(parts[1:], parts[0])

    def _term(self, index: int, u: Tensor, bands: Bands, size: Size, kernel: str) -> Tensor:
        """Compute F^-1(R . F(u)) of one term."""
        term = self.terms[index]
        z = self._mix(self._transform(u, term, bands, kernel), index)
        for i in self.circles:
            first, n = offset(self.samplings[i]), u.shape[i + 1]
            if first and size[i] != n:
                phases = shift_phases((bands[i],), (first,), (n,), (size[i],), z.real)
                z = z * phases.reshape([-1 if a == i + 1 else 1 for a in range(z.ndim)])
        return self._inverse(z, term, bands, size, kernel)

    def _by_products(self, u: Tensor, bands: Bands, size: Size) -> Tensor:
        """Convolve by matrix products in the dtype of `u`, for half-waves of real functions.

        On the last axis one product computes the coefficients of all terms, and one adds up their
        values: only these two read and write a whole grid, and no axis is permuted.
        """
        last, terms = len(size) - 1, len(self.terms)
        batch, *grid, channels = u.shape
        counts = [len(band) for band in bands]
        pairs = [(term[last], self.samplings[last]) for term in self.terms]
        down = [half_waves.analysis(*x, grid[last], counts[last], u) for x in pairs]
        stacked = apply_along_axis(u, last + 1, torch.cat(down) if terms > 1 else down[0])
        # views of each term, (batch, *grid of the other axes, functions, c)
        parts = stacked.reshape(batch, *grid[:last], terms, counts[last], channels).unbind(last + 1)
        results = [self._on_other_axes(z, i, bands, size) for i, z in enumerate(parts)]
        up = [half_waves.synthesis(*x, size[last], counts[last], u) for x in pairs]
        if terms == 1:
            return apply_along_axis(results[0], last + 1, up[0])
        return apply_along_axis(torch.cat(results, last + 1), last + 1, torch.cat(up, 1))

    def _on_other_axes(self, z: Tensor, term: int, bands: Bands, size: Size) -> Tensor:
        """Transform all axes but the last, multiply by R, and transform them back."""
        families = list(zip(self.terms[term], self.samplings, strict=True))[:-1]
        for i in reversed(range(len(families))):
            z = apply_along_axis(
                z, i + 1, half_waves.analysis(*families[i], z.shape[i + 1], len(bands[i]), z)
            )
        z = self._mix(z, term)
        for i, kind in enumerate(families):
            z = apply_along_axis(z, i + 1, half_waves.synthesis(*kind, size[i], len(bands[i]), z))
        return z

    # --- transforms -----------------------------------------------------------------------------

    def _bands(self, modes: Size) -> Bands:
        """Return the functions of each axis: k of exponentials, 0 ... m - 1 of half-waves."""
        if not self.circles:
            return tuple(map(range, modes))
        waves = iter(frequencies(tuple(modes[i] for i in self.circles), real=self.real))
        return tuple(next(waves) if i in self.circles else range(m) for i, m in enumerate(modes))

    def _transform(self, u: Tensor, term: Term, bands: Bands, kernel: str) -> Tensor:
        """(batch, *grid, c) -> (batch, *counts, c), complex if R is."""
        channels = u.shape[-1]
        z = torch.view_as_real(u).flatten(-2) if u.is_complex() else u
        for i in reversed(range(len(term))):
            if term[i] != "fourier":
                z = _analysed(z, i + 1, term[i], self.samplings[i], len(bands[i]), kernel)
        if u.is_complex():
            z = torch.view_as_complex(z.reshape(*z.shape[:-1], channels, 2).contiguous())
        if not self.circles:
            return z
        return self._on_circles(z, lambda y: TRUNCATED_TRANSFORMS[kernel](y, self._waves(bands)))

    def _inverse(self, z: Tensor, term: Term, bands: Bands, size: Size, kernel: str) -> Tensor:
        """(batch, *counts, c) -> (batch, *size, c)."""
        if self.circles:
            points = tuple(size[i] for i in self.circles)
            z = self._on_circles(
                z,
                lambda y: INVERSE_TRANSFORMS[kernel](y, self._waves(bands), points, real=self.real),
            )
        channels, complex_values = z.shape[-1], z.is_complex()
        v = torch.view_as_real(z).flatten(-2) if complex_values else z
        for i in range(len(term)):
            if term[i] != "fourier":
                v = _synthesised(v, i + 1, term[i], self.samplings[i], size[i], kernel)
        return (
            torch.view_as_complex(v.reshape(*v.shape[:-1], channels, 2).contiguous())
            if complex_values
            else v
        )

    def _waves(self, bands: Bands) -> Bands:
        return tuple(bands[i] for i in self.circles)

    def _on_circles(self, z: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply a transform of the periodic axes, the others counted as samples."""
        others = [i + 1 for i in range(len(self.modes)) if i not in self.circles]
        order = [0, *others, *(i + 1 for i in self.circles), z.ndim - 1]
        y = z.permute(order)
        lead = y.shape[: 1 + len(others)]
        y = transform(y.reshape(-1, *y.shape[len(lead) :]))
        y = y.reshape(*lead, *y.shape[1:])
        return y.permute([order.index(i) for i in range(z.ndim)])

    # --- weights --------------------------------------------------------------------------------

    def _mix(self, z: Tensor, term: int) -> Tensor:
        """Multiply each coefficient by R: (batch, *counts, in) -> (batch, *counts, out)."""
        u = z.flatten(1, -2)
        dtype = z.real.dtype
        # products of small tensors that make R are computed in float32 at least
        R = self.matrices(torch.promote_types(dtype, torch.float32), term)
        R = R if R.is_complex() else R.to(dtype)
        v = u * R if self.separable else torch.bmm(u.transpose(0, 1), R).transpose(0, 1)
        return v.reshape(*z.shape[:-1], v.shape[-1])

    def matrices(self, dtype: torch.dtype, term: int) -> Tensor:
        """Return R of a term, (functions, in, out), or (functions, channels) where separable."""
        trailing = 1 if self.separable else 2
        if isinstance(self.weight, Tensor):
            R = self.weight[term].to(dtype)
            R = R if self.real_weights else torch.view_as_complex(R)
            return self._active(R, 0).flatten(0, -1 - trailing)
        R = self._active(list(self._factored())[term].full(dtype), trailing)
        return R.flatten(trailing).movedim(-1, 0)

    def stacked(self) -> Tensor:
        """Return R of all terms, (terms * functions, in, out); not for `separable`."""
        if isinstance(self.weight, Tensor) and self.real_weights:
            return self._active(self.weight, 1).flatten(0, -3)
        dtype = wide(next(self.parameters()))
        return torch.cat([self.matrices(dtype, term) for term in range(len(self.terms))])

    def _active(self, R: Tensor, first: int) -> Tensor:
        """Select the part of R for `active_modes`; its axes of functions begin at `first`."""
        if self.active_modes is None:
            return R
        pairs = zip(self._bands(self.modes), self._bands(self.active_modes), strict=True)
        for axis, (band, active) in enumerate(pairs, start=first):
            R = R.narrow(axis, active.start - band.start, len(active))
        return R

    def _factored(self) -> Iterator[Factored]:
        assert isinstance(self.weight, nn.ModuleList)
        yield from self.weight  # type: ignore[misc]  # a list of modules that are all of this type

    def extra_repr(self) -> str:
        """Describe channels, modes, families, and options other than the defaults."""
        in_channels, out_channels = self.channels
        families = " + ".join(" x ".join(term) for term in self.terms)
        text = f"{in_channels}, {out_channels}, modes={self.modes}, {families}"
        text += f", bias={self.bias is not None}"
        return text + ", separable" * self.separable + ", complex" * (not self.real)


def _analysed(
    z: Tensor, axis: int, family: Family, sampling: GridSampling, m: int, kernel: str
) -> Tensor:
    """Compute the coefficients of half-waves along one axis of a real tensor."""
    if kernel == "fft":
        return half_waves.fast_analysis(z, axis, family, sampling, m)
    matrix = half_waves.analysis(family, sampling, z.shape[axis], m, z)
    return apply_along_axis(z, axis, matrix)


def _synthesised(
    z: Tensor, axis: int, family: Family, sampling: GridSampling, n: int, kernel: str
) -> Tensor:
    """Evaluate half-waves at n points along one axis of a real tensor."""
    if kernel == "fft":
        return half_waves.fast_synthesis(z, axis, family, sampling, n)
    return apply_along_axis(z, axis, half_waves.synthesis(family, sampling, n, z.shape[axis], z))
