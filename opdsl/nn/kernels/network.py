"""A pointwise network of two layers as one operation, forward and backward.

As in `opdsl.nn.kernels.fourier_layer` only the input is saved for the backward pass.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.kernels.fourier_layer import (
    ACTIVATION_CODES,
    Activations,
    Pointer,
    contiguous_copy,
    differentiable_gradients,
    empty_large,
    fill_structure,
)
from opdsl.nn.kernels.native.library import library
from opdsl.nn.layers.pointwise import ACTIVATIONS


def network(u: Tensor, weights: tuple[Tensor, ...], activations: Activations) -> Tensor:
    """W_2 act_hidden(W_1 act_in(u) + b_1) + b_2 at each point, weights (W_1, b_1, W_2, b_2)."""
    y: Tensor = Network.apply(u, activations, *weights)  # type: ignore[no-untyped-call]  # torch's own
    return y


def plain_network(u: Tensor, weights: tuple[Tensor, ...], activations: Activations) -> Tensor:
    """Compute `network` by torch's operations, in any precision."""
    W1, b1, W2, b2 = weights
    h = torch.nn.functional.linear(ACTIVATIONS[activations.before](u), W1, b1)
    return torch.nn.functional.linear(ACTIVATIONS[activations.hidden](h), W2, b2)


class _Network(ctypes.Structure):
    """`struct Network` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("points", "c", "h", "o")),
        *((x, ctypes.c_int64) for x in ("act_in", "act_hidden", "threads")),
        *((x, Pointer) for x in ("u", "W1", "W1t", "b1", "W2", "W2t", "b2", "g", "y")),
        *((x, Pointer) for x in ("gW1", "gb1", "gW2", "gb2")),
    ]


class Network(torch.autograd.Function):
    """Autograd function of `network`; of the points only u is saved."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, activations: Activations, *weights: Tensor) -> Tensor:
        """Compute the result y, and save what the backward pass needs."""
        ctx.save_for_backward(u, *weights)
        ctx.activations = activations
        y = empty_large(u, *u.shape[:-1], len(weights[2]))
        _run_network("network_points", u, weights, activations, y=y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """Compute the gradients of u and of the weights."""
        u, *weights = ctx.saved_tensors
        needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        if torch.is_grad_enabled():
            y = plain_network(u, tuple(weights), ctx.activations)
            gu, *rest = differentiable_gradients(y, g, (u, *weights), needed)
            return gu, None, *rest
        W1, b1, W2, b2 = weights
        shapes = {"gW1": W1.T.shape, "gb1": b1.shape, "gW2": W2.shape, "gb2": b2.shape}
        sums = {k: u.new_zeros(x, dtype=torch.float64) for k, x in shapes.items()}
        outputs = {"y": empty_large(u, *u.shape)} if needed[0] else {}
        name = "network_points_backward"
        _run_network(name, u, weights, ctx.activations, g=g.contiguous(), **outputs, **sums)
        sums["gW1"] = sums["gW1"].T
        return outputs.get("y"), None, *(contiguous_copy(x, u) for x in sums.values())


def _run_network(
    name: str, u: Tensor, weights: tuple[Tensor, ...], activations: Activations, **more: Tensor
) -> None:
    u = u.contiguous()
    W1, b1, W2, b2 = (x.contiguous() for x in weights)
    numbers = {
        "points": math.prod(u.shape[:-1]),
        "c": u.shape[-1],
        "h": len(W1),
        "o": len(W2),
        "act_in": ACTIVATION_CODES[activations.before],
        "act_hidden": ACTIVATION_CODES[activations.hidden],
        "threads": torch.get_num_threads(),
    }
    tensors = {"u": u, "W1": W1, "W1t": W1.T.contiguous(), "b1": b1}
    tensors |= {"W2": W2, "W2t": W2.T.contiguous(), "b2": b2, **more}
    getattr(library(), name)(ctypes.byref(fill_structure(_Network(), numbers, tensors)))
