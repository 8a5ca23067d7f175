"""Cubic interpolation against polynomials, scipy, and the order of its error."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline, RegularGridInterpolator
from scipy.sparse.linalg import spsolve
from torch import nn

from opdsl.train.config.schema import Normalise
from opdsl.train.engine.rollout import Rollout
from opdsl.train.losses.h1 import rel_h1
from opdsl.train.losses.l2 import rel_l2
from opdsl.train.metrics import interpolation
from opdsl.train.metrics.interpolation import CoarseGrid, interpolate_axis, interpolated_errors
from opdsl.train.metrics.norms import GridAxes
from opdsl.train.scaling.normalise import Normaliser

NOTHING = Normalise(inputs="none", outputs="none")
# every k-th of n points: both ends, lower, upper and no ends, centres of cells
KNOTS = [
    (range(0, 33, 4), 33),
    (range(0, 32, 4), 32),
    (range(3, 32, 4), 32),
    (range(1, 15, 2), 15),
    (range(1, 27, 3), 27),
]


def noise(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def spline(values, knots, n, *, circular=False):
    return interpolate_axis(values, -1, knots, n, circular=circular)


def points(knots, n):
    return torch.tensor(knots, dtype=torch.float64) / n


@pytest.mark.parametrize(("knots", "n"), KNOTS)
def test_cubic_polynomials_are_exact(knots, n):
    def cubic(t):
        return 1 - 2 * t + 3 * t**2 - 5 * t**3

    fine = spline(cubic(points(knots, n)), knots, n)
    torch.testing.assert_close(fine, cubic(points(range(n), n)), rtol=0, atol=1e-11)


@pytest.mark.parametrize("count", [2, 3])
def test_few_knots_carry_lower_degrees(count):
    knots, n = range(0, 4 * count, 4), 4 * count - 3
    fine = spline(points(knots, n) ** (count - 1), knots, n)
    torch.testing.assert_close(fine, points(range(n), n) ** (count - 1))


@pytest.mark.parametrize(("first", "circular"), [(0, False), (1, False), (0, True), (2, True)])
def test_the_order_is_four(first, circular):
    def error(count):
        period = 3 * count
        n = period if circular or first else period - 2
        knots = range(first, n, 3)
        x, true = (torch.sin(2 * torch.pi * points(k, period) + 0.3) for k in (knots, range(n)))
        return float((spline(x, knots, n, circular=circular) - true).abs().max())

    assert 3.6 < np.log2(error(64) / error(128)) < 4.4


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_circular_axis_has_no_seam(first):
    """A shift by one coarse spacing commutes with interpolation only without ends."""
    x, knots = noise(8), range(first, 24, 3)
    fine = spline(x, knots, 24, circular=True)
    torch.testing.assert_close(spline(x.roll(1), knots, 24, circular=True), fine.roll(3))
    torch.testing.assert_close(fine[first::3], x)


@pytest.mark.parametrize("circular", [False, True])
def test_pieces_agree_with_scipy_at_once(monkeypatch, circular):
    """Long axes in several pieces, the last one not full, in the dtype of the prediction."""
    knots, n = range(0, 64, 2), 64
    monkeypatch.setattr(interpolation, "PIECE", 3 * 8 * (10 * 32 + 2 * 64))
    x = noise(4, 2, 32)
    oracle = CubicSpline(knots, x, axis=-1)(np.arange(n))
    if circular:
        ring = np.concatenate([x, x[..., :1]], -1)
        oracle = CubicSpline(range(0, 65, 2), ring, axis=-1, bc_type="periodic")(np.arange(n))
    fine = spline(x, knots, n, circular=circular).numpy()
    np.testing.assert_allclose(fine, oracle, rtol=0, atol=1e-12)
    single = spline(x.float(), knots, n, circular=circular)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), oracle, rtol=0, atol=1e-6)


def test_memory_is_that_of_a_piece(monkeypatch):
    """No call of scipy has more functions than a piece, whatever the length of the axis."""
    shapes = []
    original = interpolation._splines

    def recorded(y, *arguments, **more):
        shapes.append(y.shape)
        return original(y, *arguments, **more)

    monkeypatch.setattr(interpolation, "_splines", recorded)
    fine = spline(torch.ones(150, 8192), range(0, 16384, 2), 16384)
    assert torch.equal(fine, torch.ones(150, 16384))
    assert sum(x for x, _ in shapes) == 150
    assert all(x * 8 * (10 * 8192 + 2 * 16384) <= interpolation.PIECE for x, _ in shapes)


def test_a_value_that_is_not_finite_spoils_its_function_only():
    x = noise(3, 9)
    expected = spline(x, range(0, 17, 2), 17)
    x[1, 4] = torch.inf
    fine = spline(x, range(0, 17, 2), 17)
    assert fine[1].isnan().all()
    assert torch.equal(fine[::2], expected[::2])


def test_two_axes_agree_with_scipy():
    x = noise(2, 3, 6, 7)
    coarse = CoarseGrid((11, 13), (range(0, 11, 2), range(0, 13, 2)))
    got = coarse.refine(x, (False, False))
    axes = [np.array(k, dtype=float) for k in coarse.knots]
    fine = np.stack(np.meshgrid(np.arange(11), np.arange(13), indexing="ij"), -1)
    for i in range(2):
        for j in range(3):
            values = x[i, j].numpy()
            # the solver by default is iterative, of an error of 1e-5
            oracle = RegularGridInterpolator(axes, values, method="cubic", solver=spsolve)(fine)
            np.testing.assert_allclose(got[i, j].numpy(), oracle, rtol=0, atol=1e-12)
    assert torch.equal(coarse.restrict(got), coarse.restrict(got.clone()))
    torch.testing.assert_close(coarse.restrict(got), x)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_the_errors_are_those_of_the_interpolated_prediction(dims):
    """With the identity as model and tensor products of cubics as data one of two vanishes."""
    t = points(range(9), 8)
    values = (t - 2 * t**3 + 1).float()
    axes = "xyz"[:dims]
    a = torch.einsum(",".join(axes) + "->" + axes, *[values] * dims).expand(5, 2, *(9,) * dims)
    truth = {"u": a.clone(), "v": a + noise(*a.shape).float()}
    samples = Set({"a": a.clone(), "s": torch.ones(5, 2)}, truth, (9,) * dims)
    module, scales = Twice(), Normaliser.fit(samples, NOTHING)
    coarse = CoarseGrid((9,) * dims, (range(0, 9, 2),) * dims)
    circular = dict.fromkeys("auv", (False,) * dims)
    grids = {k: GridAxes.unit((False,) * dims) for k in truth}
    errors = interpolated_errors(
        module, scales, samples, coarse, circular, axes_of=grids, device="cpu", batch=2
    )
    pred, true = a.double(), truth["v"].double()
    assert errors.rel_l2 == pytest.approx(float(rel_l2(pred, true).mean()) / 2, rel=1e-5)
    h1 = float(rel_h1(pred, true, grids["v"]).mean()) / 2
    assert errors.rel_h1 == pytest.approx(h1, rel=1e-4)
    assert module.shapes == {(5,) * dims}
    assert module.training
    without = interpolated_errors(module, scales, samples, coarse, circular, device="cpu")
    assert without.rel_h1 is None


def test_steps_in_time_are_predicted_on_the_coarse_grid():
    """`u <- 2 u + f` on cubics, with a force at each step: the splines are exact at all steps."""
    t = points(range(9), 8)
    cubic = (t - 2 * t**3 + 1).float()
    u, force = cubic.expand(4, 1, 9), noise(4, 3, 1, 1).float() * cubic
    steps = [2 * u + force[:, 0]]
    for i in (1, 2):
        steps.append(2 * steps[-1] + force[:, i])
    true = torch.stack(steps, 1)
    off = true * torch.tensor([1.0, 2.0, 5.0])[:, None, None]  # errors of 0, 1/2 and 4/5
    loop = Rollout((("v", "u"),), {"u": 1, "f": 1})
    coarse, circular = CoarseGrid((9,), (range(0, 9, 2),)), dict.fromkeys("ufv", (False,))
    for truth, expected in ((true, 0.0), (off, 1.3 / 3)):
        errors = interpolated_errors(
            Forced(),
            Normaliser({}, {}),
            Set({"u": u, "f": force}, {"v": truth}, (9,)),
            coarse,
            circular,
            device="cpu",
            batch=3,
            loop=loop,
        )
        assert errors.rel_l2 == pytest.approx(expected, abs=1e-5)


class Forced(nn.Module):
    def forward(self, u, f):
        assert u.shape[-1] == f.shape[-1] == 5
        return {"v": 2 * u + f}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shapes = set()

    def forward(self, a, s):
        assert s.dim() == 2
        self.shapes.add(tuple(a.shape[2:]))
        return {"u": a, "v": a}


class Set(SimpleNamespace):
    def __init__(self, inputs, outputs, resolution):
        super().__init__(
            inputs=inputs, outputs=outputs, resolution=resolution, name="s", fingerprint="f"
        )

    def __len__(self):
        return len(next(iter(self.inputs.values())))
