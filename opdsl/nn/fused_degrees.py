"""Degrees of a sphere between the rows of its longitudes: latitudes, R, and back, by kernels.

What comes in and goes out: coefficients of the longitudes, (rows, 2 orders, channels), real parts
first, float32. What is kept for the way back: the spectrum (batch, 2, degrees, orders, in) of what
came in. Only coefficients with order <= degree are computed; the others are never read.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.fused import Call, Gradients, filled_structure
from opdsl.nn.harmonics import degree_tables, inverse_sht_dft, mixed_by_degree, sht_dft
from opdsl.nn.native.library import library

Pointer = ctypes.c_void_p


class _Degrees(ctypes.Structure):
    """`struct Degrees` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("batch", "latitudes", "degrees", "orders", "c", "o")),
        ("threads", ctypes.c_int64),
        *((x, Pointer) for x in ("table", "rows", "spectrum", "re", "im", "mixed", "gre", "gim")),
    ]


@dataclass(frozen=True, slots=True)
class Degrees:
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

    def forward(self, ctx: Any, call: Call) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ARG002  as every `Between`
        """Coefficients, R, and back, a sample at a time."""
        there, back = self._tables(call)
        S = self._empty(call, call.c)
        call.kernel("cut_sphere", self._structure(S, call, table=there))
        mixed = self._mixed(S, call, _matrix_parts(call))
        return call.forward("layer_sphere", self._structure(mixed, call, table=back)), (S,)

    def backward(self, ctx: Any, call: Call, g: Tensor, kept: Sequence[Tensor]) -> Gradients:  # noqa: ARG002  as every `Between`
        """The same from behind; what R made of the coefficients is computed again."""
        there, back = self._tables(call)
        parts, G = _matrix_parts(call), self._empty(call, call.o)
        mixed = self._mixed(kept[0], call, parts)
        ways = self._structure(mixed, call, table=back, mixed=G)
        gu, others = call.backward("layer_sphere_backward", g, ways)
        gS = self._mixed(G, call, [x.mT.contiguous() for x in _conjugate_parts(parts)])
        call.kernel("cut_sphere_backward", self._structure(gS, call, table=there), y=gu)
        return Gradients(gu, self._products(kept[0], G, call, parts), others)

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """The whole convolution."""
        assert R is not None
        z = sht_dft(x, self.lmax, self.sampling, self.orders)
        nlat, nlon = x.shape[1:-1]
        return inverse_sht_dft(mixed_by_degree(z, R), (nlat, nlon), self.sampling)

    def _tables(self, call: Call) -> tuple[Tensor, Tensor]:
        u, latitudes = call.u, call.shape[1]
        return degree_tables(latitudes, self.sampling, self.lmax, self.orders, u.dtype, u.device)

    def _empty(self, call: Call, channels: int) -> Tensor:
        return call.u.new_empty(call.shape[0], 2, self.lmax + 1, len(self.band), channels)

    def _mixed(self, z: Tensor, call: Call, parts: Sequence[Tensor]) -> Tensor:
        """Each degree by its matrix."""
        found = self._empty(call, parts[0].shape[-1])
        named = dict(zip(("re", "im"), parts, strict=False))
        self._kernel("mix_degrees", self._structure(z, call, found, mixed=found, **named))
        return found

    def _products(self, z: Tensor, g: Tensor, call: Call, parts: Sequence[Tensor]) -> Tensor:
        """The gradient of R."""
        found = [torch.empty_like(x) for x in parts]
        named = dict(zip(("gre", "gim"), found, strict=False))
        self._kernel("mix_degrees_backward", self._structure(z, call, g, mixed=g, **named))
        return torch.stack(found, -1) if len(found) > 1 else found[0]

    def _kernel(self, name: str, degrees: _Degrees) -> None:
        getattr(library(), name)(ctypes.byref(degrees))

    def _structure(
        self, z: Tensor, call: Call, out: Tensor | None = None, **more: Tensor
    ) -> _Degrees:
        batch, _, degrees, orders, c = z.shape
        numbers = {"batch": batch, "degrees": degrees, "orders": orders, "c": c}
        numbers |= {"latitudes": call.shape[1], "threads": torch.get_num_threads()}
        numbers |= {"o": c if out is None else out.shape[-1]}
        made = _Degrees()
        filled_structure(made, numbers, more | {"spectrum": z})
        return made


def _matrix_parts(call: Call) -> list[Tensor]:
    """The real matrices, and the imaginary ones if there are."""
    R = call.w.R
    assert R is not None
    return [R] if R.ndim == 3 else [x.contiguous() for x in R.unbind(-1)]


def _conjugate_parts(parts: list[Tensor]) -> list[Tensor]:
    return [parts[0], *(-x for x in parts[1:])]
