"""Degrees of a sphere: longitudes, latitudes, R, and back, by kernels, a sample at a time.

What comes in and goes out: one layer as a `Call`. What is kept for the way back: the spectrum
(batch, 2, degrees, orders, in) of what came in, real parts first. Only coefficients with order <=
degree are computed; the others are never read.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.kernels.fourier_layer import LayerCall, LayerGradients, fill_structure
from opdsl.nn.sphere.harmonics import inverse_sht_dft, legendre_tables, multiply_by_degree, sht_dft

Pointer = ctypes.c_void_p
PARTS = "re", "im"  # of R


class _Degrees(ctypes.Structure):
    """`struct Degrees` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("batch", "latitudes", "degrees", "orders", "threads")),
        *((x, Pointer) for x in ("there", "back", "re", "im", "adjoint_re", "adjoint_im")),
        *((x, Pointer) for x in ("spectrum", "gre", "gim")),
    ]


@dataclass(frozen=True, slots=True)
class SphereDegrees:
    """A `Between` of the degrees to `lmax`, each with a matrix of its own.

    R is (degrees, in, out), real, or pairs (degrees, in, out, 2).
    """

    lmax: int
    orders: int
    sampling: str
    weights: tuple[Tensor, ...] = ()

    @property
    def band(self) -> range:
        """The orders."""
        return range(self.orders + 1)

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ARG002  as every `Between`
        """Coefficients, R, and back, a sample at a time."""
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
        """The same from behind; what R made of the coefficients is computed again."""
        tensors = self._tensors(call, *kept)
        found = {f"g{k}": torch.zeros_like(tensors[k]) for k in PARTS if k in tensors}
        gu, others = call.backward(
            "layer_sphere_backward", g, self._structure(call, tensors | found)
        )
        gR = torch.stack(list(found.values()), -1) if len(found) > 1 else found["gre"]
        return LayerGradients(gu, gR, others)

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """The whole convolution."""
        assert R is not None
        z = sht_dft(x, self.lmax, self.sampling, self.orders)
        nlat, nlon = x.shape[1:-1]
        return inverse_sht_dft(multiply_by_degree(z, R), (nlat, nlon), self.sampling)

    def _tensors(self, call: LayerCall, S: Tensor) -> dict[str, Tensor]:
        """What the kernels read, and S, by the names there."""
        R, u = call.w.R, call.u
        assert R is not None
        tables = legendre_tables(
            call.shape[1], self.sampling, self.lmax, self.orders, u.dtype, u.device
        )
        parts = [R] if R.ndim == 3 else [x.contiguous() for x in R.unbind(-1)]
        adjoint = [x.mT.contiguous() for x in (parts[0], *(-x for x in parts[1:]))]
        named = dict(zip(PARTS, parts, strict=False))
        named |= {f"adjoint_{k}": x for k, x in zip(PARTS, adjoint, strict=False)}
        return named | {"spectrum": S, "there": tables[0], "back": tables[1]}

    def _structure(self, call: LayerCall, tensors: dict[str, Tensor]) -> ctypes.Structure:
        numbers = {
            "batch": call.shape[0],
            "latitudes": call.shape[1],
            "degrees": self.lmax + 1,
            "orders": len(self.band),
            "threads": torch.get_num_threads(),
        }
        return fill_structure(_Degrees(), numbers, tensors)
