"""The spherical stage of a fused Fourier layer: harmonics, R, and back, one sample at a time.

Saved for the backward pass: the spectrum (batch, 2, degrees, orders, in), real parts first. Only
coefficients with order <= degree are computed; the others are never read.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.kernels.fourier_layer import (
    LayerCall,
    LayerGradients,
    Pointer,
    RowTransform,
    fill_structure,
    fourier_rows,
)
from opdsl.nn.sphere.harmonics import inverse_sht_dft, legendre_tables, multiply_by_degree, sht_dft

PARTS = "re", "im"  # names of the parts of R in `struct Degrees`


class _Degrees(ctypes.Structure):
    """`struct Degrees` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("batch", "latitudes", "degrees", "orders", "threads")),
        *((x, Pointer) for x in ("there", "back", "re", "im", "adjoint_re", "adjoint_im")),
        *((x, Pointer) for x in ("spectrum", "gre", "gim")),
    ]


@dataclass(frozen=True, slots=True)
class SphereDegrees:
    """A `SpectralStage` with a matrix for each degree up to `lmax`.

    R is (degrees, in, out), real, or pairs (degrees, in, out, 2).
    """

    lmax: int
    orders: int
    sampling: str
    weights: tuple[Tensor, ...] = ()

    @property
    def band(self) -> range:
        """Orders m of the harmonics, 0 to the greatest."""
        return range(self.orders + 1)

    def rows(self, width: int, like: Tensor) -> RowTransform:
        """See `SpectralStage`; the frequencies of the last axis are the orders."""
        return fourier_rows(width, self.band, like)

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ARG002  as every `SpectralStage`
        """See `SpectralStage`."""
        S = call.u.new_empty(call.shape[0], 2, self.lmax + 1, len(self.band), call.c)
        tensors = self._tensors(call, S)
        return call.forward("layer_sphere", self._structure(call, tensors)), (S,)

    def backward(
        self,
        ctx: Any,  # noqa: ARG002  as every `SpectralStage`
        call: LayerCall,
        g: Tensor,
        kept: Sequence[Tensor],
    ) -> LayerGradients:
        """See `SpectralStage`; the products with R are computed again."""
        tensors = self._tensors(call, *kept)
        result = {f"g{k}": torch.zeros_like(tensors[k]) for k in PARTS if k in tensors}
        gu, gradients = call.backward(
            "layer_sphere_backward", g, self._structure(call, tensors | result)
        )
        gR = torch.stack(list(result.values()), -1) if len(result) > 1 else result["gre"]
        return LayerGradients(gu, gR, gradients)

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """See `SpectralStage`."""
        assert R is not None
        z = sht_dft(x, self.lmax, self.sampling, self.orders)
        nlat, nlon = x.shape[1:-1]
        return inverse_sht_dft(multiply_by_degree(z, R), (nlat, nlon), self.sampling)

    def _tensors(self, call: LayerCall, S: Tensor) -> dict[str, Tensor]:
        """Collect the arrays of the kernels by their names in `struct Degrees`."""
        R, u = call.w.R, call.u
        assert R is not None
        tables = legendre_tables(
            call.shape[1], self.sampling, self.lmax, self.orders, u.dtype, u.device
        )
        parts = [R] if R.ndim == 3 else [x.contiguous() for x in R.unbind(-1)]
        adjoint = [x.mT.contiguous() for x in (parts[0], *(-x for x in parts[1:]))]
        arrays = dict(zip(PARTS, parts, strict=False))
        arrays |= {f"adjoint_{k}": x for k, x in zip(PARTS, adjoint, strict=False)}
        return arrays | {"spectrum": S, "there": tables[0], "back": tables[1]}

    def _structure(self, call: LayerCall, tensors: dict[str, Tensor]) -> ctypes.Structure:
        numbers = {
            "batch": call.shape[0],
            "latitudes": call.shape[1],
            "degrees": self.lmax + 1,
            "orders": len(self.band),
            "threads": torch.get_num_threads(),
        }
        return fill_structure(_Degrees(), numbers, tensors)
