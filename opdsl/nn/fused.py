"""A Fourier layer, and two layers at each point, as one operation each, forward and backward.

What comes in and goes out: channels-last tensors (batch, *grid, channels), float32, on a CPU. What
is kept for the backward pass: the input, truncated spectra, and nothing else; what lies between is
computed again, a tile of points at a time, in scratch that stays in the cache.

With x = act_in(u) a Fourier layer is

    z = F^-1(R . F(x)) + W x + b,    y = W_2 act_hidden(W_1 act_mid(z) + b_1) + b_2 + gate x

or y = z where it has no network at each point. All transforms are matrix products with the kept
frequencies only. The rows of the last axis are the work of the kernels in `native/rows.cpp`; the
other axes and R, on few numbers, are that of torch.

The derivative of a derivative goes through the same formulas written in torch's own operations.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdsl.nn.native.library import library
from opdsl.nn.pointwise import ACTIVATIONS
from opdsl.nn.transforms import Bands, cut_dft, grow_dft, matrix, times

ACTS = {"identity": 0, "gelu": 1, "relu": 2}  # those of the kernels, by their numbers there

Pointer = ctypes.c_void_p
WEIGHTS = 8  # tensors of `Weights`


@dataclass(frozen=True, slots=True)
class Bends:
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
class Weights:
    """What a Fourier layer is made of; the network at each point and the gate may be missing.

    Attributes:
        R: (modes, in, 2 out), the pairs (re, im) innermost; None: a `Mixing` does its work.
        W: (out, in).
        b: (out,).
        W1, b1, W2, b2: (h, out), (h,), (out, h), (out,).
        gate: (out,), where there are as many channels in as out.
    """

    R: Tensor | None
    W: Tensor
    b: Tensor
    W1: Tensor | None = None
    b1: Tensor | None = None
    W2: Tensor | None = None
    b2: Tensor | None = None
    gate: Tensor | None = None

    def all(self) -> tuple[Tensor | None, ...]:
        """In the order of the fields."""
        return (self.R, self.W, self.b, self.W1, self.b1, self.W2, self.b2, self.gate)


@dataclass(frozen=True, slots=True)
class Mixing:
    """What R does to the kept modes, where it is no plain tensor.

    Attributes:
        mix: complex (batch, modes, in) -> complex (batch, modes, out), by torch's operations.
        weights: what it depends on beside its argument.
        parts: the same of real (batch, 2, modes, in), where that is faster.
    """

    mix: Callable[[Tensor], Tensor]
    weights: tuple[Tensor, ...]
    parts: Callable[[Tensor], Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Parts (batch, 2, modes, in) -> (batch, 2, modes, out)."""
        if self.parts is not None:
            return self.parts(x)
        return _complex_parts(self.mix(torch.complex(x[:, 0], x[:, 1])))


def available() -> bool:
    """Whether the kernels are there; compiles them the first time."""
    return library() is not None


def fourier_layer(
    u: Tensor, weights: Weights, bands: Bands, bends: Bends, mixing: Mixing | None = None
) -> Tensor:
    """The layer y(u) of the module's docstring: (batch, *grid, in) -> (batch, *grid, out)."""
    more = () if mixing is None else mixing.weights
    y: Tensor = FourierLayer.apply(  # type: ignore[no-untyped-call]  # torch's own
        u, bands, bends, mixing, *weights.all(), *more
    )
    return y


def network(u: Tensor, weights: tuple[Tensor, ...], bends: Bends) -> Tensor:
    """W_2 act_hidden(W_1 act_in(u) + b_1) + b_2 at each point, weights (W_1, b_1, W_2, b_2)."""
    y: Tensor = Network.apply(u, bends, *weights)  # type: ignore[no-untyped-call]  # torch's own
    return y


# --- the same in torch's operations ------------------------------------------------------------


def plain_layer(
    u: Tensor, w: Weights, bands: Bands, bends: Bends, mixing: Mixing | None = None
) -> Tensor:
    """`fourier_layer` by automatic differentiation, in any precision."""
    x = ACTIVATIONS[bends.before](u)
    x_hat = cut_dft(x, bands)
    mix = _mix_of(w) if mixing is None else mixing.mix
    z_hat = mix(x_hat.flatten(1, -2)).reshape(*x_hat.shape[:-1], -1)
    z = grow_dft(z_hat, bands, tuple(u.shape[1:-1]), real=True) + x @ w.W.T + w.b
    if w.W1 is None or w.W2 is None:
        return z
    h = torch.nn.functional.linear(ACTIVATIONS[bends.middle](z), w.W1, w.b1)
    y = torch.nn.functional.linear(ACTIVATIONS[bends.hidden](h), w.W2, w.b2)
    return y if w.gate is None else y + w.gate * x


def _mix_of(w: Weights) -> Callable[[Tensor], Tensor]:
    assert w.R is not None
    R = torch.view_as_complex(w.R.reshape(*w.R.shape[:-1], -1, 2))
    return lambda x_hat: torch.bmm(x_hat.transpose(0, 1), R).transpose(0, 1)


def plain_network(u: Tensor, weights: tuple[Tensor, ...], bends: Bends) -> Tensor:
    """`network` by automatic differentiation, in any precision."""
    W1, b1, W2, b2 = weights
    h = torch.nn.functional.linear(ACTIVATIONS[bends.before](u), W1, b1)
    return torch.nn.functional.linear(ACTIVATIONS[bends.hidden](h), W2, b2)


def _again(
    y: Tensor, g: Tensor, inputs: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """Gradients that have gradients themselves."""
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
        *((x, Pointer) for x in ("W1", "W1t", "b1", "W2", "W2t", "b2", "gate", "g", "y")),
        *((x, Pointer) for x in ("spectrum", "gW", "gb", "gW1", "gb1", "gW2", "gb2", "ggate")),
    ]


class FourierLayer(torch.autograd.Function):
    """`fourier_layer` with its derivative."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        bands: Bands,
        bends: Bends,
        mixing: Mixing | None,
        *given: Tensor | None,
    ) -> Tensor:
        """Y, and what its derivative needs."""
        w = _contiguous(given)
        call = _Call(u.contiguous(), w, bands, bends)
        x_hat = call.gathered(call.cut())
        S = _by_modes(x_hat) if w.R is not None else x_hat
        mixed = _mixed_bands(S, w.R) if w.R is not None else _mix_once(ctx, mixing, S)
        z_hat = call.grown(mixed)
        y = call.run(z_hat)
        ctx.save_for_backward(u, S, z_hat, *given)
        ctx.bands, ctx.bends, ctx.mixing = bands, bends, mixing
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The gradients of u and of the weights."""
        u, S, z_hat, *given = ctx.saved_tensors
        if torch.is_grad_enabled():
            w = Weights(*given[:WEIGHTS])
            y = plain_layer(u, w, ctx.bands, ctx.bends, ctx.mixing)
            needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[4:])
            gu, *rest = _again(y, g, (u, *given), needed)
            return gu, None, None, None, *rest
        w = _contiguous(given)
        call = _Call(u.contiguous(), w, ctx.bands, ctx.bends)
        gu, g_hat, sums = call.run_backward(g.contiguous(), z_hat)
        G = call.gathered_adjoint(g_hat)
        if w.R is None:
            gS, own = _mix_back(ctx, S, G)
            gR = None
        else:
            T, own = _doubled(G), []
            gR = torch.bmm(S.transpose(1, 2), T)
            gS = _by_sample(torch.bmm(T, w.R.transpose(1, 2)))
        call.finish(gu, call.spread_adjoint(gS))
        return gu, None, None, None, gR, *sums, *own


class _Call:
    """One layer on one grid, with the pieces between which torch and the kernels take turns.

    Spectra on the rows of the last axis are (rows, 2 k, channels); those of all modes are doubled,
    (modes, 2 batch, channels): first the real parts of all samples, then the imaginary ones.
    """

    def __init__(self, u: Tensor, w: Weights, bands: Bands, bends: Bends) -> None:
        self.u, self.w = u, w
        self.batch, *grid, self.c = u.shape
        *self.full, self.last = zip(grid, bands, strict=True)
        self.o, self.counts = w.W.shape[0], tuple(map(len, bands))
        width, band = self.last
        self.rows, self.k2 = self.batch * math.prod(grid[:-1]), 2 * len(band)
        # kept here: the kernels see addresses only
        self.tensors = {
            "u": u,
            "cut": matrix("cut_half", width, band, u),
            "grow": matrix("grow_half", width, band, u),
            "W": w.W,
            "Wt": w.W.T.contiguous(),
            "b": w.b,
        }
        if w.W1 is not None and w.W2 is not None:
            self.tensors |= {"W1": w.W1, "W1t": w.W1.T.contiguous(), "W2": w.W2}
            self.tensors |= {"W2t": w.W2.T.contiguous()}
            self.tensors |= {k: x for k in ("b1", "b2", "gate") if (x := getattr(w, k)) is not None}
        self.numbers = {
            "rows": self.rows,
            "width": width,
            "c": self.c,
            "o": self.o,
            "k2": self.k2,
            "h": 0 if w.W1 is None else len(w.W1),
            "act_in": ACTS[bends.before],
            "act_mid": ACTS[bends.middle],
            "act_hidden": ACTS[bends.hidden],
            "threads": torch.get_num_threads(),
        }

    def _kernel(self, name: str, **more: Tensor) -> None:
        kernel = getattr(library(), name)
        kernel(ctypes.byref(_filled_bands(_Layer(), self.numbers, self.tensors | more)))

    def cut(self) -> Tensor:
        """F x on the last axis: (rows, 2 k, in)."""
        spectrum = self.u.new_empty(self.rows, self.k2, self.c)
        self._kernel("cut_rows", spectrum=spectrum)
        return spectrum

    def gathered(self, z: Tensor) -> Tensor:
        """F on the other axes: (rows, 2 k, in) -> (batch, 2, modes, in)."""
        lead, channels = self.rows, z.shape[-1]
        for n, band in reversed(self.full):
            lead //= n
            z = times(matrix("cut_full", n, band, z), z.reshape(lead, 2 * n, -1))
        return z.reshape(self.batch, 2, -1, channels)

    def grown(self, z: Tensor) -> Tensor:
        """F^-1 on the other axes: (batch, 2, modes, out) -> (rows, 2 k, out)."""
        lead = self.batch
        for n, band in self.full:
            z = times(matrix("grow_full", n, band, z), z.reshape(lead, 2 * len(band), -1))
            lead *= n
        return z.reshape(self.rows, self.k2, self.o)

    def run(self, z_hat: Tensor) -> Tensor:
        """Y."""
        y = self.u.new_empty(*self.u.shape[:-1], self.o)
        self._kernel("layer_rows", z_hat=z_hat, y=y)
        return y

    def run_backward(self, g: Tensor, z_hat: Tensor) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """The gradient of x but for F, that of z_hat, and those of all weights but R."""
        gx, g_hat = torch.empty_like(self.u), torch.empty_like(z_hat)
        h = self.numbers["h"]
        shapes = {"gW": (self.c, self.o), "gb": (self.o,)}
        if h:
            shapes |= {"gW1": (self.o, h), "gb1": (h,), "gW2": (self.o, h), "gb2": (self.o,)}
            shapes |= {"ggate": (self.o,)}
        sums = {k: self.u.new_zeros(shape, dtype=torch.float64) for k, shape in shapes.items()}
        self._kernel("layer_rows_backward", z_hat=z_hat, g=g, y=gx, spectrum=g_hat, **sums)
        return gx, g_hat, self._gradients(sums)

    def _gradients(self, sums: dict[str, Tensor]) -> list[Tensor | None]:
        """Those of W, b, W1, b1, W2, b2, gate, in the precision of u."""
        turned = {k: x.T if k in ("gW", "gW1") else x for k, x in sums.items()}
        found: list[Tensor | None] = []
        for name in ("W", "b", "W1", "b1", "W2", "b2", "gate"):
            there = getattr(self.w, name) is not None and f"g{name}" in turned
            found.append(turned[f"g{name}"].to(self.u.dtype) if there else None)
        return found

    def gathered_adjoint(self, g: Tensor) -> Tensor:
        """The adjoint of `grown`: (rows, 2 k, out) -> (batch, 2, modes, out)."""
        lead = self.rows
        for n, band in reversed(self.full):
            lead //= n
            g = times(matrix("grow_full", n, band, g).T, g.reshape(lead, 2 * n, -1))
        return g.reshape(self.batch, 2, -1, self.o)

    def spread_adjoint(self, g: Tensor) -> Tensor:
        """The adjoint of `gathered`: (batch, 2, modes, in) -> (rows, 2 k, in)."""
        lead = self.batch
        for n, band in self.full:
            g = times(matrix("cut_full", n, band, g).T, g.reshape(lead, 2 * len(band), -1))
            lead *= n
        return g.reshape(self.rows, self.k2, self.c)

    def finish(self, gx: Tensor, spectrum: Tensor) -> None:
        """Make the gradient of u of that of x, in place, with what came through F."""
        self._kernel("cut_rows_backward", y=gx, spectrum=spectrum)


def _by_modes(z: Tensor) -> Tensor:
    """(batch, 2, modes, c) -> doubled (modes, 2 batch, c)."""
    batch, _, modes, c = z.shape
    return z.permute(2, 1, 0, 3).reshape(modes, 2 * batch, c)


def _by_sample(S: Tensor) -> Tensor:
    """Doubled (modes, 2 batch, c) -> (batch, 2, modes, c)."""
    modes, rows, c = S.shape
    return S.reshape(modes, 2, rows // 2, c).permute(2, 1, 0, 3).contiguous()


def _complex_parts(z: Tensor) -> Tensor:
    """Complex (batch, modes, c) -> (batch, 2, modes, c)."""
    return torch.stack((z.real, z.imag), 1)


def _mix_once(ctx: Any, mixing: Mixing | None, x_hat: Tensor) -> Tensor:
    """The mixed modes; how they came about is kept, it is little."""
    assert mixing is not None
    ctx.mixed = _mix_recorded(mixing, x_hat) if any(ctx.needs_input_grad) else None
    return mixing(x_hat) if ctx.mixed is None else ctx.mixed[1].detach()


def _mix_recorded(mixing: Mixing, x_hat: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        x = x_hat.detach().requires_grad_()
        return x, mixing(x)


def _mix_back(ctx: Any, x_hat: Tensor, g: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of the argument of a mixing and of its weights."""
    x, y = ctx.mixed or _mix_recorded(ctx.mixing, x_hat)
    ctx.mixed = None  # who goes back twice computes it again
    weights = ctx.mixing.weights
    wanted = [w for w in weights if w.requires_grad]
    gx, *rest = torch.autograd.grad(y, [x, *wanted], g, allow_unused=True)
    found = iter(rest)
    return gx, [next(found) if w.requires_grad else None for w in weights]


def _mixed_bands(S: Tensor, R: Tensor) -> Tensor:
    """R . x_hat, doubled -> (batch, 2, modes, out): one real product, then two sums."""
    modes, rows, _ = S.shape
    P = torch.bmm(S, R).reshape(modes, 2, rows // 2, -1, 2)
    y = S.new_empty(rows // 2, 2, modes, P.shape[-2])
    torch.sub(P[:, 0, ..., 0], P[:, 1, ..., 1], out=y[:, 0].transpose(0, 1))
    torch.add(P[:, 0, ..., 1], P[:, 1, ..., 0], out=y[:, 1].transpose(0, 1))
    return y


def _doubled(g: Tensor) -> Tensor:
    """(batch, 2, modes, out) -> (modes, 2 batch, 2 out): (re, im), and (im, -re) behind all."""
    batch, _, modes, out = g.shape
    T = g.new_empty(modes, 2, batch, out, 2)
    re, im = (x.transpose(0, 1) for x in g.unbind(1))
    T[:, 0, ..., 0], T[:, 0, ..., 1] = re, im
    T[:, 1, ..., 0] = im
    torch.neg(re, out=T[:, 1, ..., 1])
    return T.reshape(modes, 2 * batch, 2 * out)


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
    def forward(ctx: Any, u: Tensor, bends: Bends, *weights: Tensor) -> Tensor:
        """Y, and what its derivative needs."""
        ctx.save_for_backward(u, *weights)
        ctx.bends = bends
        y = u.new_empty(*u.shape[:-1], len(weights[2]))
        _run_network("network_points", u, weights, bends, y=y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        """The gradients of u and of the weights."""
        u, *weights = ctx.saved_tensors
        needed = (ctx.needs_input_grad[0], *ctx.needs_input_grad[2:])
        if torch.is_grad_enabled():
            y = plain_network(u, tuple(weights), ctx.bends)
            gu, *rest = _again(y, g, (u, *weights), needed)
            return gu, None, *rest
        W1, b1, W2, b2 = weights
        shapes = {"gW1": W1.T.shape, "gb1": b1.shape, "gW2": W2.shape, "gb2": b2.shape}
        sums = {k: u.new_zeros(x, dtype=torch.float64) for k, x in shapes.items()}
        more = {"y": torch.empty_like(u.contiguous())} if needed[0] else {}
        name = "network_points_backward"
        _run_network(name, u, weights, ctx.bends, g=g.contiguous(), **more, **sums)
        sums["gW1"] = sums["gW1"].T
        return more.get("y"), None, *(x.to(u.dtype) for x in sums.values())


def _run_network(
    name: str, u: Tensor, weights: tuple[Tensor, ...], bends: Bends, **more: Tensor
) -> None:
    u = u.contiguous()
    W1, b1, W2, b2 = (x.contiguous() for x in weights)
    numbers = {
        "points": math.prod(u.shape[:-1]),
        "c": u.shape[-1],
        "h": len(W1),
        "o": len(W2),
        "act_in": ACTS[bends.before],
        "act_hidden": ACTS[bends.hidden],
        "threads": torch.get_num_threads(),
    }
    tensors = {"u": u, "W1": W1, "W1t": W1.T.contiguous(), "b1": b1}
    tensors |= {"W2": W2, "W2t": W2.T.contiguous(), "b2": b2, **more}
    getattr(library(), name)(ctypes.byref(_filled_bands(_Network(), numbers, tensors)))


# --- both --------------------------------------------------------------------------------------


def _filled_bands(
    structure: ctypes.Structure, numbers: dict[str, int], tensors: dict[str, Tensor]
) -> ctypes.Structure:
    for name, number in numbers.items():
        setattr(structure, name, number)
    for name, tensor in tensors.items():
        assert tensor.is_contiguous(), name
        setattr(structure, name, tensor.data_ptr())
    return structure


def _contiguous(given: Sequence[Tensor | None]) -> Weights:
    R, W, b, *others = (None if x is None else x.contiguous() for x in given[:WEIGHTS])
    assert W is not None
    assert b is not None
    return Weights(R, W, b, *others)
