"""Spectral convolutions of which each process has a part of the grid.

Two strategies, see `opdsl.ir.sharding.rules`: `transpose` sends the sharded axis whole, with some
modes of the other axes, to each process; `partial_sums` adds up the coefficients of the parts. In
both each process multiplies only its own modes by their weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from opdsl.lower.sharded.axis_transforms import AxisTransform, FourierAxis, HalfWaveAxis, apply
from opdsl.lower.sharded.site import NodeSite, StepArguments, of_class
from opdsl.nn.precision import no_autocast, wide
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.conv import SpectralConv, shift_phases
from opdsl.nn.spectral.half_waves.conv import BasisConv
from opdsl.nn.spectral.transforms import InverseTruncatedFFT, TruncatedFFT
from opdsl.nn.sphere.harmonics import (
    SphericalConv,
    contract_with_table,
    legendre_tables,
    longitude_rfft,
)
from opdsl.parallel.exchanges import all_gather, all_reduce, narrow, reduce_scatter, transpose
from opdsl.sampling import offset
from opdsl.spectrum import Bands, frequencies


@dataclass(frozen=True, slots=True)
class ModeExpansion:
    """One expansion of a function in products of functions of one axis each, with its weights.

    Attributes:
        transforms: of each axis.
        half: the axis with half a spectrum, whose inverse transform is the last one; or None.
        matrices: R, (*counts, in, out), or (*counts, channels) where it is diagonal.
        diagonal: whether each channel is multiplied by itself only.
        phases: factors of all coefficients, (*counts); None: one.
    """

    transforms: tuple[AxisTransform, ...]
    half: int | None
    matrices: Tensor
    diagonal: bool
    phases: Tensor | None = None

    @property
    def counts(self) -> Size:
        """The coefficients of each axis."""
        return tuple(self.matrices.shape[: len(self.transforms)])

    def forward(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Transform some axes, that with half a spectrum first."""
        for i in sorted(axes, key=lambda i: (i != self.half, -i)):
            x = self.transforms[i].forward(x, i + 1)
        return x

    def inverse(self, z: Tensor, axes: Sequence[int], size: Size) -> Tensor:
        """Transform some axes back, that with half a spectrum last; then all others are points."""
        for i in axes:
            if i != self.half:
                z = self.transforms[i].inverse(z, i + 1, size[i])
        if self.half is not None and self.half in axes:
            return self.transforms[self.half].inverse_real(z, self.half + 1, size[self.half])
        return z if self.half is None else z.real

    def multiply(self, z: Tensor, select: Callable[[Tensor], Tensor]) -> Tensor:
        """Multiply modes by their weights: (batch, modes, in) -> (batch, modes, out).

        Args:
            z: the coefficients of some modes.
            select: selects these modes, in their order, from (*counts, ...) to (modes, ...).
        """
        R = select(self.matrices)
        v = z * R if self.diagonal else torch.bmm(z.transpose(0, 1), R).transpose(0, 1)
        return v if self.phases is None else v * select(self.phases[..., None])


def spectral(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], more: StepArguments
) -> Tensor:
    """Run a convolution by coefficients, a key of `CONVOLUTIONS`."""
    (x,) = inputs
    with no_autocast(x):
        u, size = x.to(wide(x)), tuple(more.get("size", site.grids[-1]))
        v = of_class(CONVOLUTIONS, module)(site, module, u, size)
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            v = v + (torch.view_as_complex(bias) if v.is_complex() else bias).to(v.dtype)
        return v.to(x.dtype)


def analysis(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Compute the coefficients of a whole function from its parts, on all processes."""
    (x,), a, modes = inputs, site.axis, cast("TruncatedFFT", module).modes
    with no_autocast(x):
        u, real = x.to(wide(x)), not x.is_complex()
        how = _waves(frequencies(modes, real=real), u, real=real)
        z = how.forward(u, [i for i in range(len(modes)) if i != a])
        z = apply(z, a + 1, how.transforms[a].columns(site.points, site.space.own(site.points), z))
        return all_reduce(z, site.space)


def synthesis(
    site: NodeSite, module: nn.Module, inputs: Sequence[Tensor], _more: StepArguments
) -> Tensor:
    """Evaluate coefficients that all processes have at the own points."""
    layer = cast("InverseTruncatedFFT", module)
    (z,), a, size = inputs, site.axis, site.grids[-1]
    with no_autocast(z):
        how = _waves(frequencies(layer.modes, real=layer.real), z, real=layer.real)
        z = apply(z, a + 1, how.transforms[a].rows(size[a], site.space.own(size[a]), z))
        return how.inverse(z, [i for i in range(len(size)) if i != a], size)


def _waves(bands: Bands, like: Tensor, *, real: bool) -> ModeExpansion:
    """Return the Fourier transforms of some bands, without weights."""
    half = len(bands) - 1 if real else None
    transforms = tuple(FourierAxis(x, half=i == half) for i, x in enumerate(bands))
    return ModeExpansion(transforms, half, like.new_empty(*(0 for _ in bands)), diagonal=True)


# --- the two strategies --------------------------------------------------------------------------


def _transposed(site: NodeSite, how: ModeExpansion, u: Tensor, size: Size) -> Tensor:
    a, space = site.axis, site.space
    others = [i for i in range(len(size)) if i != a]
    z = how.forward(u, others).movedim(a + 1, 1)
    rest = z.shape[2:-1]
    modes = space.own(math.prod(rest))

    def select(x: Tensor) -> Tensor:
        """Select the own modes of the other axes with all of the sharded one."""
        return narrow(x.movedim(a, 0).flatten(1, len(rest)), 1, modes).flatten(0, 1)

    z = _as_weights(z.flatten(2, -2), how.matrices)
    z = transpose(z, space, 1, site.points, 2)
    z = how.transforms[a].forward(z, 1)
    shape = z.shape[:-1]
    z = how.multiply(z.flatten(1, 2), select)
    z = z.reshape(*shape, z.shape[-1])  # not -1, which is ambiguous where there are no modes
    z = how.transforms[a].inverse(z, 1, size[a])
    z = transpose(z, space, 2, math.prod(rest), 1)
    z = z.reshape(*z.shape[:2], *rest, z.shape[-1]).movedim(1, a + 1)
    return _as_values(how.inverse(z, others, size), u, how)


def _by_partial_sums(site: NodeSite, how: ModeExpansion, u: Tensor, size: Size) -> Tensor:
    a, space, transform = site.axis, site.space, how.transforms[site.axis]
    others = [i for i in range(len(size)) if i != a]
    z = how.forward(u, others)
    z = apply(z, a + 1, transform.columns(site.points, space.own(site.points), z))
    z = reduce_scatter(_as_weights(z.flatten(1, -2), how.matrices), space, 1)
    count = math.prod(how.counts)
    modes = space.own(count)
    z = how.multiply(z, lambda x: narrow(x.flatten(0, len(size) - 1), 0, modes))
    z = all_gather(z, space, 1, count)
    z = z.reshape(z.shape[0], *how.counts, z.shape[-1])
    z = apply(z, a + 1, transform.rows(size[a], space.own(size[a]), z))
    return _as_values(how.inverse(z, others, size), u, how)


def convolve(site: NodeSite, how: ModeExpansion, u: Tensor, size: Size) -> Tensor:
    """Convolve by one expansion with the strategy of the plan."""
    assert site.rule.strategy is not None, "the planner chooses a strategy"
    return STRATEGIES[site.rule.strategy](site, how, u, size)


STRATEGIES: dict[str, Callable[[NodeSite, ModeExpansion, Tensor, Size], Tensor]] = {
    "transpose": _transposed,
    "partial_sums": _by_partial_sums,
}


def _as_weights(z: Tensor, weights: Tensor) -> Tensor:
    """Make coefficients complex where the weights are."""
    return torch.complex(z, torch.zeros_like(z)) if weights.is_complex() > z.is_complex() else z


def _as_values(v: Tensor, like: Tensor, how: ModeExpansion) -> Tensor:
    """Drop the imaginary part that only rounding makes."""
    return v.real if v.is_complex() and not like.is_complex() and how.half is None else v


# --- expansions of the layers --------------------------------------------------------------------


def _fourier(module: SpectralConv, u: Tensor, old: Size, size: Size) -> Iterator[ModeExpansion]:
    bands, last = module.bands(), len(size) - 1
    transforms = tuple(
        FourierAxis(band, half=module.real and i == last) for i, band in enumerate(bands)
    )
    R = module._matrices(u.dtype.to_real())  # noqa: SLF001  the weights of all modes
    counts = tuple(map(len, bands))
    phases = None
    if any(module.offsets) and size != old:
        phases = shift_phases(bands, module.offsets, old, size, u).reshape(counts)
    half = last if module.real else None
    yield ModeExpansion(
        transforms, half, R.reshape(*counts, *R.shape[1:]), module.separable, phases
    )


def _half_waves(module: BasisConv, u: Tensor, old: Size, size: Size) -> Iterator[ModeExpansion]:
    bands = module._bands(module.active_modes or module.modes)  # noqa: SLF001  of all axes
    counts = tuple(map(len, bands))
    half = module.circles[-1] if module.circles and module.real else None
    phases = _phases_of_circles(module, bands, u, old, size)
    for index, term in enumerate(module.terms):
        transforms = tuple(
            FourierAxis(band, half=i == half)
            if family == "fourier"
            else HalfWaveAxis(family, module.samplings[i], len(band))
            for i, (family, band) in enumerate(zip(term, bands, strict=True))
        )
        R = module.matrices(u.dtype.to_real(), index)
        yield ModeExpansion(
            transforms, half, R.reshape(*counts, *R.shape[1:]), module.separable, phases
        )


def _phases_of_circles(
    module: BasisConv, bands: Sequence[range], u: Tensor, old: Size, size: Size
) -> Tensor | None:
    """Return the factors by which the first points of periodic axes move with their number."""
    total = None
    for i in module.circles:
        first = offset(module.samplings[i])
        if first and size[i] != old[i]:
            phases = shift_phases((bands[i],), (first,), (old[i],), (size[i],), u)
            phases = phases.reshape([-1 if j == i else 1 for j in range(len(bands))])
            total = phases if total is None else total * phases
    return None if total is None else total.expand(*map(len, bands))


def fourier_expansion(module: SpectralConv, like: Tensor, size: Size) -> ModeExpansion:
    """Return the expansion of a layer between equal grids."""
    return next(_fourier(module, like, size, size))


def _by_expansions(
    expansions: Callable[..., Iterator[ModeExpansion]],
    site: NodeSite,
    module: nn.Module,
    u: Tensor,
    size: Size,
) -> Tensor:
    """Convolve by each expansion, and add the results up."""
    results = [convolve(site, x, u, size) for x in expansions(module, u, site.grids[0], size)]
    return sum(results[1:], results[0])


# --- the sphere ----------------------------------------------------------------------------------


def _on_sphere(site: NodeSite, module: SphericalConv, u: Tensor, size: Size) -> Tensor:
    """Convolve by spherical harmonics; each process has some latitudes."""
    run = _orders_apart if site.rule.strategy == "transpose" else _sums_of_latitudes
    z = run(site, module, longitude_rfft(u, module.orders), size)
    v: Tensor = torch.fft.irfft(z, n=size[1], dim=2, norm="forward")
    return v


def _orders_apart(site: NodeSite, module: SphericalConv, z: Tensor, size: Size) -> Tensor:
    """Sum over all latitudes for the own orders, (batch, latitudes, orders, c) both."""
    space, count = site.space, module.orders + 1
    orders = space.own(count)
    z = transpose(z, space, 1, site.points, 2)
    table = narrow(_tables(module, site.points, z)[0], 0, orders)
    z = contract_with_table("bjmc,mlj->blmc", z, table)
    R = narrow(_of_modes(module, z), 1, orders)
    shape = z.shape[:3]
    z = _multiply(z.flatten(1, 2), R.flatten(0, 1), module)
    z = z.reshape(*shape, z.shape[-1])
    table = narrow(_tables(module, size[0], z)[1], 0, orders)
    z = contract_with_table("blmc,mlj->bjmc", z, table)
    return transpose(z, space, 2, count, 1)


def _sums_of_latitudes(site: NodeSite, module: SphericalConv, z: Tensor, size: Size) -> Tensor:
    """Add up the coefficients of the own latitudes, (batch, latitudes, orders, c) both."""
    space = site.space
    table = narrow(_tables(module, site.points, z)[0], 2, space.own(site.points))
    z = contract_with_table("bjmc,mlj->blmc", z, table)
    shape = z.shape[1:3]
    z = reduce_scatter(z.flatten(1, 2), space, 1)
    modes = space.own(math.prod(shape))
    z = _multiply(z, narrow(_of_modes(module, z).flatten(0, 1), 0, modes), module)
    z = all_gather(z, space, 1, math.prod(shape))
    z = z.reshape(z.shape[0], *shape, z.shape[-1])
    table = narrow(_tables(module, size[0], z)[1], 2, space.own(size[0]))
    return contract_with_table("blmc,mlj->bjmc", z, table)


def _tables(module: SphericalConv, nlat: int, z: Tensor) -> tuple[Tensor, Tensor]:
    kind = module.sampling, module.lmax, module.orders, z.real.dtype, z.device
    return legendre_tables(nlat, *kind)


def _of_modes(module: SphericalConv, z: Tensor) -> Tensor:
    """Return R of each degree and order, views where they are equal, (l, m, in, out)."""
    R = module._matrices(z.real.dtype)  # noqa: SLF001  the weights of all modes
    if module.by == "degree":
        R = R[:, None]
    elif module.by == "all":
        R = R[None, None]
    return R.expand(module.lmax + 1, module.orders + 1, *R.shape[2:])


def _multiply(z: Tensor, R: Tensor, module: SphericalConv) -> Tensor:
    """Multiply (batch, modes, in) by a real or complex matrix of each mode."""
    R = R if R.is_complex() else R.to(z.dtype)
    return z * R if module.separable else torch.bmm(z.transpose(0, 1), R).transpose(0, 1)


CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    BasisConv: partial(_by_expansions, _half_waves),
    SpectralConv: partial(_by_expansions, _fourier),
    SphericalConv: _on_sphere,
}
