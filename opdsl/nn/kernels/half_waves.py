"""The stage of a fused layer with half-waves on all axes: real modes, one or two terms, R.

A term has a family of half-waves for each axis, see `opdsl.bases`. Modes are
(batch, terms * modes, channels), the axes of a term in order. Saved for the backward pass: the
modes before and behind R.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from opdsl.bases import Family, Term
from opdsl.nn.kernels.fourier_layer import (
    LayerCall,
    LayerGradients,
    Pointer,
    RowTransform,
    empty_large,
    fill_structure,
)
from opdsl.nn.kernels.modes import Planes
from opdsl.nn.kernels.native.library import library
from opdsl.nn.shapes import Size
from opdsl.nn.spectral.half_waves.transforms import analysis, synthesis
from opdsl.nn.spectral.transforms import apply_along_axes
from opdsl.sampling import GridSampling

# where the first function of a family has the same value at mirrored points, the second the
# opposite, and so on
MIRRORED_FAMILIES = frozenset({"sine", "cosine"})
MIRRORED_SAMPLINGS = frozenset({"both", "interior", "centres"})


class _Mixing(ctypes.Structure):
    """`struct Mixing` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("batch", "modes", "c", "o", "threads")),
        *((x, Pointer) for x in ("R", "S", "g", "y", "gS", "gR")),
    ]


@dataclass(frozen=True, slots=True)
class HalfWaveModes:
    """A `SpectralStage` with half-waves on all axes; R is (terms * modes, in, out), real.

    Attributes:
        terms: families of each axis, for each term.
        counts: functions of each axis.
        samplings: where the points of each axis are.
    """

    terms: tuple[Term, ...]
    counts: Size
    samplings: tuple[GridSampling, ...]
    weights: tuple[Tensor, ...] = ()

    def rows(self, width: int, like: Tensor) -> RowTransform:
        """See `SpectralStage`."""
        cut, grow = self._tables(-1, width, like)
        count = self.counts[-1]
        return RowTransform(
            cut.flatten(0, 1), grow.flatten(0, 1).T.contiguous(), count, self._mirrored(-1)
        )

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:  # noqa: ARG002  as every `SpectralStage`
        """See `SpectralStage`."""
        z = self._empty(call, call.c)
        call.kernel("cut_planes", self._planes(call, modes=z))
        S, R = self._gathered(z, call, 0), call.w.R
        assert R is not None
        products = S.new_empty(*S.shape[:2], call.o)
        _mix("mix_modes", S, call, R=R, S=S, y=products)
        z_hat = self._spread(products, call, 1)
        return call.forward("layer_planes", self._planes(call, modes=z_hat)), (S, z_hat)

    def backward(
        self,
        ctx: Any,  # noqa: ARG002  as every `SpectralStage`
        call: LayerCall,
        g: Tensor,
        kept: Sequence[Tensor],
    ) -> LayerGradients:
        """See `SpectralStage`."""
        S, z_hat = kept
        g_hat, R = torch.empty_like(z_hat), call.w.R
        assert R is not None
        planes = self._planes(call, modes=z_hat, gradient=g_hat)
        gu, gradients = call.backward("layer_planes_backward", g, planes)
        G = self._gathered(g_hat, call, 1)
        gS, gR = empty_large(S, *S.shape), empty_large(R, *R.shape)
        _mix("mix_modes_backward", S, call, R=R, S=S, g=G, gS=gS, gR=gR)
        gx = self._spread(gS, call, 0)
        call.kernel("cut_planes_backward", self._planes(call, modes=gx), y=gu)
        return LayerGradients(gu, gR, gradients)

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """See `SpectralStage`."""
        assert R is not None
        grid, axes = x.shape[1:-1], range(len(self.counts))
        tables = [self._tables(i, n, x) for i, n in zip(axes, grid, strict=True)]
        terms = range(len(self.terms))
        parts = [apply_along_axes(x, [table[0][t] for table in tables]) for t in terms]
        S = torch.cat([z.flatten(1, -2) for z in parts], 1)
        y = torch.bmm(S.transpose(0, 1), R).transpose(0, 1)
        results = [
            apply_along_axes(z.reshape(len(x), *self.counts, -1), [w[1][t].T for w in tables])
            for t, z in zip(terms, y.chunk(len(terms), 1), strict=True)
        ]
        return sum(results[1:], results[0])

    def _tables(self, axis: int, n: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return F and the transpose of F^-1 of one axis, (terms, functions, n)."""
        families = tuple(term[axis] for term in self.terms)
        sampling, count = self.samplings[axis], self.counts[axis]
        return _stacked(families, sampling, n, count, like.dtype, like.device)

    def _mirrored(self, axis: int) -> bool:
        families = {term[axis] for term in self.terms}
        return families <= MIRRORED_FAMILIES and self.samplings[axis] in MIRRORED_SAMPLINGS

    def _planes(self, call: LayerCall, **modes: Tensor) -> Planes:
        """Fill `struct Planes` with the sizes and tables of the axis before the last, if any."""
        result, numbers, tables = Planes(), {"planes": 1, "threads": torch.get_num_threads()}, {}
        if len(self.counts) > 1:
            n, count = call.shape[-2], self.counts[-2]
            numbers |= {"planes": call.rows // n, "n": n, "high": count}
            numbers |= {"terms": len(self.terms), "mirrored": self._mirrored(-2)}
            tables = dict(zip(("cut", "grow"), self._tables(-2, n, call.u), strict=True))
        fill_structure(result, numbers, tables | modes)
        return result

    def _empty(self, call: LayerCall, channels: int) -> Tensor:
        """Allocate the coefficients of the last two axes, (planes, terms * modes, channels)."""
        folded = call.shape[-2:-1] if len(self.counts) > 1 else ()
        modes = len(self.terms) * math.prod(self.counts[-2:])
        return call.u.new_empty(call.rows // math.prod(folded), modes, channels)

    def _gathered(self, z: Tensor, call: LayerCall, which: int) -> Tensor:
        """Multiply by F (0) or the transpose of F^-1 (1) on the other axes.

        (planes, terms * modes of the last two axes, channels) -> (batch, terms * modes, channels)
        """
        lead, terms, channels = len(z), len(self.terms), z.shape[-1]
        for axis in reversed(range(len(self.counts) - 2)):
            n = call.shape[axis + 1]
            table, lead = self._tables(axis, n, z)[which], lead // n
            z = z.reshape(lead, n, terms, -1)
            z = torch.stack([torch.matmul(table[t], z[:, :, t]) for t in range(terms)], 1)
        return z.reshape(call.shape[0], -1, channels)

    def _spread(self, z: Tensor, call: LayerCall, which: int) -> Tensor:
        """Multiply by the transposes of `_gathered`, back to the planes of the last two axes."""
        lead, terms, channels = call.shape[0], len(self.terms), z.shape[-1]
        for axis in range(len(self.counts) - 2):
            n, count = call.shape[axis + 1], self.counts[axis]
            table = self._tables(axis, n, z)[which]
            z = z.reshape(lead, terms, count, -1)
            z = torch.stack([torch.matmul(table[t].T, z[:, t]) for t in range(terms)], 2)
            lead *= n
        return z.reshape(lead, -1, channels)


def _mix(name: str, like: Tensor, call: LayerCall, **tensors: Tensor) -> None:
    numbers = {"batch": like.shape[0], "modes": like.shape[1], "c": call.c, "o": call.o}
    numbers |= {"threads": torch.get_num_threads()}
    getattr(library(), name)(ctypes.byref(fill_structure(_Mixing(), numbers, tensors)))


@lru_cache(maxsize=256)
def _stacked(
    families: tuple[Family, ...],
    sampling: GridSampling,
    n: int,
    count: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Stack F and the transpose of F^-1 of families, each (families, functions, n)."""
    with torch.inference_mode(mode=False):  # training could not use an inference tensor
        like = torch.empty(0, dtype=dtype, device=device)
        cut = [analysis(x, sampling, n, count, like) for x in families]
        grow = [synthesis(x, sampling, n, count, like).T for x in families]
        return torch.stack(cut), torch.stack(grow)
