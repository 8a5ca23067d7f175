"""Kernel sums over pairs by compiled kernels, and their gradients, in blocks that fit the cache.

The terms of `opdsl.nn.points.integral.kernel_sum`, float32, on a CPU. With h_0 = p[y] + q[x] at
the pair of a query x and a point y and h_{i+1} = W_i act(h_i) + b_i the sum over the pairs of x
has the terms

    w (W act(h_L) + b) v[y]    or    w v[y] [act(h_L), 1]^T

Hidden layers of all pairs are returned if they are to be saved; else they are computed again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from opdsl.nn.kernels.fourier_layer import ACTIVATION_CODES, Pointer, fill_structure
from opdsl.nn.kernels.native.library import library
from opdsl.nn.points.neighbours.search import Pairs
from opdsl.nn.precision import wide


class _Pairs(ctypes.Structure):
    """`struct Pairs` of pairs.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("pairs", "batch", "c", "out", "inner", "act", "threads")),
        *((x, Pointer) for x in ("points", "queries", "widths", "at_points", "at_queries")),
        *((x, Pointer) for x in ("values", "weights", "W", "b", "last", "last_b", "hidden")),
        *((x, Pointer) for x in ("total", "grad", "gW", "gb", "glast", "glast_b")),
        *((x, Pointer) for x in ("gx", "gq", "gv", "gw")),
    ]


@dataclass(frozen=True, slots=True)
class PairSum:
    """One kernel sum.

    Attributes:
        act: a key of `opdsl.nn.kernels.fourier_layer.ACTIVATION_CODES`, not the identity.
        at_points: (n, 1, h).
        at_queries: (m, h).
        values: (n, batch, c), or None: one.
        weights: (pairs,), or None: one.
        layers: weights and biases, with those of the last layer if `last`.
        last: whether the last layer is applied at each pair.
    """

    pairs: Pairs
    act: str
    at_points: Tensor
    at_queries: Tensor
    values: Tensor | None
    weights: Tensor | None
    layers: tuple[Tensor, ...]
    last: bool

    def fits(self) -> bool:
        """Return whether the kernels support the sum: float32 on a CPU, gelu or relu."""
        arguments = (self.at_points, self.at_queries, self.values, self.weights, *self.layers)
        tensors = [x for x in arguments if x is not None]
        if self.at_points.shape[1] != 1 or self.act not in ("gelu", "relu"):
            return False
        if self.last and (self.values is None or len(self.layers[-1]) != self.values.shape[-1]):
            return False
        return all(map(_plain_float, tensors)) and library() is not None

    def total(self, zeros: Tensor, *, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """Add the sum to `zeros`; return it and the hidden layers, none unless `keep`."""
        count = len(self.pairs)
        hidden = [self.at_points.new_empty(count, n) for n in self._widths()[1:] if keep]
        self._run("pairs_forward", {"total": zeros}, {"hidden": hidden})
        return zeros, hidden

    def gradients(
        self, grad: Tensor, kept: Sequence[Tensor], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return needed gradients of `at_points`, `at_queries`, `values`, `weights`, `layers`."""
        layers = [x.new_zeros(x.shape, dtype=torch.float64) for x in self.layers]
        points, queries = torch.zeros_like(self.at_points), torch.zeros_like(self.at_queries)
        values, weights = (
            torch.zeros_like(x) if x is not None and need else None
            for x, need in zip((self.values, self.weights), needed[2:4], strict=True)
        )
        own = {"grad": grad, "gx": points, "gq": queries, "gv": values, "gw": weights}
        inner = layers[:-2] if self.last else layers
        if self.last:
            own |= {"glast": layers[-2], "glast_b": layers[-1]}
        lists = {"hidden": kept, "gW": inner[::2], "gb": inner[1::2]}
        self._run("pairs_backward", own, lists)
        result = (points, queries, values, weights, *(x.to(grad.dtype) for x in layers))
        return [x if need else None for x, need in zip(result, needed, strict=True)]

    def _run(self, name: str, own: dict[str, Tensor | None], lists: dict[str, Any]) -> None:
        inner = self.layers[:-2] if self.last else self.layers
        tensors = {
            "points": self.pairs.points,
            "queries": self.pairs.queries,
            "widths": torch.tensor(self._widths()),
            "at_points": self.at_points,
            "at_queries": self.at_queries,
            "values": self.values,
            "weights": self.weights,
        }
        if self.last:
            tensors |= {"last": self.layers[-2], "last_b": self.layers[-1]}
        present = {k: x for k, x in (tensors | own).items() if x is not None}
        structure = fill_structure(_Pairs(), self._sizes(), present)
        addresses = {"W": inner[::2], "b": inner[1::2]} | lists
        arrays = [_set_list(structure, key, x) for key, x in addresses.items() if x]
        getattr(library(), name)(ctypes.byref(structure))
        del arrays

    def _sizes(self) -> dict[str, int]:
        batch, c = (1, 0) if self.values is None else self.values.shape[1:]
        return {
            "pairs": len(self.pairs),
            "batch": batch,
            "c": c,
            "out": len(self.layers[-1]) if self.last else 0,
            "inner": len(self._widths()) - 1,
            "act": ACTIVATION_CODES[self.act],
            "threads": torch.get_num_threads(),
        }

    def _widths(self) -> list[int]:
        """List the widths of the hidden layers."""
        inner = self.layers[:-2] if self.last else self.layers
        return [self.at_points.shape[-1], *(len(b) for b in inner[1::2])]


def _plain_float(x: Tensor) -> bool:
    plain = type(x) in (Tensor, nn.Parameter)
    return plain and x.dtype == torch.float32 == wide(x) and x.device.type == "cpu"


def _set_list(structure: ctypes.Structure, key: str, tensors: Sequence[Tensor]) -> Any:
    """Store an array of addresses in a structure; the caller keeps the array alive."""
    addresses = (Pointer * len(tensors))(*(x.data_ptr() for x in tensors))
    setattr(structure, key, ctypes.cast(addresses, Pointer))
    return addresses
