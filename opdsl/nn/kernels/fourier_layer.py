"""A Fourier layer, and two layers at each point, as one operation each, forward and backward.

What comes in and goes out: channels-last tensors (batch, *grid, channels), float32, on a CPU. What
is kept for the backward pass: the input, truncated spectra, and nothing else; what lies between is
computed again, a tile of points at a time, in scratch that stays in the cache.

With x = act_in(u) a Fourier layer is

    z = F^-1(R . F(x)) + W x + b,    y = W_2 act_hidden(W_1 act_mid(z) + b_1) + b_2 + gate x + G x

or y = z where it has no network at each point. All transforms are matrix products with the kept
frequencies only. The rows of the last axis are the work of the kernels in `native/rows.cpp`; what
is done to the other axes and by R, on few numbers, is told by a `Between`: `opdsl.nn.kernels.modes`
on grids, `opdsl.nn.kernels.degrees` on spheres.

The derivative of a derivative goes through the same formulas written in torch's own operations.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from opdsl.nn.kernels.native.library import library
from opdsl.nn.layers.pointwise import ACTIVATIONS
from opdsl.nn.spectral.transforms import dft_matrix

ACTIVATION_CODES = {
    "identity": 0,
    "gelu": 1,
    "relu": 2,
}  # those of the kernels, by their numbers there

Pointer = ctypes.c_void_p
Sizes = Sequence[int]
WEIGHT_COUNT = 9  # tensors of `Weights`


@dataclass(frozen=True, slots=True)
class Activations:
    """The activations of a layer, keys of `ACTS`.

    Attributes:
        before: act_in, of the input.
        middle: act_mid, behind the Fourier layer.
        hidden: act_hidden, inside the network at each point.
    """

    before: str = "identity"
    middle: str = "gelu"
    hidden: str = "gelu"


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """What a Fourier layer is made of; the network at each point and the gate may be missing.

    Attributes:
        R: (modes, in, 2 out), the pairs (re, im) innermost; None: a `Mixing` does its work.
        W: (out, in).
        b: (out,).
        W1, b1, W2, b2: (h, out), (h,), (out, h), (out,).
        gate: (out,), where there are as many channels in as out.
        G: (out, in).
    """

    R: Tensor | None
    W: Tensor
    b: Tensor
    W1: Tensor | None = None
    b1: Tensor | None = None
    W2: Tensor | None = None
    b2: Tensor | None = None
    gate: Tensor | None = None
    G: Tensor | None = None

    def all(self) -> tuple[Tensor | None, ...]:
        """In the order of the fields."""
        return (self.R, self.W, self.b, self.W1, self.b1, self.W2, self.b2, self.gate, self.G)


class SpectralStage(Protocol):
    """What a layer does to the coefficients on its last axis: the other axes, R, and back.

    Coefficients of the last axis are (rows, 2 k, channels), real parts first.
    """

    @property
    def band(self) -> range:
        """The frequencies of the last axis."""

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """What it depends on beside R."""

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The result of the whole layer, and what is kept for the way back."""

    def backward(
        self, ctx: Any, call: LayerCall, g: Tensor, kept: Sequence[Tensor]
    ) -> LayerGradients:
        """The gradients of the whole layer from that of its result."""

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """The whole convolution, (batch, *grid, in) -> (batch, *grid, out), by torch."""


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Those of u, R, the other `Weights` in their order, and the weights of a `Between`."""

    u: Tensor
    R: Tensor | None
    others: Sequence[Tensor | None]
    own: Sequence[Tensor | None] = ()


def kernels_available() -> bool:
    """Whether the kernels are there; compiles them the first time."""
    return library() is not None


def fourier_layer(
    u: Tensor, weights: LayerWeights, between: SpectralStage, activations: Activations
) -> Tensor:
    """The layer y(u) of the module's docstring: (batch, *grid, in) -> (batch, *grid, out)."""
    y: Tensor = FourierLayer.apply(  # type: ignore[no-untyped-call]  # torch's own
        u, between, activations, *weights.all(), *between.weights
    )
    return y


def network(u: Tensor, weights: tuple[Tensor, ...], activations: Activations) -> Tensor:
    """W_2 act_hidden(W_1 act_in(u) + b_1) + b_2 at each point, weights (W_1, b_1, W_2, b_2)."""
    y: Tensor = Network.apply(u, activations, *weights)  # type: ignore[no-untyped-call]  # torch's own
    return y


# --- the same in torch's operations ------------------------------------------------------------


def plain_layer(
    u: Tensor, w: LayerWeights, between: SpectralStage, activations: Activations
) -> Tensor:
    """`fourier_layer` by automatic differentiation, in any precision."""
    x = ACTIVATIONS[activations.before](u)
    z = between.plain(x, w.R) + x @ w.W.T + w.b
    if w.W1 is None or w.W2 is None:
        return z
    h = torch.nn.functional.linear(ACTIVATIONS[activations.middle](z), w.W1, w.b1)
    y = torch.nn.functional.linear(ACTIVATIONS[activations.hidden](h), w.W2, w.b2)
    y = y if w.gate is None else y + w.gate * x
    return y if w.G is None else y + x @ w.G.T


def plain_network(u: Tensor, weights: tuple[Tensor, ...], activations: Activations) -> Tensor:
    """`network` by automatic differentiation, in any precision."""
    W1, b1, W2, b2 = weights
    h = torch.nn.functional.linear(ACTIVATIONS[activations.before](u), W1, b1)
    return torch.nn.functional.linear(ACTIVATIONS[activations.hidden](h), W2, b2)


def _differentiable_gradients(
    y: Tensor, g: Tensor, inputs: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """LayerGradients that have gradients themselves."""
    wanted = [x for x, needs in zip(inputs, needed, strict=True) if needs and x is not None]
    found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    pairs = zip(inputs, needed, strict=True)
    return [next(found) if needs and x is not None else None for x, needs in pairs]


# --- the Fourier layer -------------------------------------------------------------------------


class _Layer(ctypes.Structure):
    """`struct Layer` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("rows", "width", "c", "o", "k2", "h")),
        *((x, ctypes.c_int64) for x in ("act_in", "act_mid", "act_hidden", "threads")),
        *((x, Pointer) for x in ("u", "cut", "grow", "z_hat", "W", "Wt", "b")),
        *((x, Pointer) for x in ("W1", "W1t", "b1", "W2", "W2t", "b2", "gate")),
        *((x, Pointer) for x in ("G", "Gt", "g", "y")),
        *((x, Pointer) for x in ("spectrum", "gW", "gb", "gW1", "gb1", "gW2", "gb2", "ggate")),
        ("gG", Pointer),
    ]


class FourierLayer(torch.autograd.Function):
    """`fourier_layer` with its derivative."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, between: SpectralStage, activations: Activations, *given: Tensor | None
    ) -> Tensor:
        """Y, and what its derivative needs."""
        y, kept = between.forward(ctx, LayerCall(u, given, between.band, activations))
        ctx.save_for_backward(u, *given, *kept)
        ctx.between, ctx.activations, ctx.given = between, activations, len(given)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The gradients of u and of the weights."""
        u, *saved = ctx.saved_tensors
        given, kept, between = saved[: ctx.given], saved[ctx.given :], ctx.between
        if torch.is_grad_enabled():
            y = plain_layer(u, LayerWeights(*given[:WEIGHT_COUNT]), between, ctx.activations)
            needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[3:])
            gu, *rest = _differentiable_gradients(y, g, (u, *given), needed)
            return gu, None, None, *rest
        call = LayerCall(u, given, between.band, ctx.activations)
        found = between.backward(ctx, call, g.contiguous(), kept)
        return found.u, None, None, found.R, *found.others, *found.own


class LayerCall:
    """One layer on one grid: what the kernels do to the rows of the last axis.

    Attributes:
        w: the weights, contiguous.
        shape: (batch, *grid).
    """

    def __init__(
        self, u: Tensor, given: Sequence[Tensor | None], band: range, activations: Activations
    ) -> None:
        self.u, self.w, self.shape = u.contiguous(), _contiguous(given), u.shape[:-1]
        w, (*lead, width, self.c) = self.w, u.shape
        self.o, self.rows, self.k2 = w.W.shape[0], math.prod(lead), 2 * len(band)
        # kept here: the kernels see addresses only
        self.tensors = {
            "u": self.u,
            "cut": dft_matrix("cut_half", width, band, u),
            "grow": dft_matrix("grow_half", width, band, u),
            "W": w.W,
            "Wt": w.W.T.contiguous(),
            "b": w.b,
        }
        if w.W1 is not None and w.W2 is not None:
            self.tensors |= {"W1": w.W1, "W1t": w.W1.T.contiguous(), "W2": w.W2}
            self.tensors |= {"W2t": w.W2.T.contiguous()}
            self.tensors |= {k: x for k in ("b1", "b2", "gate") if (x := getattr(w, k)) is not None}
            self.tensors |= {} if w.G is None else {"G": w.G, "Gt": w.G.T.contiguous()}
        self.numbers = {
            "rows": self.rows,
            "width": width,
            "c": self.c,
            "o": self.o,
            "k2": self.k2,
            "h": 0 if w.W1 is None else len(w.W1),
            "act_in": ACTIVATION_CODES[activations.before],
            "act_mid": ACTIVATION_CODES[activations.middle],
            "act_hidden": ACTIVATION_CODES[activations.hidden],
            "threads": torch.get_num_threads(),
        }

    def kernel(self, name: str, *more: ctypes.Structure, **tensors: Tensor) -> None:
        """Run a function of rows.cpp that takes `struct Layer`, then `more`."""
        layer = fill_structure(_Layer(), self.numbers, self.tensors | tensors)
        getattr(library(), name)(*map(ctypes.byref, (layer, *more)))

    def forward(self, name: str, *more: ctypes.Structure, **tensors: Tensor) -> Tensor:
        """Y, by the kernel of that name."""
        y = _empty_large(self.u, *self.shape, self.o)
        self.kernel(name, *more, y=y, **tensors)
        return y

    def backward(
        self, name: str, g: Tensor, *more: ctypes.Structure, **tensors: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """The gradient of x but for F, and those of all weights but R, by the kernel."""
        gx, h = _empty_large(self.u, *self.u.shape), self.numbers["h"]
        shapes = {"gW": (self.c, self.o), "gb": (self.o,)}
        if h:
            shapes |= {"gW1": (self.o, h), "gb1": (h,), "gW2": (self.o, h), "gb2": (self.o,)}
            shapes |= {"ggate": (self.o,)}
            shapes |= {} if self.w.G is None else {"gG": (self.c, self.o)}
        sums = {k: self.u.new_zeros(shape, dtype=torch.float64) for k, shape in shapes.items()}
        self.kernel(name, *more, g=g, y=gx, **tensors, **sums)
        return gx, self._gradients(sums)

    def _gradients(self, sums: dict[str, Tensor]) -> list[Tensor | None]:
        """Those of W, b, W1, b1, W2, b2, gate, G, in the precision of u."""
        turned = {k: x.T if k in ("gW", "gW1", "gG") else x for k, x in sums.items()}
        found: list[Tensor | None] = []
        for name in ("W", "b", "W1", "b1", "W2", "b2", "gate", "G"):
            there = getattr(self.w, name) is not None and f"g{name}" in turned
            found.append(_contiguous_copy(turned[f"g{name}"], self.u) if there else None)
        return found


# --- two layers at each point ------------------------------------------------------------------


class _Network(ctypes.Structure):
    """`struct Network` of rows.cpp."""

    _fields_ = [
        *((x, ctypes.c_int64) for x in ("points", "c", "h", "o")),
        *((x, ctypes.c_int64) for x in ("act_in", "act_hidden", "threads")),
        *((x, Pointer) for x in ("u", "W1", "W1t", "b1", "W2", "W2t", "b2", "g", "y")),
        *((x, Pointer) for x in ("gW1", "gb1", "gW2", "gb2")),
    ]


class Network(torch.autograd.Function):
    """`network` with its derivative; only u is kept."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, activations: Activations, *weights: Tensor) -> Tensor:
        """Y, and what its derivative needs."""
        ctx.save_for_backward(u, *weights)
        ctx.activations = activations
        y = _empty_large(u, *u.shape[:-1], len(weights[2]))
        _run_network("network_points", u, weights, activations, y=y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The gradients of u and of the weights."""
        u, *weights = ctx.saved_tensors
        needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        if torch.is_grad_enabled():
            y = plain_network(u, tuple(weights), ctx.activations)
            gu, *rest = _differentiable_gradients(y, g, (u, *weights), needed)
            return gu, None, *rest
        W1, b1, W2, b2 = weights
        shapes = {"gW1": W1.T.shape, "gb1": b1.shape, "gW2": W2.shape, "gb2": b2.shape}
        sums = {k: u.new_zeros(x, dtype=torch.float64) for k, x in shapes.items()}
        more = {"y": _empty_large(u, *u.shape)} if needed[0] else {}
        name = "network_points_backward"
        _run_network(name, u, weights, ctx.activations, g=g.contiguous(), **more, **sums)
        sums["gW1"] = sums["gW1"].T
        return more.get("y"), None, *(_contiguous_copy(x, u) for x in sums.values())


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


# --- both --------------------------------------------------------------------------------------


def fill_structure(
    structure: ctypes.Structure, numbers: dict[str, int], tensors: dict[str, Tensor]
) -> ctypes.Structure:
    """The same structure, with numbers and with the addresses of contiguous tensors."""
    for name, number in numbers.items():
        setattr(structure, name, number)
    for name, tensor in tensors.items():
        assert tensor.is_contiguous(), name
        setattr(structure, name, tensor.data_ptr())
    return structure


def _empty_large(like: Tensor, *shape: int) -> Tensor:
    """An empty tensor, whose memory costs little also where it is the system's until now."""
    made = like.new_empty(shape)
    size = ctypes.c_int64(made.numel() * made.element_size())
    cast(ctypes.CDLL, library()).expect_large(Pointer(made.data_ptr()), size)
    return made


def _contiguous_copy(total: Tensor, like: Tensor) -> Tensor:
    """A sum in the precision of `like`, laid out as weights are: processes share such buffers."""
    # `contiguous` leaves (n, 1) as it is, whatever its strides say
    return like.new_empty(total.shape).copy_(total)


def _contiguous(given: Sequence[Tensor | None]) -> LayerWeights:
    R, W, b, *others = (None if x is None else x.contiguous() for x in given[:WEIGHT_COUNT])
    assert W is not None
    assert b is not None
    return LayerWeights(R, W, b, *others)
