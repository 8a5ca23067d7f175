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

from opdsl.nn.fused import Passed, Returned, Sizes, filled_structure
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

    def forward(self, ctx: Any, x: Tensor, R: Tensor | None, shape: Sizes) -> Passed:  # noqa: ARG002  as every `Between`
        """(rows, 2 orders, in) -> (rows, 2 orders, out)."""
        kept = (self._gathered(x, shape, self._tables(x, shape)[0]),)
        return self.again(kept, R, shape), kept

    def again(self, kept: Sequence[Tensor], R: Tensor | None, shape: Sizes) -> Tensor:
        """What `forward` gave; it is little beside the work at each point."""
        assert R is not None
        back = self._tables(R, shape)[1]
        return self._spread(self._mixed(kept[0], _matrix_parts(R)), shape, back)

    def backward(
        self,
        ctx: Any,  # noqa: ARG002  as every `Between`
        g: Tensor,
        kept: Sequence[Tensor],
        R: Tensor | None,
        shape: Sizes,
    ) -> Returned:
        """The gradients of x and of R."""
        assert R is not None
        there, back = self._tables(g, shape)
        G = self._gathered(g, shape, back)
        gS = self._mixed(G, [x.mT.contiguous() for x in _conjugate_parts(_matrix_parts(R))])
        return self._spread(gS, shape, there), self._products(kept[0], G, R), ()

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """The whole convolution."""
        assert R is not None
        z = sht_dft(x, self.lmax, self.sampling, self.orders)
        nlat, nlon = x.shape[1:-1]
        return inverse_sht_dft(mixed_by_degree(z, R), (nlat, nlon), self.sampling)

    def _tables(self, like: Tensor, shape: Sizes) -> tuple[Tensor, Tensor]:
        return degree_tables(
            shape[1], self.sampling, self.lmax, self.orders, like.dtype, like.device
        )

    def _gathered(self, x: Tensor, shape: Sizes, table: Tensor) -> Tensor:
        """The sum over the latitudes with a table: (rows, 2 orders, c) -> a spectrum."""
        found = x.new_empty(shape[0], 2, self.lmax + 1, len(self.band), x.shape[-1])
        self._kernel("legendre_there", found, latitudes=shape[1], table=table, rows=x)
        return found

    def _spread(self, z: Tensor, shape: Sizes, table: Tensor) -> Tensor:
        """The sum over the degrees: a spectrum -> (rows, 2 orders, c)."""
        found = z.new_empty(shape[0] * shape[1], 2 * len(self.band), z.shape[-1])
        self._kernel("legendre_back", z, latitudes=shape[1], table=table, rows=found)
        return found

    def _mixed(self, z: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """Each degree by its matrix."""
        found = z.new_empty(*z.shape[:-1], parts[0].shape[-1])
        named = dict(zip(("re", "im"), parts, strict=False))
        self._kernel("mix_degrees", z, o=found.shape[-1], mixed=found, **named)
        return found

    def _products(self, z: Tensor, g: Tensor, R: Tensor) -> Tensor:
        """The gradient of R."""
        found = [torch.empty_like(x) for x in _matrix_parts(R)]
        named = dict(zip(("gre", "gim"), found, strict=False))
        self._kernel("mix_degrees_backward", z, o=g.shape[-1], mixed=g, **named)
        return torch.stack(found, -1) if len(found) > 1 else found[0]

    def _kernel(self, name: str, spectrum: Tensor, **more: Tensor | int) -> None:
        batch, _, degrees, orders, c = spectrum.shape
        numbers = {"batch": batch, "degrees": degrees, "orders": orders, "c": c}
        numbers |= {"threads": torch.get_num_threads()}
        numbers |= {k: x for k, x in more.items() if isinstance(x, int)}
        tensors = {k: x for k, x in more.items() if isinstance(x, Tensor)}
        made = filled_structure(_Degrees(), numbers, tensors | {"spectrum": spectrum})
        getattr(library(), name)(ctypes.byref(made))


def _matrix_parts(R: Tensor) -> list[Tensor]:
    """The real matrices, and the imaginary ones if there are."""
    return [R] if R.ndim == 3 else [x.contiguous() for x in R.unbind(-1)]


def _conjugate_parts(parts: list[Tensor]) -> list[Tensor]:
    return [parts[0], *(-x for x in parts[1:])]
