"""A Fourier layer as one operation, forward and backward.

Tensors are channels-last (batch, *grid, channels), float32, on a CPU. Saved for the backward pass:
the input and truncated spectra; everything between is computed again, a tile of points at a time,
in scratch memory that stays in the cache.

With x = act_in(u) a Fourier layer is

    z = F^-1(R . F(x)) + W x + b,    y = W_2 act_hidden(W_1 act_mid(z) + b_1) + b_2 + gate x + G x

or y = z where it has no pointwise network. All transforms are matrix products with the functions
in use only. The kernels in `native/rows.cpp` process the rows of the last axis; a `SpectralStage`
does the other axes and R, on few numbers: on grids `opdsl.nn.kernels.modes` for exponentials and
`opdsl.nn.kernels.half_waves` for half-waves, on spheres `opdsl.nn.kernels.degrees`.

Second derivatives go through the same formulas written in torch's own operations.
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
WEIGHT_COUNT = 9  # tensors of `LayerWeights`


@dataclass(frozen=True, slots=True)
class Activations:
    """The activations of a layer, keys of `ACTIVATION_CODES`.

    Attributes:
        before: act_in, of the input.
        middle: act_mid, behind the Fourier layer.
        hidden: act_hidden, inside of the pointwise network.
    """

    before: str = "identity"
    middle: str = "gelu"
    hidden: str = "gelu"


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of a Fourier layer; the pointwise network and the gate are optional.

    Attributes:
        R: (modes, in, 2 out), pairs (re, im) innermost, or (modes, in, out) of half-waves; None: a
            `ModeMixing` replaces it.
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
        """Return all weights, in the order of the fields; None for those that are left out."""
        return (self.R, self.W, self.b, self.W1, self.b1, self.W2, self.b2, self.gate, self.G)


@dataclass(frozen=True, slots=True)
class RowTransform:
    """The transform of the rows of the last axis.

    Attributes:
        cut: F, (coefficients, points).
        grow: F^-1, (points, coefficients).
        half_waves: functions of a family, of which one or more stand behind each other; 0: the
            coefficients are those of exponentials, from frequency 0 on, real parts first.
        mirrored: whether half-waves have the same value at mirrored points, or the opposite, in
            turn, beginning with the same.
    """

    cut: Tensor
    grow: Tensor
    half_waves: int = 0
    mirrored: bool = False


def fourier_rows(width: int, band: range, like: Tensor) -> RowTransform:
    """Return the transform of rows to the frequencies of a band, in the dtype of `like`."""
    cut, grow = (dft_matrix(f"{x}_half", width, band, like) for x in ("cut", "grow"))
    return RowTransform(cut, grow)


class SpectralStage(Protocol):
    """Spectral part of a layer behind the transform of the last axis: other axes, R, and back.

    Coefficients of the last axis are (rows, coefficients, channels).
    """

    def rows(self, width: int, like: Tensor) -> RowTransform:
        """Return the transform of the last axis with `width` points."""

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Tensors that the stage depends on beside R."""

    def forward(self, ctx: Any, call: LayerCall) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the result of the whole layer, and the tensors to save for the backward pass."""

    def backward(
        self, ctx: Any, call: LayerCall, g: Tensor, kept: Sequence[Tensor]
    ) -> LayerGradients:
        """Compute the gradients of the whole layer from that of its result."""

    def plain(self, x: Tensor, R: Tensor | None) -> Tensor:
        """Convolve by torch's operations: (batch, *grid, in) -> (batch, *grid, out)."""


@dataclass(frozen=True, slots=True)
class LayerGradients:
    """Gradients of u, R, the other `LayerWeights` in their order, and the weights of a stage."""

    u: Tensor
    R: Tensor | None
    others: Sequence[Tensor | None]
    own: Sequence[Tensor | None] = ()


def kernels_available() -> bool:
    """Return whether the compiled kernels can be used; the first call compiles them."""
    return library() is not None


def fourier_layer(
    u: Tensor, weights: LayerWeights, between: SpectralStage, activations: Activations
) -> Tensor:
    """Compute the layer y(u) of the module docstring: (batch, *grid, in) -> (batch, *grid, out)."""
    y: Tensor = FourierLayer.apply(  # type: ignore[no-untyped-call]  # torch's own
        u, between, activations, *weights.all(), *between.weights
    )
    return y


# --- the layer in torch's operations ------------------------------------------------------------


def plain_layer(
    u: Tensor, w: LayerWeights, between: SpectralStage, activations: Activations
) -> Tensor:
    """Compute `fourier_layer` by torch's operations, in any precision."""
    x = ACTIVATIONS[activations.before](u)
    z = between.plain(x, w.R) + x @ w.W.T + w.b
    if w.W1 is None or w.W2 is None:
        return z
    h = torch.nn.functional.linear(ACTIVATIONS[activations.middle](z), w.W1, w.b1)
    y = torch.nn.functional.linear(ACTIVATIONS[activations.hidden](h), w.W2, w.b2)
    y = y if w.gate is None else y + w.gate * x
    return y if w.G is None else y + x @ w.G.T


def differentiable_gradients(
    y: Tensor, g: Tensor, inputs: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """Compute gradients that can be differentiated again."""
    targets = [x for x, needs in zip(inputs, needed, strict=True) if needs and x is not None]
    result = iter(torch.autograd.grad(y, targets, g, create_graph=True))
    pairs = zip(inputs, needed, strict=True)
    return [next(result) if needs and x is not None else None for x, needs in pairs]


# --- the Fourier layer -------------------------------------------------------------------------


class _Layer(ctypes.Structure):
    """`struct Layer` of rows.cpp."""

    # in the order of the C++ declaration: ctypes checks nothing
    _fields_ = [
        *((x, ctypes.c_int64) for x in ("rows", "width", "c", "o", "k2", "h")),
        *((x, ctypes.c_int64) for x in ("act_in", "act_mid", "act_hidden", "threads")),
        *((x, ctypes.c_int64) for x in ("waves", "mirrored")),
        *((x, Pointer) for x in ("u", "cut", "grow", "z_hat", "W", "Wt", "b")),
        *((x, Pointer) for x in ("W1", "W1t", "b1", "W2", "W2t", "b2", "gate")),
        *((x, Pointer) for x in ("G", "Gt", "g", "y")),
        *((x, Pointer) for x in ("spectrum", "gW", "gb", "gW1", "gb1", "gW2", "gb2", "ggate")),
        ("gG", Pointer),
    ]


class FourierLayer(torch.autograd.Function):
    """Autograd function of `fourier_layer`."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, between: SpectralStage, activations: Activations, *given: Tensor | None
    ) -> Tensor:
        """Compute the result y, and save what the backward pass needs."""
        y, residuals = between.forward(ctx, LayerCall(u, given, between, activations))
        ctx.save_for_backward(u, *given, *residuals)
        ctx.between, ctx.activations, ctx.given = between, activations, len(given)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """Compute the gradients of u and of the weights."""
        u, *saved = ctx.saved_tensors
        weights, residuals, stage = saved[: ctx.given], saved[ctx.given :], ctx.between
        if torch.is_grad_enabled():  # under `create_graph`: kernels have no second derivative
            y = plain_layer(u, LayerWeights(*weights[:WEIGHT_COUNT]), stage, ctx.activations)
            needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[3:])
            gu, *rest = differentiable_gradients(y, g, (u, *weights), needed)
            return gu, None, None, *rest
        call = LayerCall(u, weights, stage, ctx.activations)
        result = stage.backward(ctx, call, g.contiguous(), residuals)
        return result.u, None, None, result.R, *result.others, *result.own


class LayerCall:
    """One layer on one grid: the kernels' work on the rows of the last axis.

    Attributes:
        w: the weights, contiguous.
        shape: (batch, *grid).
    """

    def __init__(
        self,
        u: Tensor,
        given: Sequence[Tensor | None],
        stage: SpectralStage,
        activations: Activations,
    ) -> None:
        self.u, self.w, self.shape = u.contiguous(), _contiguous(given), u.shape[:-1]
        w, (*lead, width, self.c) = self.w, u.shape
        transform = stage.rows(width, u)
        self.o, self.rows, self.k2 = w.W.shape[0], math.prod(lead), len(transform.cut)
        # kept here: the kernels see addresses only
        self.tensors = {
            "u": self.u,
            "cut": transform.cut,
            "grow": transform.grow,
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
            "waves": transform.half_waves,
            "mirrored": transform.mirrored,
        }

    def kernel(self, name: str, *more: ctypes.Structure, **tensors: Tensor) -> None:
        """Run a function of rows.cpp with `struct Layer` and `more` as its arguments."""
        layer = fill_structure(_Layer(), self.numbers, self.tensors | tensors)
        getattr(library(), name)(*map(ctypes.byref, (layer, *more)))

    def forward(self, name: str, *more: ctypes.Structure, **tensors: Tensor) -> Tensor:
        """Compute the result y by the kernel of that name."""
        y = empty_large(self.u, *self.shape, self.o)
        self.kernel(name, *more, y=y, **tensors)
        return y

    def backward(
        self, name: str, g: Tensor, *more: ctypes.Structure, **tensors: Tensor
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Run a backward kernel.

        Returns:
            The gradient of x without the part through F, and those of all weights but R.
        """
        gx, h = empty_large(self.u, *self.u.shape), self.numbers["h"]
        shapes = {"gW": (self.c, self.o), "gb": (self.o,)}
        if h:
            shapes |= {"gW1": (self.o, h), "gb1": (h,), "gW2": (self.o, h), "gb2": (self.o,)}
            shapes |= {"ggate": (self.o,)}
            shapes |= {} if self.w.G is None else {"gG": (self.c, self.o)}
        # in float64: a gradient is a sum over all points, of which each thread adds a part
        sums = {k: self.u.new_zeros(shape, dtype=torch.float64) for k, shape in shapes.items()}
        self.kernel(name, *more, g=g, y=gx, **tensors, **sums)
        return gx, self._gradients(sums)

    def _gradients(self, sums: dict[str, Tensor]) -> list[Tensor | None]:
        """Return the gradients of W, b, W1, b1, W2, b2, gate, G, in the dtype of u."""
        gradients = {k: x.T if k in ("gW", "gW1", "gG") else x for k, x in sums.items()}
        result: list[Tensor | None] = []
        for name in ("W", "b", "W1", "b1", "W2", "b2", "gate", "G"):
            present = getattr(self.w, name) is not None and f"g{name}" in gradients
            result.append(contiguous_copy(gradients[f"g{name}"], self.u) if present else None)
        return result


def fill_structure(
    structure: ctypes.Structure, numbers: dict[str, int], tensors: dict[str, Tensor]
) -> ctypes.Structure:
    """Set the numbers of a C structure, and its pointers to the addresses of contiguous tensors."""
    for name, number in numbers.items():
        setattr(structure, name, number)
    for name, tensor in tensors.items():
        assert tensor.is_contiguous(), name
        setattr(structure, name, tensor.data_ptr())
    return structure


def empty_large(like: Tensor, *shape: int) -> Tensor:
    """Allocate an empty tensor, and ask the system to back it by large pages."""
    result = like.new_empty(shape)
    size = ctypes.c_int64(result.numel() * result.element_size())
    cast(ctypes.CDLL, library()).expect_large(Pointer(result.data_ptr()), size)
    return result


def contiguous_copy(total: Tensor, like: Tensor) -> Tensor:
    """Copy a sum to the dtype of `like`, contiguous as weights: processes share such buffers."""
    # `contiguous` leaves (n, 1) as it is, whatever its strides say
    return like.new_empty(total.shape).copy_(total)


def _contiguous(given: Sequence[Tensor | None]) -> LayerWeights:
    R, W, b, *optional = (None if x is None else x.contiguous() for x in given[:WEIGHT_COUNT])
    assert W is not None
    assert b is not None
    return LayerWeights(R, W, b, *optional)
