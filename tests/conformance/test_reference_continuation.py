"""Continuation and the projection of vector fields beside neuraloperator's: where each is exact."""

import math

import pytest
import torch
from torch import Tensor

from opdsl.nn.grid.pad import Pad
from opdsl.nn.spectral.continuation import FourierContinuation
from opdsl.nn.spectral.divergence_free import DivergenceFree

why = "neuraloperator is not importable here"
projection = pytest.importorskip(
    "neuralop.layers.spectral_projection", reason=why, exc_type=ImportError
)
continuation = pytest.importorskip(
    "neuralop.layers.fourier_continuation", reason=why, exc_type=ImportError
)


def divergence(v: Tensor) -> Tensor:
    """Of (batch, x, y, 2) on the unit torus, by derivatives of the interpolant."""
    total = torch.zeros(v.shape[:-1], dtype=v.dtype)
    for axis, n in enumerate(v.shape[1:-1]):
        k = torch.fft.fftfreq(n, 1 / n, dtype=v.dtype)
        k = torch.where(2 * k.abs() == n, 0.0, k) * 2j * math.pi
        shape = (n, 1) if axis == 0 else (n,)
        z = torch.fft.fft(v[..., axis], dim=axis + 1) * k.reshape(shape)
        total = total + torch.fft.ifft(z, dim=axis + 1).real
    return total


def left_over(project, v: Tensor) -> float:
    return float(divergence(project(v)).norm() / divergence(v).norm())


def theirs(v: Tensor) -> Tensor:
    size = tuple(v.shape[1:-1])
    made = projection.spectral_projection_divergence_free(v.movedim(-1, 1), 1.0, size)
    return made.movedim(1, -1)


def swapped(v: Tensor) -> Tensor:
    return theirs(v.flip(-1)).flip(-1)


def field(size: tuple[int, int]) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, *size, 2, dtype=torch.float64)


def test_on_an_odd_square_both_projections_agree_but_for_the_mean():
    v = field((15, 15))
    ours = DivergenceFree((1.0, 1.0), (True, True))(v)
    torch.testing.assert_close(ours - ours.mean((1, 2), keepdim=True), theirs(v), atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("size", "either"), [((15, 21), False), ((16, 12), True), ((16, 16), True)]
)
def test_only_ours_is_exact_at_every_size_with_one_order_of_axes(size, either):
    """Theirs exchanges the axes where the grid is no square, and at even sizes is never exact.

    `either`: whether it leaves a divergence in either order of the components.
    """
    v = field(size)
    assert left_over(DivergenceFree((1.0, 1.0), (True, True)), v) < 1e-14
    assert left_over(theirs, v) > 0.15
    assert (left_over(swapped, v) > 0.1) == either


def slope_gap(values: Tensor, start: int, n: int) -> float:
    """How far the derivative of a ring is from exp, away from both ends of [0, 1]."""
    k = torch.fft.rfftfreq(len(values), 1 / n, dtype=values.dtype)
    k = torch.where(2 * k == n, 0.0, k)
    slope = torch.fft.irfft(torch.fft.rfft(values) * 2j * math.pi * k, n=len(values))
    x = torch.arange(n + 1, dtype=values.dtype) / n
    gap = (slope[start : start + n + 1] - x.exp()).abs()
    return float(gap[n // 8 : -n // 8].max())


def ring(kind: str, n: int) -> tuple[Tensor, int]:
    """Exp on [0, 1] led on by a quarter of its length, and where it starts."""
    v = (torch.arange(n + 1, dtype=torch.float64) / n).exp()
    if kind == "theirs":
        added = 2 * ((n // 4 - 1) // 2)
        made = continuation.FCLegendre(d=5, n_additional_pts=added)(v[None, None], dim=1)
        return made[0, 0], added // 2
    layer = Pad("end") if kind == "zero" else FourierContinuation(kind, "end")
    return layer(v[None, :, None], (n + n // 4,))[0, :, 0], 0


def test_derivatives_beside_the_reference():
    """Neighbours (theirs) win on fine grids, points of fixed distance on coarse ones."""
    kinds = ("zero", "legendre", "gram", "theirs")
    gaps = {k: [slope_gap(*ring(k, n), n) for n in (32, 128, 512)] for k in kinds}
    assert min(gaps["zero"]) > 5
    assert gaps["gram"][0] < gaps["theirs"][0] / 5
    assert gaps["theirs"][-1] < gaps["gram"][-1]
    orders = {k: math.log(x[0] / x[-1]) / math.log(16) for k, x in gaps.items()}
    assert orders["legendre"] == pytest.approx(1, abs=0.1)
    assert orders["gram"] > 3
    assert orders["theirs"] > 4


def amplified(layer, n: int) -> float:
    """The largest continuation of values of one, of any signs."""
    v = torch.eye(n + 1, dtype=torch.float64)[:, :, None]
    return float(layer(v)[..., 0].abs().sum(0).max())


def test_neighbours_over_a_fixed_length_amplify_without_bound():
    """What decision 0012 gives as its reason: float32 has seven digits."""
    n = 512
    added = 2 * ((n // 4 - 1) // 2)
    legendre = continuation.FCLegendre(d=5, n_additional_pts=added).double()
    assert amplified(lambda v: legendre(v.movedim(-1, 1), dim=1).movedim(1, -1), n) > 1e4
    assert amplified(lambda v: FourierContinuation("legendre", "end")(v, (n + n // 4,)), n) < 10
