"""A Tucker weight applied to a spectrum factor by factor, in real matrix products.

Spectra are stored by parts, (batch, 2, modes, channels), real parts first. The matrix of mode k is
A S_k B^T. Complex products would cost copies of conjugates in the backward pass and a call for each
mode; here (re, im) of a matrix are the two halves of one real matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.spectral.transforms import batched_left_matmul, complex_as_real_matrix


def rank_space_product(x: Tensor, A: Tensor, S: Tensor, B: Tensor) -> Tensor:
    """Compute x_k A S_k B^T: (batch, 2, modes, in) -> (batch, 2, modes, out).

    Args:
        x: the spectrum.
        A: (in, r, 2), pairs (re, im).
        S: (modes, 2, r, q), by parts.
        B: (out, q, 2), pairs.
    """
    left, right = A.permute(0, 2, 1).flatten(1), B.permute(1, 2, 0).flatten(1)
    y: Tensor = RankSpaceProduct.apply(x, left, S, right)  # type: ignore[no-untyped-call]  # torch's own
    return y


def core_matrices(core: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """Multiply all axes of the core but the first two by their factors: (modes, 2, r, q), by parts.

    Args:
        core: (r, q, *ranks, 2), pairs.
        factors: (frequencies, rank, 2), pairs, for each further axis.
    """
    r, q, *ranks, _ = core.shape
    result, lead = core.permute(-1, *range(2, core.ndim - 1), 0, 1).contiguous(), 1
    for factor, rank in zip(factors, ranks, strict=True):
        matrix = complex_as_real_matrix(factor[..., 0], factor[..., 1])
        result = batched_left_matmul(matrix, result.reshape(lead, 2 * rank, -1))
        lead *= len(factor)
    return result.reshape(lead, 2, r, q)


class RankSpaceProduct(torch.autograd.Function):
    """Autograd function of `rank_space_product`; matrices have (re, im) as their two halves.

    With P = (wr; wi) (Mr, Mi) the product w M is (P_rr - P_ii, P_ri + P_ir). With T = ((gr, gi);
    (gi, -gr)) the gradients are T (Mr, Mi)^T of w and w^T T of (Mr, Mi).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, left: Tensor, small: Tensor, right: Tensor) -> Tensor:
        """Multiply all modes by `left`, each by its matrix of `small`, all by `right`."""
        batch, _, modes, _ = x.shape
        v = _combine_parts_by_mode(x @ left)
        ctx.dims = (batch, modes)
        pairs = (torch.bmm(v.flatten(1, 2), m) for m in small.unbind(1))
        re, im = (x.reshape(modes, 2, batch, -1) for x in pairs)
        # results are written through transposed views, which avoids copies that swap axes
        w = v.new_empty(batch, 2, modes, re.shape[-1])
        torch.sub(re[:, 0], im[:, 1], out=w[:, 0].transpose(0, 1))
        torch.add(im[:, 0], re[:, 1], out=w[:, 1].transpose(0, 1))
        ctx.save_for_backward(x, v, w, left, small, right)
        P = (w @ right).reshape(batch, 2, modes, 2, -1)
        y = P.new_empty(batch, 2, modes, P.shape[-1])
        torch.sub(P[:, 0, :, 0], P[:, 1, :, 1], out=y[:, 0])
        torch.add(P[:, 0, :, 1], P[:, 1, :, 0], out=y[:, 1])
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        """Compute the gradients of the spectrum and of the three matrices."""
        x, v, w, left, small, right = ctx.saved_tensors
        batch, modes = ctx.dims
        T = _real_imag_blocks(g)
        g_right = w.flatten(0, 2).T @ T.flatten(0, 2)
        gw = (T @ right.T).permute(2, 1, 0, 3)  # (modes, 2, batch, q)
        both = gw.contiguous().flatten(1, 2), torch.cat((gw[:, 1], -gw[:, 0]), 1)
        g_small = torch.stack([torch.bmm(v.flatten(1, 2).transpose(1, 2), t) for t in both], 1)
        gv = torch.bmm(both[0], small[:, 0].transpose(1, 2))
        gv.baddbmm_(both[1], small[:, 1].transpose(1, 2))
        gv = gv.reshape(modes, 2, batch, -1).permute(2, 1, 0, 3)
        T = _real_imag_blocks(gv)
        g_left = x.flatten(0, 2).T @ T.flatten(0, 2)
        return T @ left.T, g_left, g_small, g_right


def _real_imag_blocks(g: Tensor) -> Tensor:
    """Build T of the class docstring, (batch, 2, modes, 2 c)."""
    re, im = g.unbind(1)
    T = g.new_empty(*g.shape[:3], 2, g.shape[-1])
    T[:, 0, :, 0], T[:, 0, :, 1], T[:, 1, :, 0] = re, im, im
    torch.neg(re, out=T[:, 1, :, 1])
    return T.flatten(3)


def _combine_parts_by_mode(P: Tensor) -> Tensor:
    """Combine (batch, 2, modes, (re, im) r) to a complex product by parts, (modes, 2, batch, r)."""
    P = P.reshape(*P.shape[:-1], 2, -1).transpose(0, 2)  # (modes, 2, batch, 2, r)
    v = P.new_empty(*P.shape[:3], P.shape[-1])
    torch.sub(P[:, 0, :, 0], P[:, 1, :, 1], out=v[:, 0])
    torch.add(P[:, 0, :, 1], P[:, 1, :, 0], out=v[:, 1])
    return v
