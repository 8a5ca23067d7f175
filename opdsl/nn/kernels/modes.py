"""The grid stage of a fused Fourier layer: the last two axes by kernels, others and R by torch.

Coefficients of the last two axes are (planes, 2 k' k, channels), real parts first; of a function on
one axis they form one plane. All modes are stored doubled, (modes, 2 batch, channels): first the
real parts of all samples, then the imaginary ones. Saved for the backward pass: the modes before
and behind R.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.kernels.fourier_layer import (
    LayerCall,
    LayerGradients,
    RowTransform,
    fill_structure,
    fourier_rows,
)
from opdsl.nn.recomputation import is_recomputed
from opdsl.nn.spectral.transforms import (
    batched_left_matmul,
    dft_matrix,
    inverse_truncated_dft,
    truncated_dft,
)
from opdsl.spectrum import Bands


class Planes(ctypes.Structure):
    """`struct Planes` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("planes", "n", "low", "high")),
        *((x, ctypes.c_int64) for x in ("terms", "mirrored", "threads")),
        *((x, ctypes.c_void_p) for x in ("cut", "grow", "modes", "gradient")),
    ]


@dataclass(frozen=True, slots=True)
class ModeMixing:
    """Product of the modes with R, where R is no plain tensor.

    Attributes:
        mix: complex (batch, modes, in) -> complex (batch, modes, out), by torch's operations.
        weights: tensors that it depends on.
        parts: the product for real (batch, 2, modes, in), where that is faster.
    """

    mix: Callable[[Tensor], Tensor]
    weights: tuple[Tensor, ...]
    parts: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Mix the modes, by parts: (batch, 2, modes, in) -> (batch, 2, modes, out)."""
        if self.parts is not None:
            return self.parts(x)
        return _complex_parts(self.mix(torch.complex(x[:, 0], x[:, 1])))


@dataclass(frozen=True, slots=True)
class GridModes:
    """A `SpectralStage` with the modes in `bands`; a `mixing` replaces R."""

    bands: Bands
    mixing: ModeMixing | None = None

    def rows(self, width: int, like: Tensor) -> RowTransform:
        """See `SpectralStage`."""
        return fourier_rows(width, self.bands[-1], like)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Weights of the mixing; none if R is a plain tensor."""
        return () if self.mixing is None else self.mixing.weights

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `SpectralStage`."""
        shape, R = call.shape, call.w.R
        z = self._empty(call, call.c)
        call.kernel("cut_planes", self._planes(call, modes=z))
        x_hat = self._gathered(z, shape)
        S = _to_modes(x_hat) if R is not None else x_hat
        products = _multiply_modes(S, R) if R is not None else _mix_once(ctx, self.mixing, S)
        z_hat = self._grown(products, shape)
        return call.forward("layer_planes", self._planes(call, modes=z_hat)), (S, z_hat)

    def backward(
        self, ctx: Any, call: LayerCall, g: Tensor, kept: Sequence[Tensor]
    ) -> LayerGradients:
        """See `SpectralStage`."""
        S, z_hat = kept
        g_hat = torch.empty_like(z_hat)
        planes = self._planes(call, modes=z_hat, gradient=g_hat)
        gu, gradients = call.backward("layer_planes_backward", g, planes)
        gS, gR, own = self._mixed_back(ctx, S, self._gathered_adjoint(g_hat, call.shape), call.w.R)
        gx = self._spread_adjoint(gS, call.shape)
        call.kernel("cut_planes_backward", self._planes(call, modes=gx), y=gu)
        return LayerGradients(gu, gR, gradients, own)

    def _planes(self, call: LayerCall, **modes: Tensor) -> Planes:
        """Fill `struct Planes` with the sizes and tables of the axis before the last, if any."""
        result, numbers, tables = Planes(), {"planes": 1, "threads": torch.get_num_threads()}, {}
        if len(self.bands) > 1:
            n, band = call.shape[-2], self.bands[-2]
            numbers |= {"planes": call.rows // n, "n": n, "low": -band.start, "high": band.stop}
            tables = {x: dft_matrix(f"{x}_across", n, band, call.u) for x in ("cut", "grow")}
        fill_structure(result, numbers, tables | modes)
        return result

    def _empty(self, call: LayerCall, channels: int) -> Tensor:
        """Allocate the coefficients of the last two axes, (planes, 2 k' k, channels)."""
        folded = call.shape[-2:-1] if len(self.bands) > 1 else ()
        sizes = [len(x) for x in self.bands[-2:]]
        return call.u.new_empty(call.rows // math.prod(folded), 2 * math.prod(sizes), channels)

    def _mixed_back(
        self, ctx: Any, S: Tensor, G: Tensor, R: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Sequence[Tensor | None]]:
        """Return the gradients of the modes, of R and of the mixing's weights."""
        if R is None:
            gS, own = _mix_backward(ctx, self.mixing, S, G)
            return gS, None, own
        T = _real_imag_blocks(G)
        gS = _to_samples(torch.bmm(T, R.transpose(1, 2)))
        return gS, torch.bmm(S.transpose(1, 2), T), ()

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """See `SpectralStage`."""
        x_hat = truncated_dft(x, self.bands)
        mix = _dense_mix(R) if self.mixing is None else self.mixing.mix
        z_hat = mix(x_hat.flatten(1, -2)).reshape(*x_hat.shape[:-1], -1)
        return inverse_truncated_dft(z_hat, self.bands, tuple(x.shape[1:-1]), real=True)

    def _full(self, shape: Sequence[int]) -> list[tuple[int, range]]:
        """Return points and frequencies of all axes but the last two."""
        return list(zip(shape[1:-2], self.bands[:-2], strict=True))

    def _gathered(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        """Apply F on the other axes: (planes, 2 k, in) -> (batch, 2, modes, in)."""
        lead, channels = len(z), z.shape[-1]
        for n, band in reversed(self._full(shape)):
            lead //= n
            z = batched_left_matmul(dft_matrix("cut_full", n, band, z), z.reshape(lead, 2 * n, -1))
        return z.reshape(shape[0], 2, -1, channels)

    def _grown(self, z: Tensor, shape: Sequence[int]) -> Tensor:
        """Apply F^-1 on the other axes: (batch, 2, modes, out) -> (planes, 2 k, out)."""
        lead, channels = shape[0], z.shape[-1]
        for n, band in self._full(shape):
            z = batched_left_matmul(
                dft_matrix("grow_full", n, band, z), z.reshape(lead, 2 * len(band), -1)
            )
            lead *= n
        return z.reshape(lead, -1, channels)

    def _gathered_adjoint(self, g: Tensor, shape: Sequence[int]) -> Tensor:
        """Apply the adjoint of `_grown`: (planes, 2 k, out) -> (batch, 2, modes, out)."""
        lead, channels = len(g), g.shape[-1]
        for n, band in reversed(self._full(shape)):
            lead //= n
            g = batched_left_matmul(
                dft_matrix("grow_full", n, band, g).T, g.reshape(lead, 2 * n, -1)
            )
        return g.reshape(shape[0], 2, -1, channels)

    def _spread_adjoint(self, g: Tensor, shape: Sequence[int]) -> Tensor:
        """Apply the adjoint of `_gathered`: (batch, 2, modes, in) -> (planes, 2 k, in)."""
        lead, channels = shape[0], g.shape[-1]
        for n, band in self._full(shape):
            g = batched_left_matmul(
                dft_matrix("cut_full", n, band, g).T, g.reshape(lead, 2 * len(band), -1)
            )
            lead *= n
        return g.reshape(lead, -1, channels)


def _dense_mix(R: Tensor | None) -> Callable[[Tensor], Tensor]:
    assert R is not None
    matrices = torch.view_as_complex(R.reshape(*R.shape[:-1], -1, 2))
    return lambda x_hat: torch.bmm(x_hat.transpose(0, 1), matrices).transpose(0, 1)


def _to_modes(z: Tensor) -> Tensor:
    """Double the parts of modes: (batch, 2, modes, c) -> (modes, 2 batch, c)."""
    batch, _, modes, c = z.shape
    return z.permute(2, 1, 0, 3).reshape(modes, 2 * batch, c)


def _to_samples(S: Tensor) -> Tensor:
    """Undo `_to_modes`: doubled (modes, 2 batch, c) -> (batch, 2, modes, c)."""
    modes, rows, c = S.shape
    return S.reshape(modes, 2, rows // 2, c).permute(2, 1, 0, 3).contiguous()


def _complex_parts(z: Tensor) -> Tensor:
    """Split complex modes (batch, modes, c) into parts (batch, 2, modes, c)."""
    return torch.stack((z.real, z.imag), 1)


def _mix_once(ctx: Any, mixing: ModeMixing | None, x_hat: Tensor) -> Tensor:
    """Mix the modes, and record the operations if the backward pass will need them."""
    assert mixing is not None
    records = any(ctx.needs_input_grad) and not is_recomputed()
    ctx.mixed = _mix_recorded(mixing, x_hat) if records else None
    return mixing(x_hat) if ctx.mixed is None else ctx.mixed[1].detach()


def _mix_recorded(mixing: ModeMixing, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x_hat.detach().requires_grad_()
        return x, mixing(x)


def _mix_backward(
    ctx: Any, mixing: ModeMixing | None, x_hat: Tensor, g: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the gradients of the argument of a mixing and of its weights."""
    assert mixing is not None
    x, y = ctx.mixed or _mix_recorded(mixing, x_hat)
    ctx.mixed = None  # free the graph; a second backward pass records it again
    weights = mixing.weights
    trainable = [w for w in weights if w.requires_grad]
    gx, *gradients = torch.autograd.grad(y, [x, *trainable], g, allow_unused=True)
    result = iter(gradients)
    return gx, [next(result) if w.requires_grad else None for w in weights]


def _multiply_modes(S: Tensor, R: Tensor) -> Tensor:
    """Multiply doubled modes by R to (batch, 2, modes, out): one real product, then two sums."""
    modes, rows, _ = S.shape
    P = torch.bmm(S, R).reshape(modes, 2, rows // 2, -1, 2)
    y = S.new_empty(rows // 2, 2, modes, P.shape[-2])
    torch.sub(P[:, 0, ..., 0], P[:, 1, ..., 1], out=y[:, 0].transpose(0, 1))
    torch.add(P[:, 0, ..., 1], P[:, 1, ..., 0], out=y[:, 1].transpose(0, 1))
    return y


def _real_imag_blocks(g: Tensor) -> Tensor:
    """Build (modes, 2 batch, 2 out) from (batch, 2, modes, out): rows (re, im), then (im, -re)."""
    batch, _, modes, out = g.shape
    T = g.new_empty(modes, 2, batch, out, 2)
    re, im = (x.transpose(0, 1) for x in g.unbind(1))
    T[:, 0, ..., 0], T[:, 0, ..., 1] = re, im
    T[:, 1, ..., 0] = im
    torch.neg(re, out=T[:, 1, ..., 1])
    return T.reshape(modes, 2 * batch, 2 * out)
